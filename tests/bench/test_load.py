"""The load generator must not flatter: what is cut, short, wrong or late is an error and never a fast answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from bench.gateway import wire
from bench.gateway.check import answer_fault, stream_fault
from bench.gateway.load import Plan, Result, run
from bench.gateway.upstream import Pace, Upstream, json_reply
from hypothesis import given
from hypothesis import strategies as st

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
STREAM = b"".join(wire.stream_events(wire.EVENTS))
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """A port where every request, its body read whole, gets what `answer` writes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                await answer(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def says(data: bytes, *, hang_up: bool = False) -> Answer:
    """Answers with these bytes, and closes the connection after them if asked to."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if hang_up:
            await writer.drain()
            writer.close()

    return answer


def chunked(body: bytes, *, ended: bool = True) -> bytes:
    """An SSE answer in one chunk, with or without the chunk that says it is over."""
    head = SSE_HEAD + b"transfer-encoding: chunked\r\n\r\n"
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n" + (b"0\r\n\r\n" if ended else b"")


async def load(answer: Answer, *, stream: bool = False) -> Result:
    async with server(answer) as port:
        return await run(Plan(port=port, requests=3, connections=2, stream=stream), 1.0)


def assert_all_wrong(result: Result, reason: str) -> None:
    assert result.ok == 0
    assert result.latencies == []
    assert result.errors == {reason: 3}


@pytest.mark.parametrize("stream", [False, True])
async def test_whole_answers_of_the_fake_upstream_count(stream: bool) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        result = await run(Plan(port=port, requests=20, connections=4, stream=stream), 1.0)
    assert (result.ok, result.errors) == (20, {})
    assert len(result.latencies) == 20
    assert result.events == (20 * wire.EVENTS if stream else 0)


async def test_a_stream_cut_by_a_hang_up_is_an_error() -> None:
    result = await load(says(chunked(STREAM[:900], ended=False), hang_up=True), stream=True)
    assert_all_wrong(result, "connection closed within the answer")


async def test_a_stream_with_all_its_words_but_no_end_of_the_body_is_an_error() -> None:
    result = await load(says(chunked(STREAM, ended=False), hang_up=True), stream=True)
    assert_all_wrong(result, "connection closed within the answer")


async def test_a_stream_that_ends_politely_without_done_is_an_error() -> None:
    body = STREAM.replace(b"data: [DONE]\n\n", b"")
    assert_all_wrong(await load(says(chunked(body)), stream=True), "stream ended without [DONE]")


async def test_a_stream_that_lost_one_word_is_an_error() -> None:
    events = wire.stream_events(wire.EVENTS)
    body = b"".join(events[:7] + events[8:])
    assert_all_wrong(await load(says(chunked(body)), stream=True), "other words than the upstream sent")


async def test_a_stream_that_swapped_two_words_is_an_error() -> None:
    events = wire.stream_events(wire.EVENTS)
    body = b"".join([*events[:7], events[8], events[7], *events[9:]])
    assert_all_wrong(await load(says(chunked(body)), stream=True), "other words than the upstream sent")


async def test_an_answer_shorter_than_it_claims_is_an_error() -> None:
    result = await load(says(json_reply(wire.json_answer())[:-1], hang_up=True))
    assert_all_wrong(result, "connection closed within the answer")


async def test_an_answer_with_other_text_is_an_error() -> None:
    other = wire.json_answer().replace(b"Everyone", b"Nobody")
    assert_all_wrong(await load(says(json_reply(other))), "other text than the upstream sent")


async def test_an_error_status_is_an_error_even_with_the_right_body() -> None:
    assert_all_wrong(await load(says(json_reply(wire.json_answer(), b"503 Busy"))), "status 503")


async def test_bytes_that_are_not_http_are_an_error() -> None:
    result = await load(says(b"220 mail.example.com\r\n\r\n"))
    assert result.ok == 0
    assert sum(result.errors.values()) == 3


async def test_no_answer_at_all_is_an_error_and_ends_the_run() -> None:
    async with server(says(b"")) as port:
        result = await run(Plan(port=port, connections=3, patience=0.05), 0.05)
    assert_all_wrong(result, "no answer in time")


async def test_nobody_listening_is_an_error() -> None:
    async with server(says(b"")) as port:
        pass
    result = await run(Plan(port=port, requests=3), 1.0)
    assert result.ok == 0
    assert sum(result.errors.values()) == 3


@pytest.mark.parametrize(("body", "ok"), [(STREAM, 3), (STREAM[:-20], 0)])
async def test_a_body_that_ends_with_the_connection_counts_only_when_its_text_is_whole(
    body: bytes, ok: int
) -> None:
    result = await load(says(SSE_HEAD + b"connection: close\r\n\r\n" + body, hang_up=True), stream=True)
    assert result.ok == ok
    assert result.broken == 3 - ok


@given(st.integers(0, len(STREAM.rstrip()) - 1))
def test_no_prefix_of_a_stream_passes_for_the_whole(cut: int) -> None:
    assert stream_fault(STREAM[:cut], wire.EVENTS) is not None


@given(st.integers(0, len(wire.json_answer()) - 1))
def test_no_prefix_of_an_answer_passes_for_the_whole(cut: int) -> None:
    assert answer_fault(wire.json_answer()[:cut]) is not None


@given(st.integers(4, 60))
def test_a_paced_stream_has_as_many_events_as_asked_for_and_is_whole(events: int) -> None:
    body = b"".join(wire.stream_events(events))
    assert body.count(b"data:") - 1 == events == len(Pace(events).writes)
    assert stream_fault(body, events) is None
    assert stream_fault(body, events + 1) is not None
