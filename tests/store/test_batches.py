"""Lines of batches over real SQLite: claimed by one, answered once, whoever dies in between."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from potluck.store import batches
from potluck.store.database import Connection, Database
from potluck.store.migrate import prepare

LEASE = 60.0


def store(path: Path) -> Connection:
    database = Database.at(path)
    prepare(database)
    return database.connect()


def lines(count: int, batch: str = "b") -> list[batches.Line]:
    return [batches.Line(batch, n, f"id-{n}", n * 10, 10) for n in range(1, count + 1)]


def done(number: int, status: int = 200, body: str = "{}") -> batches.Answered:
    return batches.Answered("b", number, f"r{number}", status, body)


def numbers(found: list[batches.Line]) -> list[int]:
    return [line.number for line in found]


def test_two_workers_share_the_lines_without_one_twice(tmp_path: Path) -> None:
    one = store(tmp_path / "s")
    two = Database.at(tmp_path / "s").connect()
    batches.add(one, lines(5))
    assert numbers(batches.claim(one, "b", "w1", 3, now=0, lease=LEASE)) == [1, 2, 3]
    assert numbers(batches.claim(two, "b", "w2", 9, now=0, lease=LEASE)) == [4, 5]
    one.close()
    two.close()


def test_the_first_answer_stands_when_a_slow_worker_comes_second(tmp_path: Path) -> None:
    one = store(tmp_path / "s")
    batches.add(one, lines(1))
    batches.claim(one, "b", "slow", 1, now=0, lease=LEASE)
    assert numbers(batches.claim(one, "b", "quick", 1, now=LEASE, lease=LEASE)) == [1]
    assert batches.answer(one, done(1, body='"quick"'))
    assert not batches.answer(one, done(1, body='"slow"'))
    assert [answer.body for _, answer in batches.answers(one, "b")] == ['"quick"']
    one.close()


def test_lines_added_again_after_a_restart_stay_answered(tmp_path: Path) -> None:
    one = store(tmp_path / "s")
    batches.add(one, lines(2))
    batches.answer(one, done(1, status=429))
    batches.add(one, lines(3))
    assert batches.counts(one, "b") == batches.Counts(3, 0, 1)
    one.close()


def test_a_custom_id_cannot_be_twice_in_a_batch(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "s")
    one = store(tmp_path / "s")
    with pytest.raises(database.dbapi.IntegrityError):
        batches.add(one, [batches.Line("b", 1, "same", 0, 1), batches.Line("b", 2, "same", 1, 1)])
    one.close()


KILLED = """
import sys
from potluck.store import batches
from potluck.store.database import Database
one = Database.at(__import__("pathlib").Path(sys.argv[1])).connect()
batches.claim(one, "b", "killed", 1, now=0, lease=60)
with one.transaction():
    batches_key = ("b", 1)
    one.write("UPDATE batch_lines SET done = 1 WHERE batch = ? AND line = ?", [batches_key])
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_worker_killed_while_it_writes_an_answer_leaves_its_line_to_another(tmp_path: Path) -> None:
    one = store(tmp_path / "s")
    batches.add(one, lines(1))
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "s")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"inside\n"
        worker.kill()
    assert batches.claim(one, "b", "next", 1, now=LEASE - 1, lease=LEASE) == []
    assert numbers(batches.claim(one, "b", "next", 1, now=LEASE, lease=LEASE)) == [1]
    assert batches.answer(one, done(1))
    assert len(list(batches.answers(one, "b"))) == 1
    one.close()


class Sharing(RuleBasedStateMachine):
    """Three workers claim, answer, give back and forget, in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.store, self.now = store(Path(self.place.name) / "s"), 0.0
        self.held: dict[int, tuple[str, float]] = {}
        self.late: list[tuple[str, batches.Line]] = []
        self.answered: dict[int, str] = {}
        batches.add(self.store, lines(8))

    @rule(worker=st.sampled_from("abc"), most=st.integers(1, 4))
    def claims(self, worker: str, most: int) -> None:
        for line in batches.claim(self.store, "b", worker, most, now=self.now, lease=LEASE):
            assert line.number not in self.answered
            assert self.held.get(line.number, ("", 0.0))[1] <= self.now
            self.held[line.number] = (worker, self.now + LEASE)
            self.late.append((worker, line))

    @rule(which=st.integers(0, 50))
    def answers(self, which: int) -> None:
        if self.late:
            worker, line = self.late[which % len(self.late)]
            assert batches.answer(self.store, done(line.number, body=worker)) == (
                line.number not in self.answered
            )
            self.answered.setdefault(line.number, worker)

    @rule(which=st.integers(0, 50))
    def gives_back(self, which: int) -> None:
        if self.late:
            worker, line = self.late[which % len(self.late)]
            batches.give_back(self.store, line, worker)
            if self.held[line.number][0] == worker:
                self.held[line.number] = ("", 0.0)

    @rule(seconds=st.floats(0, 2 * LEASE))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def each_answer_is_there_once_and_in_order(self) -> None:
        found = [(answer.number, answer.body) for _, answer in batches.answers(self.store, "b")]
        assert found == sorted(self.answered.items())

    def teardown(self) -> None:
        self.store.close()
        self.place.cleanup()


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
