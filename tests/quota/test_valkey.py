"""Quotas shared by many hosts through Valkey: exact under races, and never blind when the store is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potluck.quota.ledger import Full, Hold, Ledger, Short
from potluck.quota.remote import RemoteLedger
from potluck.quota.valkey import ValkeyStore
from potluck.types import Target, Usage, Window
from tests.quota.conftest import quota, target
from tests.quota.redis_server import RedisServer, redis_server

DAY = Window("day")
ROLLING = Window("rolling", 3600.0)


class WallClock:
    """Real time, as a host whose clock is wrong by `by` seconds sees it."""

    def __init__(self, by: float = 0.0) -> None:
        self.by = by

    def now(self) -> float:
        return time.time() + self.by

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture(scope="module")
def module_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def server(module_server: RedisServer) -> RedisServer:
    """The server, empty."""
    from redis.asyncio import Redis

    client = Redis.from_url(module_server.url)
    await client.flushall()
    await client.aclose()
    return module_server


@contextlib.asynccontextmanager
async def host(
    server: RedisServer, name: str, *, by: float = 0.0, remember: Path | None = None
) -> AsyncIterator[RemoteLedger]:
    """One host's ledger. It ends without giving anything back unless a test closes it."""
    clock = WallClock(by)
    store = ValkeyStore(server.url, clock.now, remember=remember)
    try:
        yield RemoteLedger(store, clock, worker=name)
    finally:
        await store.close_async()


async def take(ledger: Ledger, at: Target, tokens_in: int = 0, tokens_out: int = 0) -> Hold:
    """As dispatch does it."""
    try:
        return ledger.reserve(at, tokens_in, tokens_out)
    except Short:
        return await ledger.reserve_async(at, tokens_in, tokens_out)


async def drain(ledger: Ledger, at: Target, tries: int) -> int:
    """How many of `tries` got room."""
    got = 0
    for _ in range(tries):
        with contextlib.suppress(Full):
            await take(ledger, at)
            got += 1
    return got


async def test_two_hosts_share_one_quota_to_the_last_request(server: RedisServer) -> None:
    scarce = target(quota(20, DAY))
    async with host(server, "a") as a, host(server, "b") as b:
        got = await asyncio.gather(*(drain(one, scarce, 10) for one in (a, b, a, b, a, b)))
        assert sum(got) == 20


async def test_two_hundred_clients_on_three_hosts_get_a_limit_of_fifty_and_not_one_more(
    server: RedisServer,
) -> None:
    scarce = target(quota(50, ROLLING), quota(1000, DAY, scope="acme/all"))
    async with host(server, "a") as a, host(server, "b") as b, host(server, "c") as c:
        got = await asyncio.gather(*(drain((a, b, c)[n % 3], scarce, 1) for n in range(200)))
        assert sum(got) == 50


async def test_plentiful_quota_is_leased_and_the_hot_path_awaits_nothing(server: RedisServer) -> None:
    plenty = target(quota(100_000, DAY))
    async with host(server, "a") as a:
        assert await drain(a, plenty, 200) == 200
        for _ in range(150):  # whoever uses much has a slice that holds this many
            a.reserve(plenty, 0, 0).settle(Usage())


async def test_every_quota_of_a_target_is_taken_or_none(server: RedisServer) -> None:
    first, second = quota(10, DAY), quota(3, DAY, scope="acme/m")
    both, alone = target(first, second), target(first, id="acme/other")
    async with host(server, "a") as a:
        assert await drain(a, both, 5) == 3
        assert await drain(a, alone, 20) == 7


async def test_hosts_with_wrong_clocks_count_by_the_servers(server: RedisServer) -> None:
    scarce = target(quota(10, Window("rolling", 60.0)))
    async with host(server, "early", by=-300.0) as early, host(server, "late", by=300.0) as late:
        assert await drain(early, scarce, 10) == 10
        assert await drain(late, scarce, 10) == 0
        assert abs(early.time() - time.time()) < 2.0
        assert abs(late.time() - time.time()) < 2.0


async def test_a_host_that_dies_loses_what_it_had_out_on_the_safe_side(server: RedisServer) -> None:
    scarce = target(quota(10, DAY))
    async with host(server, "dies") as dies:
        assert await drain(dies, scarce, 4) == 4
    async with host(server, "lives") as lives:
        assert await drain(lives, scarce, 10) == 6


async def test_what_a_host_gives_back_the_others_get(server: RedisServer) -> None:
    scarce = target(quota(10, DAY))
    async with host(server, "a") as a, host(server, "b") as b:
        holds = [await take(a, scarce) for _ in range(10)]
        assert await drain(b, scarce, 1) == 0
        for hold in holds[:5]:
            hold.release()
        for hold in holds[5:]:
            hold.settle(Usage())
        await a.close_async()
        await b.flush_async()
        assert await drain(b, scarce, 10) == 5


async def test_without_its_store_scarce_quota_is_refused_and_plentiful_goes_on_from_the_lease() -> None:
    scarce, plenty = target(quota(20, DAY)), target(quota(100_000, DAY, scope="acme/all"), id="acme/all")
    with redis_server() as server:
        async with host(server, "a") as a:
            (await take(a, scarce)).settle(Usage())
            assert await drain(a, plenty, 60) == 60
            server.stop()
            with pytest.raises(Full, match="cannot be reached") as refused:
                await take(a, scarce)
            assert refused.value.retry_at < a.time() + 5.0
            assert await drain(a, plenty, 30) == 30
            await a.flush_async()  # what was spent stays to be told
            server.start()
            await until_reachable(a)
            assert a.snapshot([plenty])[0].used + a.snapshot([plenty])[0].held >= 90


async def until_reachable(ledger: RemoteLedger) -> None:
    async with asyncio.timeout(10):
        while True:
            await ledger.flush_async()
            if not ledger.lost:
                return
            await asyncio.sleep(0)


async def test_a_store_that_comes_back_empty_is_not_taken_for_a_fresh_day(tmp_path: Path) -> None:
    scarce = target(quota(20, DAY))
    with redis_server() as server:
        async with host(server, "a", remember=tmp_path / "epoch") as a:
            assert await drain(a, scarce, 20) == 20
        server.stop()
        server.start()
        async with host(server, "fresh", remember=tmp_path / "epoch") as fresh:
            assert await drain(fresh, scarce, 20) == 10  # half: see _presume
        async with host(server, "stranger") as stranger:  # another host, which remembers nothing
            assert await drain(stranger, scarce, 20) == 0


async def test_what_a_host_remembers_of_a_lost_store_is_written_back() -> None:
    scarce = target(quota(20, DAY))
    with redis_server() as server:
        async with host(server, "a") as a:
            for _ in range(18):
                (await take(a, scarce)).settle(Usage())
            await a.flush_async()
            server.stop()
            server.start()
            await until_reachable(a)
            assert await drain(a, scarce, 20) == 2


async def test_an_evicted_count_is_written_back(server: RedisServer) -> None:
    from redis.asyncio import Redis

    scarce = target(quota(20, DAY))
    async with host(server, "a") as a:
        for _ in range(18):
            (await take(a, scarce)).settle(Usage())
        await a.flush_async()
        client = Redis.from_url(server.url)
        await client.delete("{potluck}:" + scarce.quotas[0].id)
        await client.aclose()
        assert await drain(a, scarce, 20) == 2


async def test_a_frozen_store_costs_one_timeout_and_not_one_for_each_request() -> None:
    scarce = target(quota(20, DAY))
    with redis_server() as server:
        async with host(server, "a") as a:
            (await take(a, scarce)).settle(Usage())
            server.freeze()
            began = time.monotonic()
            assert await drain(a, scarce, 30) == 0
            assert time.monotonic() - began < 10.0  # 30 timeouts would be 30 s
            server.thaw()


async def test_a_closed_target_is_closed_on_every_host(server: RedisServer) -> None:
    plenty = target(quota(100_000, DAY))
    async with host(server, "a") as a, host(server, "b") as b:
        (await take(a, plenty)).settle(Usage())
        (await take(b, plenty)).settle(Usage())
        a.cool(plenty, a.time() + 100.0, "a probe failed")
        await a.flush_async()
        await b.flush_async()
        with pytest.raises(Full, match="a probe failed"):
            await take(b, plenty)
        async with host(server, "new") as new:
            with pytest.raises(Full, match="a probe failed"):
                await take(new, plenty)


async def test_the_address_of_the_store_is_told_without_its_password() -> None:
    store = ValkeyStore("redis://:s3cret@127.0.0.1:1/0")
    ledger = RemoteLedger(store, WallClock(), worker="a")
    with pytest.raises(Full) as refused:
        await take(ledger, target(quota(5, DAY)))
    assert "127.0.0.1:1" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    await store.close_async()


MOVES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["take", "settle", "release", "flush", "die"])), max_size=40
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.sampled_from([1, 3, 10, 200]), moves=MOVES)
def test_whatever_three_hosts_do_no_more_than_the_limit_is_ever_sent(
    module_server: RedisServer, limit: int, moves: list[tuple[int, str]]
) -> None:
    asyncio.run(_play(module_server, limit, moves))


async def _play(server: RedisServer, limit: int, moves: list[tuple[int, str]]) -> None:
    from redis.asyncio import Redis

    client = Redis.from_url(server.url)
    await client.flushall()
    await client.aclose()
    at, sent, born = target(quota(limit, DAY)), 0, 0
    async with contextlib.AsyncExitStack() as stack:
        hosts: list[tuple[RemoteLedger, list[Hold]]] = [
            (await stack.enter_async_context(host(server, f"h{n}")), []) for n in range(3)
        ]
        for who, move in moves:
            ledger, holds = hosts[who]
            if move == "take":
                with contextlib.suppress(Full):
                    holds.append(await take(ledger, at))
            elif move == "flush":
                await ledger.flush_async()
            elif move == "die":
                sent += len(holds)
                born += 1
                hosts[who] = (await stack.enter_async_context(host(server, f"h{who}-{born}")), [])
            elif holds and move == "settle":
                holds.pop().settle(Usage())
                sent += 1
            elif holds:
                holds.pop().release()
            assert sent + sum(len(each) for _, each in hosts) <= limit
