"""Old records are forgotten: daily, by one worker, and as many days as the user wants are kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec

from potluck.app.compose import Gateway, database
from potluck.app.retention import DAY, Retention
from potluck.app.turn import turn
from potluck.config import Local, Settings
from potluck.store.database import Database
from potluck.store.records import Record, Recorder
from potluck.store.reports import recent

NOW = 1_795_521_600.0


class Clock:
    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def fill(store: Database, *ages: float, now: float = NOW) -> None:
    """One record of each age in days."""
    recorder = Recorder(store)
    for age in ages:
        at = now - age * DAY
        recorder.record(
            Record(id=f"r{age}", at=at, tenant="t", wish="auto", target="a/m", outcome="ok", status=200)
        )
    recorder.close()


def kept(store: Database) -> set[str]:
    connection = store.connect()
    try:
        return {row.id for row in recent(connection)}
    finally:
        connection.close()


def keeper(tmp_path: Path, clock: Clock, days: int = 30) -> tuple[Retention, Database]:
    store = database(Settings(data_dir=str(tmp_path)))
    return Retention(store, tmp_path, days, clock), store


async def test_what_is_older_than_the_days_to_keep_goes_and_the_rest_stays(tmp_path: Path) -> None:
    one, store = keeper(tmp_path, Clock())
    fill(store, 0, 29.9, 30.1, 400)
    assert await one.look() == 2
    assert kept(store) == {"r0", "r29.9"}


async def test_it_looks_once_a_day_over_restarts(tmp_path: Path) -> None:
    clock = Clock()
    one, store = keeper(tmp_path, clock)
    await one.look()
    fill(store, 50)
    clock.at += DAY - 1
    again, _ = keeper(tmp_path, clock)
    assert await again.look() == 0
    clock.at += 1
    assert await again.look() == 1


async def test_a_clock_that_had_been_wrong_does_not_postpone_it_for_years(tmp_path: Path) -> None:
    clock = Clock(NOW + 1000 * DAY)
    one, store = keeper(tmp_path, clock)
    await one.look()
    clock.at = NOW
    fill(store, 50)
    assert await one.look() == 1


async def test_while_one_worker_prunes_the_others_do_not(tmp_path: Path) -> None:
    one, store = keeper(tmp_path, Clock())
    fill(store, 50)
    with turn(tmp_path / "pruned") as ours:
        assert ours
        assert await one.look() == 0
    assert await one.look() == 1


async def test_the_gateway_prunes_when_it_starts_unless_told_to_keep_everything(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), local=Local(enabled=False, discover=False))
    store = database(settings)
    fill(store, 1, 31, now=time.time())
    for days, left in ((0, {"r1", "r31"}), (30, {"r1"})):
        gateway = Gateway(msgspec.structs.replace(settings, keep_records_days=days), {})
        gateway.start()
        if days:
            await asyncio.wait_for(gateway.retention.looked.wait(), 10)
        await gateway.stop()
        assert kept(store) == left
