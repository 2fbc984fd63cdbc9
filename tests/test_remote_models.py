"""Hosts that list their own models: asked over a real socket, once for all workers, never where money could flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from potluck import catalog
from potluck.app.compose import Gateway, inventory
from potluck.app.remote import RemoteModels
from potluck.app.run import bind, serve_on
from potluck.catalog import listed
from potluck.config import Local, Provider, Settings
from potluck.upstream import Upstream
from tests.test_catalog import MUST

PROVIDERS = catalog.load()
HELLO = [{"role": "user", "content": "hello"}]
ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Clock:
    at = 1_795_521_600.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Host:
    """A pretend host: `models` is what it lists (an int is an HTTP status), `asked` who asked with which key."""

    def __init__(self) -> None:
        self.models: Any = [{"id": "chat-70b", "context_length": 8192}]
        self.asked: list[str] = []
        self.chats = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                await reader.readexactly(int(headers.get("content-length", "0")))
                status, body = self._say(head, headers)
                raw = msgspec.json.encode(body)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(raw)) + raw)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _say(self, head: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        if not head.startswith("GET"):
            self.chats += 1
            return 200, ANSWER
        self.asked.append(headers.get("authorization", ""))
        if isinstance(self.models, int):
            return self.models, {"error": {"message": "not today"}}
        return 200, {"data": self.models}


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    one = Host()
    server = await asyncio.start_server(one.answer, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield one
    server.close()


def at(host: Host, name: str, home: Path, **changes: Any) -> tuple[Settings, dict[str, str]]:
    """Settings and environment with this one provider's key, and its address on loopback."""
    provider = PROVIDERS[name]
    settings = Settings(
        data_dir=str(home),
        local=Local(enabled=False, discover=False),
        providers={name: Provider(base_url=host.url, budget_day="1.00")},
    )
    environ = dict.fromkeys((*provider.key_env[:1], *provider.env), "abc123")
    return msgspec.structs.replace(settings, **changes), environ


async def looked(settings: Settings, environ: dict[str, str], clock: Clock) -> RemoteModels:
    """One worker that has looked once."""
    remote, upstream = RemoteModels(settings, PROVIDERS, environ, clock), Upstream(proxies={})
    await remote.look(upstream, lambda: None)
    await upstream.close()
    return remote


@asynccontextmanager
async def gateway(
    settings: Settings, environ: dict[str, str]
) -> AsyncIterator[tuple[Gateway, httpx2.AsyncClient]]:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    one, stop = Gateway(msgspec.structs.replace(settings, port=port), environ), asyncio.Event()
    serving = asyncio.create_task(serve_on(one, listener, stop))
    try:
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False
        ) as client:
            yield one, client
    finally:
        stop.set()
        await serving
        listener.close()


@pytest.mark.parametrize("name", MUST)
async def test_each_provider_of_the_issue_has_a_chat_target_with_just_its_key(
    name: str, host: Host, tmp_path: Path
) -> None:
    settings, environ = at(host, name, tmp_path, never_bill=False, anonymous_providers=())
    static = inventory(settings, environ, listed=False).targets
    remote = await looked(settings, environ, Clock())
    chats = [t for t in (*static, *remote.targets) if t.kind == "chat" and t.provider == name]
    assert chats
    assert all(target.key.reveal() == "abc123" for target in chats)


async def test_listed_models_join_the_running_gateway_and_answer(host: Host, tmp_path: Path) -> None:
    settings, environ = at(host, "deepseek", tmp_path, never_bill=False)
    async with gateway(settings, environ) as (one, client):
        await asyncio.wait_for(one.remote.complete.wait(), 10)
        answer = await client.post(
            "/v1/chat/completions", json={"model": "deepseek/chat-70b", "messages": HELLO}
        )
    assert answer.json()["choices"][0]["message"]["content"] == "hi"
    assert (host.asked, host.chats) == (["bearer abc123"], 1)


async def test_why_a_host_listed_nothing_is_on_the_status_page(host: Host, tmp_path: Path) -> None:
    host.models = 500
    async with gateway(*at(host, "requesty", tmp_path)) as (one, client):
        await asyncio.wait_for(one.remote.complete.wait(), 10)
        status = (await client.get("/potluck/v1/status")).json()
    assert "not today" in status["unlisted"]["requesty"]


async def test_a_host_that_hangs_does_not_delay_the_start(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    silent = Host()
    silent.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with gateway(*at(silent, "requesty", tmp_path)) as (_, client):
        assert (await client.get("/health")).status_code == 200
    server.close()


async def test_with_never_bill_a_host_where_every_call_is_paid_is_not_even_asked(
    host: Host, tmp_path: Path
) -> None:
    remote = await looked(*at(host, "deepseek", tmp_path), Clock())
    assert (remote.targets, host.asked) == ((), [])


async def test_with_never_bill_only_rows_that_the_host_gives_away_are_used(
    host: Host, tmp_path: Path
) -> None:
    host.models = [
        {"id": "dear", "pricing": {"prompt": "0.000001", "completion": "0"}},
        {"id": "gift", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "silent"},
    ]
    remote = await looked(*at(host, "requesty", tmp_path), Clock())
    assert [target.model for target in remote.targets] == ["gift"]
    assert not remote.targets[0].paid


async def test_an_ending_that_the_catalog_calls_free_is_free(host: Host, tmp_path: Path) -> None:
    host.models = [{"id": "glm-flash-free"}, {"id": "glm-flash"}]
    remote = await looked(*at(host, "orcarouter", tmp_path), Clock())
    assert [target.model for target in remote.targets] == ["glm-flash-free"]


async def test_a_price_of_zero_at_a_host_where_every_call_is_paid_is_no_gift(
    host: Host, tmp_path: Path
) -> None:
    host.models = [{"id": "m", "pricing": {"input": 0, "output": 0}}]
    remote = await looked(*at(host, "together", tmp_path, never_bill=False), Clock())
    assert [target.paid for target in remote.targets] == [True]


async def test_many_workers_ask_once_and_restarts_within_six_hours_not_at_all(
    host: Host, tmp_path: Path
) -> None:
    settings, environ = at(host, "deepseek", tmp_path, never_bill=False)
    clock = Clock()
    workers = await asyncio.gather(*(looked(settings, environ, clock) for _ in range(4)))
    clock.at += 6 * 3600 - 1
    again = await looked(settings, environ, clock)
    assert len(host.asked) == 1
    assert again.targets in [worker.targets for worker in workers]
    clock.at += 2
    await looked(settings, environ, clock)
    assert len(host.asked) == 2


async def test_after_a_failure_it_asks_at_most_once_a_minute_and_keeps_the_old_list(
    host: Host, tmp_path: Path
) -> None:
    settings, environ = at(host, "deepseek", tmp_path, never_bill=False)
    clock = Clock()
    before = (await looked(settings, environ, clock)).targets
    clock.at, host.models = clock.at + 7 * 3600, 500
    for seconds in (0, 30, 29):
        clock.at += seconds
        remote = await looked(settings, environ, clock)
    assert len(host.asked) == 2
    assert remote.targets == before
    assert "not today" in remote.problems()["deepseek"]
    assert "abc123" not in str(remote.problems())
    clock.at += 2
    await looked(settings, environ, clock)
    assert len(host.asked) == 3


async def test_another_address_is_asked_anew_and_a_broken_file_too(host: Host, tmp_path: Path) -> None:
    settings, environ = at(host, "deepseek", tmp_path, never_bill=False)
    await looked(settings, environ, Clock())
    (tmp_path / "remote-models.json").write_text("{")
    assert (await looked(settings, environ, Clock())).targets
    elsewhere = {"deepseek": Provider(base_url=host.url.replace("127.0.0.1", "localhost"), budget_day=1.0)}
    await looked(msgspec.structs.replace(settings, providers=elsewhere), environ, Clock())
    assert len(host.asked) == 3


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'[{"id": "a", "type": "chat"}, {"id": "b", "type": "image"}]', [("a", "chat"), ("b", "other")]),
        (b'{"data": [{"id": "bge-m3", "type": "embedding"}]}', [("bge-m3", "embeddings")]),
        (b'{"data": [{"id": "whisper-1"}, {"id": 7}, "x", {"id": "a\\nb"}]}', [("whisper-1", "other")]),
        (b'{"data": 3}', []),
        (b"<html>", []),
        (b"[" * 100_000, []),
    ],
)
def test_a_list_is_read_in_every_shape_seen_and_nonsense_is_left_out(body: bytes, found: list[Any]) -> None:
    assert [(row.id, row.kind) for row in listed(body)] == found


@pytest.mark.parametrize(
    ("row", "free"),
    [
        ({"pricing": {"prompt": "0", "completion": "0"}}, True),
        ({"pricing": {"prompt": "0", "completion": "0", "request": "0.01"}}, False),
        ({"pricing": {"prompt": "0"}}, False),
        ({"pricing": {"prompt": "-1", "completion": "-1"}}, False),
        ({"pricing": {"prompt": False, "completion": False}}, False),
        ({"input_price": 0, "output_price": 0.0}, True),
        ({"input_price": 0, "output_price": 0.2}, False),
        ({"pricing": "free"}, False),
        ({}, False),
    ],
)
def test_a_row_is_free_only_if_every_price_is_stated_and_zero(row: dict[str, Any], free: bool) -> None:
    assert [one.free for one in listed(msgspec.json.encode([{"id": "m", **row}]))] == [free]
