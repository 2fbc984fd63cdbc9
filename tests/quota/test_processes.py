"""Real processes over one SQLite file: races, `kill -9`, broken files."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from potluck.quota.ledger import Full, Ledger
from potluck.quota.sqlite import SqliteStore
from potluck.quota.state import LIFETIME, State, StoreLost
from potluck.types import Usage, Window
from tests.quota.conftest import Clock, drain, quota, target

WORKER = """
import sys, time
from potluck.quota.ledger import Full, Ledger
from potluck.quota.sqlite import SqliteStore
from potluck.types import Usage, Window
from tests.quota.conftest import Clock, quota, target

path, name, limit, tries, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
one = target(quota(limit, Window("once")))
ledger, got = Ledger(SqliteStore(path), Clock(time.time()), worker=name), 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(tries):
    try:
        hold = ledger.reserve(one, 0, 0)
    except Full:
        continue
    got += 1
    hold.settle(Usage())
print(got, flush=True)
if end == "hang":
    sys.stdin.readline()
ledger.close()
"""


def start(path: Path, name: str, limit: int, tries: int, end: str = "close") -> subprocess.Popen[str]:
    args = [sys.executable, "-c", WORKER, str(path), name, str(limit), str(tries), end]
    return subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=30)


def test_four_processes_racing_200_times_for_fifty_get_exactly_fifty(tmp_path: Path) -> None:
    racers = [start(tmp_path / "q.db", f"w{n}", 50, 50) for n in range(4)]
    assert [hear(racer) for racer in racers] == ["ready"] * 4
    for racer in racers:
        say(racer)
    assert sum(int(hear(racer)) for racer in racers) == 50
    for racer in racers:
        finish(racer)


def test_a_killed_worker_loses_at_most_a_hundredth_and_is_never_under_counted(tmp_path: Path) -> None:
    victim = start(tmp_path / "q.db", "victim", 10_000, 1234, "hang")
    assert hear(victim) == "ready"
    say(victim)
    assert hear(victim) == "1234"
    os.kill(victim.pid, signal.SIGKILL)
    finish(victim)
    store, clock = SqliteStore(tmp_path / "q.db"), Clock(time.time() + LIFETIME + 1)
    one = target(quota(10_000, Window("once")))
    left = len(drain(Ledger(store, clock, worker="next"), one, 10_000))
    store.close()
    assert 10_000 - 1234 - 100 <= left <= 10_000 - 1234


def test_what_was_spent_before_a_restart_stays_spent(tmp_path: Path) -> None:
    one, clock = target(quota(50, Window("day"))), Clock()
    for run in range(6):
        store = SqliteStore(tmp_path / "q.db")
        ledger = Ledger(store, clock, worker=f"run{run}")
        got = len(drain(ledger, one, 10))
        assert got == (10 if run < 5 else 0)
        ledger.close()
        store.close()


def full_of(store: SqliteStore, clock: Clock) -> tuple[int, int]:
    """How many requests a day's and a minute's quota of a hundred still give."""
    ledger = Ledger(store, clock, worker=f"after{clock.at}")
    day, minute = target(quota(100, Window("day"))), target(quota(100, Window("rolling", 60)), id="acme/2")
    return len(drain(ledger, day, 200)), len(drain(ledger, minute, 200))


def fatten(states: list[State]) -> None:
    for state in states:
        state.untils.extend([1.0] * 50)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_broken_file_is_set_aside_reported_and_started_over_carefully(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "q.db", Clock()
    store = SqliteStore(path, clock.now)
    drain(Ledger(store, clock, worker="a"), target(quota(100, Window("day"))), 10)
    store.step([f"filler{n}" for n in range(500)], fatten)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"not a database" * 500, "cut": whole[: len(whole) // 2 + 100]}[damage]
    )
    with caplog.at_level(logging.WARNING):
        store = SqliteStore(path, clock.now)
    assert "set aside" in caplog.text
    assert store.set_aside is not None
    assert store.set_aside.exists()
    day, minute = full_of(store, clock)
    assert (day, minute) == ((90 if damage == "cut" else 50), 0) or (damage == "cut" and day == 50)
    clock.at += 61 + LIFETIME
    assert full_of(store, clock)[1] == 100, "the minute is forgotten after a minute"
    clock.at += 86_400
    assert full_of(store, clock) == (100, 100)
    store.close()


def test_a_count_that_cannot_be_decoded_starts_over_half_spent(tmp_path: Path) -> None:
    clock = Clock()
    store, one = SqliteStore(tmp_path / "q.db", clock.now), quota(100, Window("day"))
    store._db.execute("INSERT INTO quota VALUES (?, ?)", (one.id, b"\xc1"))
    assert len(drain(Ledger(store, clock, worker="a"), target(one), 200)) == 50
    store.close()


def test_a_lost_store_refuses_what_is_not_leased_and_lets_the_lease_go_on(tmp_path: Path) -> None:
    clock, store = Clock(), SqliteStore(tmp_path / "q.db")
    ledger = Ledger(store, clock, worker="a")
    plenty, scarce = target(quota(100_000, Window("day"))), target(quota(9, Window("day"), scope="s"), id="s")
    ledger.reserve(plenty, 0, 0).settle(Usage())
    ledger.room(scarce)
    other = SqliteStore(tmp_path / "q.db")
    other._db.execute("DROP TABLE quota")
    other.close()
    ledger.reserve(plenty, 0, 0).settle(Usage())
    with pytest.raises(Full):
        ledger.reserve(scarce, 0, 0)
    ledger.flush()
    clock.at += LIFETIME
    with pytest.raises(Full):
        ledger.reserve(plenty, 0, 0)
    with pytest.raises(StoreLost):
        store.step(["x"], lambda states: states)
    store.close()


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "q.db")

    def fail(states: list[State]) -> None:
        states[0].total = 5
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        store.step(["x"], fail)
    assert store.read(["x"])[0].total == 0
    store.close()
