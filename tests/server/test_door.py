"""The door: floods, slow clients, bombs and leavers, over raw sockets against a whole gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from potluck import sim
from potluck.config import Timeouts
from potluck.store import keys
from tests.house import HELLO, House, error_of, house

CHAT = json.dumps({"model": "openai/stew", "messages": HELLO}).encode()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    limits = Timeouts(client_header=0.4, client_body=0.6)
    async with house(
        tmp_path, ["groq"], timeouts=limits, max_connections_per_client=50, max_body_bytes=100_000
    ) as one:
        yield one


async def raw(home: House, data: bytes, *, source: str = "127.0.0.1", eof: bool = False) -> bytes:
    """What the gateway answers to these bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port, local_addr=(source, 0))
    try:
        writer.write(data)
        if eof:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def head(length: int, *more: str) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_headers_that_never_end_are_refused_in_time(home: House) -> None:
    answer = await raw(home, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in answer


async def test_a_body_that_never_ends_is_refused_in_time(home: House) -> None:
    answer = await raw(home, head(500) + b'{"model":')
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_silent_connection_is_closed(home: House) -> None:
    assert (await raw(home, b"")).startswith(b"HTTP/1.1 408")


async def test_a_header_bomb_is_refused(home: House) -> None:
    bomb = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + b"X-Bomb: " + b"a" * 200_000
    answer = await raw(home, bomb)
    assert answer.startswith(b"HTTP/1.1 431") or answer == b""


async def test_a_body_announced_too_large_is_refused_before_it_is_read(home: House) -> None:
    answer = await raw(home, head(100_000_000))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"request_too_large"' in answer


async def test_a_chunked_body_that_grows_too_large_is_refused(home: House) -> None:
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    answer = await raw(home, start + chunk * 3)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""


async def test_bytes_that_are_no_http_get_a_clear_400(home: House) -> None:
    answer = await raw(home, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"error"' in answer


async def test_a_truncated_upload_costs_nothing_and_hangs_nothing(home: House) -> None:
    answer = await raw(home, head(500) + b'{"model":', eof=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert home.received("groq") == 0
    assert (await home.chat("groq/openai/gpt-oss-120b")).status_code == 200


async def test_connections_beyond_the_cap_of_one_address_are_refused_and_another_address_is_served(
    home: House,
) -> None:
    flood = [
        await asyncio.open_connection("127.0.0.1", home.port, local_addr=("127.0.0.2", 0)) for _ in range(300)
    ]
    try:
        refused = await asyncio.gather(*(reader.read() for reader, _ in flood[60:]))
        assert all(b"503" in answer.split(b"\r\n")[0] or answer == b"" for answer in refused)
        answer = await home.chat("groq/openai/gpt-oss-120b")
        assert answer.status_code == 200
    finally:
        for _, writer in flood:
            writer.close()


async def test_when_the_client_hangs_up_the_providers_connection_is_cut_and_the_hold_settled(
    tmp_path: Path,
) -> None:
    slow = {"groq": sim.Options(tokens=2000, interval=0.02)}
    async with house(tmp_path, slow) as home:
        body = json.dumps({"model": "groq/openai/gpt-oss-120b", "messages": HELLO, "stream": True}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
        writer.write(head(len(body)) + body)
        await reader.readuntil(b"content")
        assert home.gateway.meters.open == 1
        writer.close()
        async with asyncio.timeout(1):
            while home.gateway.meters.open:
                await asyncio.sleep(0.005)
        assert home.attempts() == ["groq/openai/gpt-oss-120b=cancelled"]
        record = home.gateway.views.requests()[0]
        assert record["estimated"]
        assert record["status"] == 499


async def test_a_flooding_client_key_is_refused_and_another_is_served(home: House) -> None:
    connection = home.gateway.database.connect()
    _, greedy = keys.create(connection, "greedy", keys.Limits(requests_per_minute=5), now=0.0)
    _, modest = keys.create(connection, "modest", keys.Limits(), now=0.0)
    connection.close()
    home.gateway.keyring.refresh()
    flood = await asyncio.gather(
        *(
            home.chat("groq/openai/gpt-oss-120b", max_tokens=1, headers={"authorization": f"Bearer {greedy}"})
            for _ in range(40)
        )
    )
    assert sorted({answer.status_code for answer in flood}) == [200, 429]
    assert sum(answer.status_code == 200 for answer in flood) == 5
    limited = next(answer for answer in flood if answer.status_code == 429)
    assert error_of(limited)["code"] == "client_rate_limit_exceeded"
    assert int(limited.headers["retry-after"]) > 0
    other = await home.chat("groq/openai/gpt-oss-120b", headers={"authorization": f"Bearer {modest}"})
    assert other.status_code == 200


async def test_without_a_key_nobody_is_served_once_keys_exist(home: House) -> None:
    connection = home.gateway.database.connect()
    key, text = keys.create(connection, "me", keys.Limits(models=("groq/*",)), now=0.0)
    home.gateway.keyring.refresh()
    assert (await home.chat()).status_code == 401
    mine = {"authorization": f"Bearer {text}"}
    assert (await home.chat("groq/openai/gpt-oss-120b", headers=mine)).status_code == 200
    assert (await home.chat("auto", headers=mine)).status_code == 403
    assert (await home.client.get("/metrics", headers=mine)).status_code == 403
    keys.revoke(connection, key.id, now=1.0)
    connection.close()
    home.gateway.keyring.refresh()
    assert (await home.chat("groq/openai/gpt-oss-120b", headers=mine)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.nip.io"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_a_web_page_cannot_reach_the_gateway_through_a_browser(
    home: House, headers: dict[str, str]
) -> None:
    answer = await home.chat("groq/openai/gpt-oss-120b", headers=headers)
    assert answer.status_code == 403
    error_of(answer)
    assert home.received("groq") == 0


async def test_pipelined_requests_are_answered_in_order(home: House) -> None:
    first = head(len(CHAT), "Content-Type: application/json") + CHAT
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await raw(home, first + last)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.endswith(b'{"status":"ok"}')
    assert answer.index(b'"code":"model_not_found"') < answer.index(b'{"status":"ok"}')


async def test_a_client_that_pipelines_and_leaves_stops_the_request_that_runs(home: House) -> None:
    home.world.provider("groq").fault("stall")
    body = json.dumps({"model": "groq/openai/gpt-oss-120b", "messages": HELLO, "stream": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    writer.write(head(len(body)) + body + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        assert b" 200 " in await reader.readline()
        writer.close()
        while home.gateway.meters.open:
            await asyncio.sleep(0)


async def test_an_idle_connection_outlives_the_deadline_for_a_head(home: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    for _ in range(2):
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b'{"status":"ok"}')
        assert answer.startswith(b"HTTP/1.1 200")
        await raw(home, b"")  # another connection that says nothing: its deadline passes meanwhile
    writer.close()
