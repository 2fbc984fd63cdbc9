"""What every store must hold, in one suite: memory, SQLite, Valkey."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from potluck.quota.ledger import Full, Hold, Ledger, Short
from potluck.quota.memory import MemoryStore
from potluck.quota.remote import RemoteLedger
from potluck.quota.sqlite import SqliteStore
from potluck.quota.valkey import ValkeyStore
from potluck.types import Target, Usage, Window
from tests.quota.conftest import quota, target
from tests.quota.redis_server import RedisServer, redis_server
from tests.quota.test_valkey import WallClock

Opener = Callable[[str], Ledger]
DAY, HOUR, FLIGHT = Window("day"), Window("rolling", 3600.0), Window("concurrent")


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens a ledger for a worker of that name; all of them share one store."""
    clock = WallClock()
    if request.param == "memory":
        shared = MemoryStore(exclusive=False)
        yield lambda name: Ledger(shared, clock, worker=name)
    elif request.param == "sqlite":
        files: list[SqliteStore] = []

        def from_file(name: str) -> Ledger:
            files.append(SqliteStore(tmp_path / "quota.sqlite"))
            return Ledger(files[-1], clock, worker=name)

        yield from_file
        for file in files:
            file.close()
    else:
        with redis_server() as server:
            remote: list[ValkeyStore] = []
            yield lambda name: _remote(server, clock, name, remote)
            for store in remote:
                await store.close_async()


def _remote(server: RedisServer, clock: WallClock, name: str, stores: list[ValkeyStore]) -> Ledger:
    stores.append(ValkeyStore(server.url, clock.now))
    return RemoteLedger(stores[-1], clock, worker=name)


async def take(ledger: Ledger, at: Target, tokens_in: int = 0, tokens_out: int = 0) -> Hold:
    try:
        return ledger.reserve(at, tokens_in, tokens_out)
    except Short:
        return await ledger.reserve_async(at, tokens_in, tokens_out)


async def tell(ledger: Ledger) -> None:
    if isinstance(ledger, RemoteLedger):
        await ledger.flush_async()
    else:
        ledger.flush()


async def drain(ledger: Ledger, at: Target, tries: int) -> list[Hold]:
    holds = []
    for _ in range(tries):
        with contextlib.suppress(Full):
            holds.append(await take(ledger, at))
    return holds


async def test_a_limit_is_given_out_to_the_last_unit_and_not_beyond(opened: Opener) -> None:
    a, b, scarce = opened("a"), opened("b"), target(quota(20, DAY))
    got = await asyncio.gather(*(drain(one, scarce, 10) for one in (a, b, a, b)))
    assert sum(map(len, got)) == 20


async def test_two_hundred_racers_get_fifty(opened: Opener) -> None:
    workers, scarce = [opened(name) for name in "abc"], target(quota(50, HOUR))
    got = await asyncio.gather(*(drain(workers[n % 3], scarce, 1) for n in range(200)))
    assert sum(map(len, got)) == 50


async def test_all_quotas_are_taken_or_none(opened: Opener) -> None:
    a = opened("a")
    day, minute = quota(10, DAY), quota(3, HOUR, scope="acme/m")
    assert len(await drain(a, target(day, minute), 6)) == 3
    assert len(await drain(a, target(day, id="acme/other"), 20)) == 7


async def test_what_never_left_comes_back(opened: Opener) -> None:
    a, scarce = opened("a"), target(quota(5, DAY))
    for hold in await drain(a, scarce, 5):
        hold.release()
    assert len(await drain(a, scarce, 9)) == 5


async def test_the_truth_replaces_the_estimate(opened: Opener) -> None:
    a, tokens = opened("a"), target(quota(1000, DAY, unit="tokens"))
    (await take(a, tokens, 400, 500)).settle(Usage(50, 50))
    (await take(a, tokens, 400, 500)).settle(Usage(100, 100))
    with pytest.raises(Full):
        await take(a, tokens, 400, 301)
    await take(a, tokens, 400, 300)


async def test_in_doubt_the_estimate_stands(opened: Opener) -> None:
    a, tokens = opened("a"), target(quota(1000, DAY, unit="tokens"))
    (await take(a, tokens, 400, 500)).doubt()
    with pytest.raises(Full):
        await take(a, tokens, 60, 41)


async def test_a_place_in_flight_is_free_again_when_its_request_ends(opened: Opener) -> None:
    a, narrow = opened("a"), target(quota(2, FLIGHT, unit="concurrent"))
    first, _ = await drain(a, narrow, 5)
    first.settle(Usage())
    assert len(await drain(a, narrow, 5)) == 1


async def test_a_closed_target_is_closed_for_every_worker(opened: Opener) -> None:
    a, b, plenty = opened("a"), opened("b"), target(quota(100_000, DAY))
    for one in (a, b):
        (await take(one, plenty)).settle(Usage())
    a.cool(plenty, a.time() + 100.0, "a probe failed")
    await tell(a)
    await tell(b)
    with pytest.raises(Full, match="a probe failed"):
        await take(b, plenty)


async def test_what_a_silent_worker_has_out_stays_counted(opened: Opener) -> None:
    await drain(opened("silent"), target(quota(10, DAY)), 4)
    assert len(await drain(opened("b"), target(quota(10, DAY)), 10)) == 6
