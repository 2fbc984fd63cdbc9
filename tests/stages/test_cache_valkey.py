"""Answers stored in a real Redis: shared between hosts, bounded, and a miss where it is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from potluck.store.answers import Which
from potluck.store.cache_valkey import LOOK_EVERY, ValkeyAnswers
from tests.quota.redis_server import RedisServer, redis_server
from tests.stages.cached import MIB, Clock, Model, ask, outcome
from tests.stages.test_cache_store import an_entry

FAR = 4_000_000_000.0  # the server's clock expires entries: these have to be of its future


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as made:
        yield made


class Hosts:
    """Two gateways over one server."""

    def __init__(self, url: str, name: str) -> None:
        self.one, self.other = (ValkeyAnswers(url, max_bytes=MIB, name=name) for _ in range(2))


@pytest.fixture
async def hosts(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Hosts]:
    made = Hosts(server.url, request.node.name)
    yield made
    await made.one.close_async()
    await made.other.close_async()


async def test_what_one_host_stored_another_gives(hosts: Hosts) -> None:
    entry = an_entry(b"a" * 16, made=FAR, tags=("docs",), tokens_in=7)
    hosts.one.put(entry, FAR)
    await hosts.one.written()
    assert await hosts.other.get(entry.key, FAR + 1) == entry
    assert await hosts.other.get(entry.key, FAR + 200) is None, "it has expired"
    assert await hosts.other.get(b"b" * 16, FAR) is None


async def test_what_one_host_drops_the_others_forget(hosts: Hosts) -> None:
    for number, tag in enumerate(("docs", "docs", "code")):
        hosts.one.put(an_entry(bytes([number]) * 16, made=FAR, tags=(tag,), target=f"acme/{number}"), FAR)
    await hosts.one.written()
    assert await hosts.other.get(bytes(16), FAR) is not None
    assert await hosts.one.drop(Which(tag="docs")) == 2
    assert await hosts.one.get(bytes(16), FAR) is None
    assert await hosts.other.get(bytes(16), FAR + 2 * LOOK_EVERY) is None
    assert await hosts.one.drop(Which(model="acme/9")) == 0
    stats = await hosts.other.stats()
    assert (stats.entries, stats.models) == (1, {"acme/2": 1})


async def test_the_least_used_goes_when_there_is_no_room(hosts: Hosts) -> None:
    for number in range(30):
        hosts.one.put(an_entry(bytes([number]) * 16, made=FAR, size=50_000), FAR + number)
        await hosts.one.written()
    stats = await hosts.one.stats()
    assert stats.bytes <= MIB
    assert await hosts.other.get(bytes([29]) * 16, FAR) is not None
    assert await hosts.other.get(bytes([0]) * 16, FAR) is None


async def test_questions_have_numbers_that_grow(hosts: Hosts) -> None:
    for number in range(3):
        hosts.one.put(an_entry(bytes([number]) * 16, made=FAR, vector=b"v", question=str(number)), FAR)
        await hosts.one.written()
    hosts.one.put(an_entry(b"x" * 16, made=FAR), FAR)
    await hosts.one.written()
    rows = await hosts.other.meant(0, 2)
    assert [entry.question for _, entry in rows] == ["0", "1"]
    rest = await hosts.other.meant(rows[-1][0], 10)
    assert [entry.question for _, entry in rest] == ["2"]


async def test_outcomes_of_all_hosts_are_counted_together(hosts: Hosts) -> None:
    hosts.one.count("hit")
    hosts.other.count("hit")
    await hosts.one.written()
    assert (await hosts.other.stats()).counts == {"hit": 2}


async def test_a_server_that_is_gone_is_a_miss() -> None:
    from potluck.stages.cache import Cache, Rules
    from potluck.techniques import Cache as Said

    with redis_server() as server:
        store = ValkeyAnswers(server.url, max_bytes=MIB, memory=0)
        cache, model = Cache(store, Clock(FAR), Rules(Said())), Model()
        assert [await outcome(cache, model, ask()) for _ in range(1)] == ["miss"]
        await store.written()
        assert await outcome(cache, model, ask()) == "hit"
        server.stop()
        assert await outcome(cache, model, ask()) == "miss"
        await store.close_async()
