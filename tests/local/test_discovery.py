"""Model servers on loopback are found; those that hang, lie or are elsewhere cost nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from potluck.local.discovery import Discovered, Place, discover, parse

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Respond], Awaitable[int]]
_BODY = json.dumps({"object": "list", "data": [{"id": "llama3.2:1b"}, {"id": "nomic-embed-text"}]}).encode()
_FOUND = [Discovered("llama3.2:1b"), Discovered("nomic-embed-text", 0, "embeddings")]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server on loopback that answers as told; returns its port."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(respond: Respond) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await respond(reader, writer)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for writer in writers:
        writer.transport.abort()
    for server in servers:
        server.close()
        await server.wait_closed()


def answering(status: str, body: bytes, *, close: bool = True, length: bool = True) -> Respond:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = f"Content-Length: {len(body)}\r\n" if length else ""
        writer.write(f"HTTP/1.1 {status}\r\n{said}\r\n".encode() + body)
        await writer.drain()
        if close:
            writer.close()

    return respond


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await reader.readuntil(b"\r\n\r\n")


async def test_a_running_server_is_found_and_a_hanging_one_costs_only_the_patience(serve: Serve) -> None:
    good, bad = await serve(answering("200 OK", _BODY)), await serve(hang)
    began = time.monotonic()
    places = [("hangs", f"http://127.0.0.1:{bad}/v1"), ("works", f"http://localhost:{good}/v1/")]
    assert await discover(places) == {"works": _FOUND}
    assert time.monotonic() - began < 2


async def test_it_asks_for_the_models_without_any_key(serve: Serve) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    port = await serve(listen)
    assert await discover([("x", f"http://127.0.0.1:{port}/v1")]) == {}
    assert heard[0].startswith(b"GET /v1/models HTTP/1.0\r\n")
    assert b"uthorization" not in heard[0]


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("length", [True, False])
async def test_the_end_of_an_answer_is_its_length_or_its_close(
    serve: Serve, close: bool, length: bool
) -> None:
    port = await serve(answering("200 OK", _BODY, close=close, length=length))
    found = await discover([("x", f"http://127.0.0.1:{port}/v1")], patience=5 if close or length else 0.1)
    assert found == ({"x": _FOUND} if close or length else {})


@pytest.mark.parametrize(
    ("status", "body"), [("401 No", _BODY), ("500 Oh", b""), ("200 OK", b"<html>"), ("", b"")]
)
async def test_a_server_that_refuses_or_talks_nonsense_is_not_found(
    serve: Serve, status: str, body: bytes
) -> None:
    port = await serve(answering(status, body))
    assert await discover([("x", f"http://127.0.0.1:{port}/v1")]) == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/v1",
        "http://10.0.0.1:1234/v1",
        "http://example.com/v1",
        "https://127.0.0.1/v1",
        "http://[bad/v1",
        "",
    ],
)
async def test_nothing_but_loopback_is_ever_asked(url: str) -> None:
    assert Place.of(url) is None
    assert await discover([("elsewhere", url)], patience=30) == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_loopback_in_any_spelling_is_asked_by_number(host: str) -> None:
    place = Place.of(f"http://{host}:1234/v1")
    assert place
    assert place.host != "localhost"
    assert (place.port, place.path) == (1234, "/v1/models")


async def test_a_gateway_does_not_find_itself(serve: Serve) -> None:
    port = await serve(answering("200 OK", _BODY))
    assert await discover([("x", f"http://127.0.0.1:{port}/v1")], ours=[port]) == {}


async def test_a_closed_port_is_not_found(serve: Serve) -> None:
    assert await discover([("x", "http://127.0.0.1:1/v1")]) == {}


@pytest.mark.parametrize(
    ("row", "context"),
    [
        ({"max_model_len": 32768}, 32768),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 131072}}, 4096),
        ({"loaded_context_length": 4096, "max_context_length": 8192}, 4096),
        ({"context_length": "many", "max_context_length": True}, 0),
        ({"meta": None, "max_model_len": -1}, 0),
    ],
)
def test_the_context_is_taken_from_where_servers_put_it(row: dict[str, object], context: int) -> None:
    assert parse(json.dumps({"data": [{"id": "m", **row}]}).encode()) == [Discovered("m", context)]


@given(st.binary())
def test_no_bytes_make_the_parser_fail(body: bytes) -> None:
    parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["data", "id", "meta", "n_ctx", "type"]), x),
    )
)
def test_no_json_makes_the_parser_fail(value: object) -> None:
    for answer in (value, {"data": value}, {"data": [value]}):
        parse(json.dumps(answer).encode())
