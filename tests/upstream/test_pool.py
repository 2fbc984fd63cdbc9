"""Connections kept for the next request, and the ones that must not be."""

from __future__ import annotations

import asyncio

import pytest

from potluck.errors import Unavailable
from potluck.upstream import Call, Exchange, PoolStats, Upstream
from tests.upstream.peer import OK, Peer, Talk, always, answering, chunked, peer, silent_after


async def ask(upstream: Upstream, call: Call) -> bytes:
    return await (await upstream.send(call)).body(1000)


async def idle(upstream: Upstream, server: Peer, wanted: int) -> None:
    """Until the pool holds that many idle connections; the loop turns, nothing sleeps."""
    async with asyncio.timeout(2):
        while upstream.stats()[server.origin].idle != wanted:
            await asyncio.sleep(0)


async def test_one_connection_carries_many_exchanges(upstream: Upstream) -> None:
    async with peer(always(chunked(b"ok"))) as server:
        for _ in range(20):
            assert await ask(upstream, server.call()) == b"ok"
        assert server.accepted == 1
        assert upstream.stats() == {server.origin: PoolStats(open=1, idle=1)}


async def test_reading_to_the_end_gives_the_connection_back_without_close(upstream: Upstream) -> None:
    async with peer(always()) as server:
        exchange = await upstream.send(server.call())
        assert [await exchange.read(), await exchange.read(), await exchange.read()] == [b"ok", b"", b""]
        assert upstream.stats()[server.origin].idle == 1


async def test_a_complete_answer_that_nobody_reads_gives_its_connection_back(upstream: Upstream) -> None:
    async with peer(always()) as server:
        for _ in range(3):
            exchange = await upstream.send(server.call())
            exchange.close()
            exchange.close()
        assert server.accepted == 1


async def test_200_exchanges_at_once_then_again_reuse_what_they_may_keep(upstream: Upstream) -> None:
    async with peer(always()) as server:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(upstream, server.call()) for _ in range(200)))
            assert answers == [b"ok"] * 200
        assert len(server.requests) == 400
        assert server.accepted <= 400 - 64  # the 64 that were kept were used again
        assert upstream.stats()[server.origin].idle == 64


async def test_the_connection_used_last_is_used_next(upstream: Upstream) -> None:
    seen = []

    async def script(talk: Talk) -> None:
        while await talk.request():
            seen.append(talk.number)
            await talk.say(OK)

    async with peer(script) as server:
        first, second = await upstream.send(server.call()), await upstream.send(server.call())
        second.close()
        first.close()
        await ask(upstream, server.call())
        await ask(upstream, server.call())
    assert seen == [1, 2, 1, 1]


async def test_a_cut_exchange_never_lends_its_connection_to_the_next(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        body = b"late" if talk.number == 1 else b"good"
        await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n" + body[: 2 * talk.number])
        await talk.gone()

    async with peer(script) as server:
        first = await upstream.send(server.call())
        first.close()
        assert await ask(upstream, server.call()) == b"good"
        assert server.accepted == 2


async def test_a_peer_that_closes_an_idle_connection_costs_nothing(upstream: Upstream) -> None:
    async with peer(answering(OK)) as server:
        for number in range(3):
            assert await ask(upstream, server.call()) == b"ok"
            await idle(upstream, server, 0)
            assert server.accepted == number + 1


async def test_a_byte_on_an_idle_connection_ends_it(upstream: Upstream) -> None:
    poison = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(OK)
        if talk.number == 1:
            await poison.wait()
            await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong")
        await talk.gone()

    async with peer(script) as server:
        await ask(upstream, server.call())
        poison.set()
        await idle(upstream, server, 0)
        assert await ask(upstream, server.call()) == b"ok"


async def test_idle_connections_expire_and_the_peer_sees_it() -> None:
    upstream = Upstream(proxies={}, idle_seconds=0.05, sweep_every=0.01)
    async with peer(always()) as server, asyncio.timeout(5):
        await ask(upstream, server.call())
        while server.sockets_open:
            await asyncio.sleep(0)
        assert upstream.stats()[server.origin] == PoolStats(0, 0)
    await upstream.close()


async def test_an_expired_connection_is_not_used_even_before_the_sweep() -> None:
    upstream = Upstream(proxies={}, idle_seconds=0.001, sweep_every=60)
    loop = asyncio.get_running_loop()
    async with peer(always()) as server:
        await ask(upstream, server.call())
        until = loop.time() + 0.01
        while loop.time() < until:
            await asyncio.sleep(0)
        await ask(upstream, server.call())
        assert server.accepted == 2
    await upstream.close()


@pytest.mark.parametrize(("header", "kept"), [(b"timeout=1", 0), (b"timeout=60, max=5", 1), (b"max=5", 1)])
async def test_the_peers_own_keep_alive_is_kept_with_a_second_to_spare(
    upstream: Upstream, header: bytes, kept: int
) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nkeep-alive: " + header + b"\r\n\r\n")
    async with peer(always(answer)) as server:
        await ask(upstream, server.call())
        assert upstream.stats()[server.origin].idle == kept


async def stale(talk: Talk) -> None:
    """Takes the second request on its first connection and closes without a word: the keep-alive race."""
    await talk.request()
    await talk.say(OK)
    if talk.number == 1:
        await talk.request()
    else:
        await talk.gone()


async def test_a_post_that_may_have_been_acted_on_is_not_sent_again(upstream: Upstream) -> None:
    async with peer(stale) as server:
        await ask(upstream, server.call())
        with pytest.raises(Unavailable) as failure:
            await ask(upstream, server.call())
        assert failure.value.sent
        assert len(server.requests) == 2


async def test_a_get_is_sent_once_more_on_a_fresh_connection(upstream: Upstream) -> None:
    async with peer(stale) as server:
        await ask(upstream, server.call())
        assert await ask(upstream, server.call(method="GET", body=b"")) == b"ok"
        assert (server.accepted, len(server.requests)) == (2, 3)


async def test_a_get_is_sent_once_more_at_most(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        if talk.number == 1:
            await talk.say(OK)
            await talk.request()

    async with peer(script) as server:
        await ask(upstream, server.call())
        with pytest.raises(Unavailable):
            await ask(upstream, server.call(method="GET", body=b""))
        assert len(server.requests) == 3


async def test_a_get_that_fails_on_a_fresh_connection_is_not_sent_again(upstream: Upstream) -> None:
    async with peer(answering(b"")) as server:
        with pytest.raises(Unavailable):
            await ask(upstream, server.call(method="GET", body=b""))
        assert len(server.requests) == 1


async def test_an_answer_before_the_request_was_taken_ends_the_connection(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await talk.gone()

    async with peer(script) as server:
        exchange = await upstream.send(server.call(body=bytes(64 << 20)))
        assert exchange.status == 413
        exchange.close()
        assert upstream.stats()[server.origin].idle == 0


async def test_closing_ends_what_is_open_and_tells_the_readers() -> None:
    upstream = Upstream(proxies={})
    async with peer(silent_after(chunked(b"x")[:-5])) as server, asyncio.timeout(5):
        exchange: Exchange = await upstream.send(server.call())
        assert await exchange.read() == b"x"
        reading = asyncio.create_task(exchange.read())
        await asyncio.sleep(0)
        await upstream.close()
        with pytest.raises(Unavailable):
            await reading
        assert upstream.stats()[server.origin] == PoolStats(0, 0)
        with pytest.raises(Unavailable) as refused:
            await upstream.send(server.call())
        assert not refused.value.sent
        await upstream.close()


async def test_nothing_ticks_while_nothing_is_open(upstream: Upstream) -> None:
    async with peer(answering(OK)) as server, asyncio.timeout(5):
        await ask(upstream, server.call())
        while upstream._timer is not None:
            await asyncio.sleep(0)
        assert await ask(upstream, server.call()) == b"ok"
        assert upstream._timer is not None
