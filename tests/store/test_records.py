from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.store.database import Connection, Database
from potluck.store.migrate import prepare
from potluck.store.records import Record, Recorder, StoredAttempt, attempts_json
from potluck.store.reports import Filters, prune, recent, totals
from potluck.types import Attempt

NEVER = 1e9  # seconds: the thread of a recorder under test writes only when told


def record(id: str, at: float = 1000.0, **changes: object) -> Record:
    fields = {"tenant": "t1", "wish": "auto", "target": "a/m", "outcome": "ok", "status": 200, **changes}
    return Record(id=id, at=at, **fields)  # type: ignore[arg-type]


def test_what_was_recorded_can_be_read_back(database: Database, connection: Connection) -> None:
    attempts = [
        Attempt("b/m", outcome="busy", detail="overloaded", status=503, started=50.0, ended=50.25),
        Attempt("a/m", outcome="ok", status=200, started=50.25, first=50.35, ended=51.25),
    ]
    recorder = Recorder(database)
    recorder.record(
        record("r1", attempts=attempts, tokens_in=7, tokens_out=9, estimated=True, cost=12, ms=1250.5)
    )
    recorder.close()
    (found,) = recent(connection)
    assert (found.id, found.at, found.tokens_in, found.tokens_out, found.cost, found.ms) == (
        "r1",
        1000.0,
        7,
        9,
        12,
        1250.5,
    )
    assert found.estimated is True
    assert found.attempts == (
        StoredAttempt("b/m", "busy", "overloaded", 503, after=0.0, first=0.0, ms=250.0),
        StoredAttempt("a/m", "ok", "", 200, after=250.0, first=100.0, ms=1000.0),
    )


def test_records_reach_the_store_without_being_asked(database: Database, connection: Connection) -> None:
    arrived = threading.Event()

    class Watched(Recorder):
        def flush(self) -> bool:
            done = super().flush()
            if self.written:
                arrived.set()
            return done

    recorder = Watched(database)
    recorder.record(record("r1"))
    assert arrived.wait(10)
    assert [row.id for row in recent(connection)] == ["r1"]
    recorder.close()


def test_prompts_and_answers_are_dropped_unless_asked_for(database: Database, connection: Connection) -> None:
    for wanted in (False, True):
        recorder = Recorder(database, record_prompts=wanted)
        recorder.record(record(str(wanted), prompt="my secret", answer="an answer"))
        recorder.close()
    stored = {row.id: (row.prompt, row.answer) for row in recent(connection)}
    assert stored == {"False": (None, None), "True": ("my secret", "an answer")}


def test_a_locked_store_loses_nothing_and_blocks_nobody(database: Database, connection: Connection) -> None:
    recorder = Recorder(database, interval=NEVER)
    with contextlib.closing(database.connect()) as other:
        with other.transaction():
            other.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("1", "a", "{}", 1.0)])
            for number in range(5000):
                recorder.record(record(f"r{number}"))
            assert recorder.flush() is False
        assert recorder.flush() is True
    assert recorder.written == 5000
    assert recorder.dropped == 0
    assert connection.query("SELECT COUNT(*) FROM requests") == [(5000,)]
    recorder.close()


def test_beyond_the_bound_the_oldest_records_are_dropped_and_counted(
    database: Database, connection: Connection
) -> None:
    recorder = Recorder(database, bound=10, interval=NEVER)
    for number in range(25):
        recorder.record(record(f"r{number:02}", at=float(number)))
    assert recorder.flush()
    assert recorder.dropped == 15
    assert [row.id for row in recent(connection)] == [f"r{number}" for number in range(24, 14, -1)]
    recorder.close()


def test_a_record_no_store_can_hold_does_not_take_others_with_it(
    database: Database, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(database, interval=NEVER)
    recorder.record(record("r1"))
    recorder.record(record("r2", wish="\ud800"))  # a lone surrogate has no UTF-8
    recorder.record(record("r3", tokens_in=2**70))
    recorder.record(record("r4", wish=None))  # no column may be empty
    recorder.record(record("r5"))
    assert recorder.flush()
    assert sorted(row.id for row in recent(connection)) == ["r1", "r5"]
    assert (recorder.written, recorder.dropped) == (2, 3)
    assert len(caplog.records) == 3
    recorder.close()


def test_a_record_written_twice_is_there_once(database: Database, connection: Connection) -> None:
    recorder = Recorder(database, interval=NEVER)
    recorder.record(record("r1"))
    recorder.record(record("r1"))
    recorder.close()
    assert len(recent(connection)) == 1


def test_what_a_store_that_stays_away_costs_is_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    recorder = Recorder(Database.at(tmp_path / "file" / "potluck.sqlite"), interval=NEVER)
    recorder.record(record("r1"))
    assert recorder.flush() is False
    assert recorder.flush() is False
    recorder.close(tries=1)
    assert recorder.dropped == 1
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING, logging.ERROR]


def test_a_store_that_comes_back_gets_everything(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    database = Database.at(tmp_path / "data" / "potluck.sqlite")
    recorder = Recorder(database, interval=NEVER)
    recorder.record(record("r1"))
    assert recorder.flush() is False
    (tmp_path / "data").unlink()
    prepare(database)
    assert recorder.flush() is True
    recorder.close()
    with contextlib.closing(database.connect()) as connection:
        assert [row.id for row in recent(connection)] == ["r1"]


def test_a_process_killed_after_a_flush_has_lost_nothing(database: Database, connection: Connection) -> None:
    program = (
        "import os, signal, sys; from potluck.store.database import Database; "
        "from potluck.store.records import Record, Recorder; "
        "recorder = Recorder(Database(sys.argv[1])); "
        "[recorder.record(Record(str(n), 1.0, 't', 'auto', 'a', 'ok', 200)) for n in range(500)]; "
        "assert recorder.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, database.url], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert connection.query("SELECT COUNT(*) FROM requests") == [(500,)]


def test_a_forked_reader_sees_records_while_they_are_written(database: Database) -> None:
    recorder = Recorder(database, interval=NEVER)
    recorder.record(record("r1"))
    recorder.flush()
    program = (
        "import sys; from potluck.store.database import Database; "
        "from potluck.store.reports import recent; "
        "print(len(recent(Database(sys.argv[1]).connect())))"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, database.url]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
    recorder.close()


def test_recent_records_are_filtered_and_newest_first(database: Database, connection: Connection) -> None:
    recorder = Recorder(database, interval=NEVER)
    for number in range(10):
        recorder.record(record(f"r{number}", at=float(number), tenant="even" if number % 2 == 0 else "odd"))
    recorder.close()
    assert [row.id for row in recent(connection, 2)] == ["r9", "r8"]
    assert [row.id for row in recent(connection, 2, Filters(tenant="even"))] == ["r8", "r6"]
    assert [row.id for row in recent(connection, 9, Filters(tenant="odd", since=3.0, until=7.0))] == [
        "r5",
        "r3",
    ]
    assert recent(connection, 9, Filters(target="' OR 1=1 --")) == []


def test_totals_add_up_by_target_and_by_tenant(database: Database, connection: Connection) -> None:
    recorder = Recorder(database, interval=NEVER)
    recorder.record(record("r1", tokens_in=10, tokens_out=1, cost=5, ms=100.0))
    recorder.record(record("r2", tokens_in=20, tokens_out=2, estimated=True, ms=300.0, tenant="t2"))
    recorder.record(record("r3", target="", outcome="full", status=429, ms=1.0))
    recorder.record(record("r0", at=1.0, tokens_in=1000))
    recorder.close()
    first, second = totals(connection, since=500.0)
    assert (first.group, first.requests, first.ok, first.tokens_in, first.tokens_out) == ("a/m", 2, 2, 30, 3)
    assert (first.estimated, first.cost, first.ms) == (1, 5, 200.0)
    assert (second.group, second.requests, second.ok, second.ms) == ("", 1, 0, 0.0)
    assert {total.group: total.requests for total in totals(connection, 0.0, "tenant")} == {"t1": 3, "t2": 1}


def test_no_records_have_no_totals(connection: Connection) -> None:
    assert totals(connection, 0.0) == []


def test_pruning_deletes_what_is_older_and_nothing_else(database: Database, connection: Connection) -> None:
    recorder = Recorder(database, interval=NEVER)
    for number in range(12_000):
        recorder.record(record(f"r{number}", at=float(number)))
    recorder.close()
    assert prune(connection, older_than=11_000.0) == 11_000
    assert connection.query("SELECT MIN(at), COUNT(*) FROM requests") == [(11_000.0, 1_000)]
    assert prune(connection, older_than=11_000.0) == 0


TIMES = st.floats(0, 1e6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), TIMES, TIMES, TIMES)))
def test_any_attempts_can_be_stored_as_json(drawn: list[tuple[str, float, float, float]]) -> None:
    attempts = [Attempt(text, "ok", text, 200, start, first, end) for text, start, first, end in drawn]
    stored = msgspec.json.decode(attempts_json(attempts), type=list[StoredAttempt])
    assert [one.target for one in stored] == [text for text, *_ in drawn]
