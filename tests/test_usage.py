"""Usage is always reported: a provider that says nothing of it is estimated for, and the estimate is marked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.wall import FIRST, wall

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%s "},"finish_reason":null}]}\n\n'
END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
MESSAGE = b'{"role":"assistant","content":"%s"}'
WHOLE = b'{"id":"c","x_own":[1],"choices":[{"index":0,"message":%b,"finish_reason":"stop"}]}'
TEXT = "one two three four five six seven eight nine ten"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    if msgspec.json.decode(body).get("stream"):
        said, kind = b"".join(CHUNK % word.encode() for word in TEXT.split()) + END, b"text/event-stream"
    else:
        said, kind = WHOLE % (MESSAGE % TEXT.encode()), b"application/json"
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(said)) + said
    )
    await writer.drain()
    writer.close()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A provider that never says what an answer took."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    server.close()
    await server.wait_closed()


def body(**fields: Any) -> dict[str, Any]:
    return {"model": FIRST, "messages": [{"role": "user", "content": "count"}], **fields}


async def test_a_whole_answer_has_an_estimate_that_says_it_is_one_and_all_else_as_it_came(
    tmp_path: Path,
) -> None:
    async with silent() as url, wall(tmp_path, url=url) as home:
        answer = (await home.client.post("/v1/chat/completions", json=body())).json()
    assert answer["usage"]["estimated"] is True
    assert 0 < answer["usage"]["prompt_tokens"] < 50
    assert 5 < answer["usage"]["completion_tokens"] < 100
    assert (answer["x_own"], answer["choices"][0]["message"]["content"]) == ([1], TEXT)


async def test_a_stream_ends_with_an_estimate_for_who_asked_for_usage_and_without_for_others(
    tmp_path: Path,
) -> None:
    async with silent() as url, wall(tmp_path, url=url) as home:
        asked = body(stream=True, stream_options={"include_usage": True})
        told = (await home.client.post("/v1/chat/completions", json=asked)).text
        plain = (await home.client.post("/v1/chat/completions", json=body(stream=True))).text
    events = [msgspec.json.decode(line[6:]) for line in told.split("\n") if line.startswith("data: {")]
    assert told.rstrip().endswith("data: [DONE]")
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["estimated"] is True
    assert events[-1]["usage"]["completion_tokens"] >= 10
    assert '"usage"' not in plain


async def test_a_providers_own_count_is_never_marked(tmp_path: Path) -> None:
    async with wall(tmp_path) as home:
        answer = (await home.client.post("/v1/chat/completions", json=body())).json()
    assert "estimated" not in answer["usage"]
