"""A peer that says random bytes over a real socket never makes the client hang or believe it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.errors import Malformed, Unavailable
from potluck.upstream import Upstream
from tests.upstream.peer import Talk, peer

HEADS = st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])


async def converse(pieces: Sequence[bytes]) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        for piece in pieces:
            await talk.say(piece)
            await asyncio.sleep(0)

    upstream = Upstream(proxies={})
    async with peer(script) as server, asyncio.timeout(5):
        try:
            exchange = await upstream.send(server.call())
            assert 200 <= exchange.status <= 999
            await exchange.body(10_000)
        except (Malformed, Unavailable) as failure:
            assert failure.sent  # noqa: PT017
        assert upstream.stats()[server.origin].idle <= 1
        await upstream.close()


@settings(max_examples=60, deadline=None)
@given(HEADS, st.lists(st.binary(max_size=500), max_size=4))
def test_random_bytes_end_in_an_answer_or_a_failure(head: bytes, pieces: list[bytes]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(converse([head, *pieces]))
