"""One exchange over a real socket: what arrives, when, and what happens when either side leaves."""

from __future__ import annotations

import asyncio

import pytest

from potluck.errors import Invalid, Malformed, TimedOut, Unavailable
from potluck.upstream import Timeouts, Upstream, header_lines
from potluck.upstream.exchange import HIGH_WATER
from tests.upstream.peer import OK, Talk, always, answering, chunked, peer, silent_after

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_request_arrives_as_it_was_meant_and_its_answer_comes_back(upstream: Upstream) -> None:
    answer = b"HTTP/1.1 429 Slow\r\nRetry-After: 7 \r\ncontent-length: 4\r\n\r\nbusy"
    async with peer(answering(answer)) as server:
        headers = header_lines([("Authorization", "Bearer k")])
        exchange = await upstream.send(server.call(headers=headers, body=b'{"a":1}'))
        assert (exchange.status, exchange.header(b"retry-after"), exchange.header(b"x")) == (429, b"7", None)
        assert await exchange.body(100) == b"busy"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nauthorization: Bearer k\r\n" in head
    assert body == b'{"a":1}'


async def test_a_large_request_arrives_whole(upstream: Upstream) -> None:
    body = bytes(range(256)) * 40_000
    async with peer(always()) as server:
        exchange = await upstream.send(server.call(body=body))
        assert await exchange.body(10) == b"ok"
    assert server.requests[0].endswith(b"\r\n\r\n" + body)


async def test_events_are_read_as_they_arrive(upstream: Upstream) -> None:
    read = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(HEAD)
        for piece in (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            await read.wait()
            read.clear()
            await talk.say(piece)

    async with peer(script) as server:
        exchange = await upstream.send(server.call())
        got = []
        for _ in range(3):
            read.set()
            got.append(await exchange.read())
    assert got == [b"one", b"two", b""]


async def test_byte_by_byte_over_a_socket_is_the_same_answer(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        for byte in chunked(b"hello ", b"world"):
            await talk.say(bytes([byte]))
            await asyncio.sleep(0)

    async with peer(script) as server:
        assert await (await upstream.send(server.call())).body(100) == b"hello world"


async def test_the_times_are_in_order(upstream: Upstream) -> None:
    async with peer(always()) as server:
        exchange = await upstream.send(server.call())
        await exchange.body(10)
    assert 0 < exchange.sent_at <= exchange.first_at <= exchange.ended_at


async def test_what_arrived_is_read_before_the_cut_is_raised(upstream: Upstream) -> None:
    async with peer(answering(HEAD + b"5\r\nhello\r\n")) as server:
        exchange = await upstream.send(server.call())
        assert await exchange.read() == b"hello"
        with pytest.raises(Unavailable) as cut:
            await exchange.read()
        assert (cut.value.sent, cut.value.status) == (True, 200)
        with pytest.raises(Unavailable):
            await exchange.body(100)


async def test_a_body_over_the_limit_is_malformed_with_and_without_a_length(upstream: Upstream) -> None:
    for answer in (OK, chunked(b"o", b"k"), b"HTTP/1.1 200 OK\r\n\r\nok"):
        async with peer(answering(answer)) as server:
            assert await (await upstream.send(server.call())).body(2) == b"ok"
        async with peer(answering(answer)) as server:
            with pytest.raises(Malformed):
                await (await upstream.send(server.call())).body(1)


async def test_an_endless_body_is_given_up_at_the_limit(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(HEAD)
        while not talk.writer.is_closing():
            await talk.say(b"1000\r\n" + bytes(4096) + b"\r\n")

    async with peer(script) as server:
        with pytest.raises(Malformed):
            await (await upstream.send(server.call())).body(1_000_000)


async def test_a_whole_body_larger_than_the_high_water_mark_is_read(upstream: Upstream) -> None:
    body = b"x" * (5 * HIGH_WATER)
    async with peer(answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)) as server:
        exchange = await upstream.send(server.call())
        while not exchange.paused:  # nobody reads yet, so the socket is left alone
            await asyncio.sleep(0)
        assert await exchange.body(len(body)) == body


async def test_a_slow_reader_slows_the_peer_down_and_still_gets_everything(upstream: Upstream) -> None:
    sent = asyncio.Event()
    total = 64 * HIGH_WATER

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        await talk.say(bytes(total))
        sent.set()

    async with peer(script) as server:
        exchange = await upstream.send(server.call(timeouts=Timeouts(stall=0.05)))
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.2  # past the stall timeout: a peer is not blamed while we do not read
        while loop.time() < until:
            await asyncio.sleep(0)
        assert not sent.is_set()
        assert exchange.paused
        assert exchange.unread < 4 * HIGH_WATER
        got = 0
        while data := await exchange.read():
            got += len(data)
    assert got == total


@pytest.mark.parametrize("when", ["before the head", "in the body"])
async def test_hanging_up_frees_the_provider_at_once(upstream: Upstream, when: str) -> None:
    freed, waiting = asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        if when == "in the body":
            await talk.say(HEAD + b"5\r\nhello\r\n")
        waiting.set()
        await talk.gone()
        freed.set()

    async with peer(script) as server, asyncio.timeout(2):
        if when == "in the body":
            exchange = await upstream.send(server.call())
            exchange.close()
            exchange.close()
            with pytest.raises(Unavailable):
                await exchange.body(100)
        else:
            task = asyncio.create_task(upstream.send(server.call()))
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await freed.wait()


async def test_cancelling_a_read_frees_the_provider_at_once(upstream: Upstream) -> None:
    freed = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(HEAD)
        await talk.gone()
        freed.set()

    async with peer(script) as server, asyncio.timeout(2):
        exchange = await upstream.send(server.call())
        task = asyncio.create_task(exchange.read())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await freed.wait()


async def test_a_peer_that_hangs_up_without_a_word_is_unavailable_and_may_have_acted(
    upstream: Upstream,
) -> None:
    async with peer(answering(b"")) as server:
        with pytest.raises(Unavailable) as failure:
            await upstream.send(server.call())
    assert failure.value.sent


async def test_a_peer_that_resets_is_unavailable(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        talk.reset()

    async with peer(script) as server:
        with pytest.raises(Unavailable):
            await upstream.send(server.call())


async def test_a_peer_that_answers_before_it_is_asked_is_not_trusted(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.say(OK + OK)
        await talk.gone()

    async with peer(script) as server:
        with pytest.raises(Unavailable):
            await (await upstream.send(server.call())).body(10)
        assert upstream.stats()[server.origin].idle == 0


async def test_a_refusal_of_the_request_reaches_no_socket(upstream: Upstream) -> None:
    async with peer(always()) as server:
        with pytest.raises(Invalid):
            await upstream.send(server.call(path="/a\r\nx: y"))
        assert server.accepted == 0


@pytest.mark.parametrize(
    ("answer", "timeouts", "words"),
    [
        (b"", Timeouts(head=0.05), "headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Timeouts(head=0.05), "headers"),
        (b"HTTP/1.1 200 OK\r\nx: ", Timeouts(head=0.05), "headers"),
        (HEAD, Timeouts(first=0.05), "first byte"),
        (HEAD + b"5\r\n", Timeouts(first=0.05), "first byte"),
        (HEAD + b"5\r\nhel", Timeouts(stall=0.05), "stalled"),
        (HEAD + b"5\r\nhello\r\n", Timeouts(total=0.05), "in all"),
    ],
)
async def test_whatever_is_overdue_times_out_and_frees_the_peer(
    upstream: Upstream, answer: bytes, timeouts: Timeouts, words: str
) -> None:
    async with peer(silent_after(answer)) as server, asyncio.timeout(5):
        with pytest.raises(TimedOut, match=words) as late:
            await (await upstream.send(server.call(timeouts=timeouts))).body(100)
        assert late.value.sent
        while server.sockets_open:
            await asyncio.sleep(0)


async def test_a_body_that_keeps_moving_is_not_a_stall(upstream: Upstream) -> None:
    moved = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(HEAD)
        for _ in range(8):
            asyncio.get_running_loop().call_later(0.03, moved.set)
            await moved.wait()
            moved.clear()
            await talk.say(b"1\r\nx\r\n")
        await talk.say(b"0\r\n\r\n")

    async with peer(script) as server:
        exchange = await upstream.send(server.call(timeouts=Timeouts(stall=0.2, first=0.2)))
        assert await exchange.body(100) == b"x" * 8  # 0.24 s in all
