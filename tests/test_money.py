"""Budgets in money: never a micro-dollar over by the provider's own count, over workers and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.app.compose import Gateway
from potluck.app.run import bind, serve_on
from potluck.config import Local, Provider, Settings
from potluck.quota import money
from potluck.store import keys
from potluck.surfaces import openai
from potluck.types import Quota, Request, Target, Trace, Window
from tests.house import house

PRICES = (2.0, 10.0)  # US dollars per million tokens, so micro-USD per token
HELLO = [{"role": "user", "content": "hello"}]
FILE = """
id = "dear"
name = "Dear"
category = "paid"
base_url = "http://127.0.0.1:9/v1"
key_env = ["DEAR_KEY"]

[[model]]
id = "m"
name = "m"
source = "ME"
quality = 5
price = { input = 2.0, output = 10.0, source = "ME" }

[sources.ME]
where = "a test"
seen = 2026-11-23
"""


class Till:
    """A provider that keeps its own count of what it was asked and bills for it: micro-USD, to the one.

    `bill` says how many tokens in and out one call takes, from the bytes it got and its `max_tokens`.
    """

    def __init__(self, bill: Callable[[int, int], tuple[int, int]]) -> None:
        self.bill, self.taken, self.calls, self.cut = bill, 0.0, 0, 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length: ")[1].split("\r\n")[0])
                raw = await reader.readexactly(length)
                tokens_in, tokens_out = self.bill(len(raw), msgspec.json.decode(raw)["max_tokens"])
                self.calls += 1
                self.taken += tokens_in * PRICES[0] + tokens_out * PRICES[1]
                if self.cut and self.calls % self.cut == 0:
                    raise ConnectionError  # billed, and never answered
                writer.write(_answer(tokens_in, tokens_out))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def _answer(tokens_in: int, tokens_out: int) -> bytes:
    message = {"role": "assistant", "content": "hi"}
    body = msgspec.json.encode(
        {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": 0},
        }
    )
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def till(bill: Callable[[int, int], tuple[int, int]]) -> AsyncIterator[tuple[Till, str]]:
    one = Till(bill)
    server = await asyncio.start_server(one.answer, "127.0.0.1", 0, backlog=1024)
    yield one, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    server.close()


def settings_for(home: Path, url: str, **choice: Any) -> Settings:
    (home / "providers").mkdir(exist_ok=True)
    (home / "providers" / "dear.toml").write_text(FILE)
    return Settings(
        data_dir=str(home),
        providers_dir=str(home / "providers"),
        never_bill=False,
        local=Local(enabled=False, discover=False),
        providers={"dear": Provider(base_url=url, **choice)},
        log_level="error",
    )


@asynccontextmanager
async def worker(settings: Settings, number: int) -> AsyncIterator[tuple[Gateway, httpx2.AsyncClient]]:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    settings = msgspec.structs.replace(settings, port=port)
    one, stop = Gateway(settings, {"DEAR_KEY": "k"}, worker=f"{number}-{port}"), asyncio.Event()
    serving = asyncio.create_task(serve_on(one, listener, stop))
    try:
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False, limits=limits
        ) as client:
            yield one, client
    finally:
        stop.set()
        await serving
        listener.close()


async def ask(client: httpx2.AsyncClient, **fields: Any) -> httpx2.Response:
    body = {"model": "dear/m", "messages": HELLO, "max_tokens": 100, **fields}
    return await client.post("/v1/chat/completions", json=body)


def most(max_tokens: int = 100) -> int:
    """What one `ask` can cost at most, in micro-USD."""
    raw = msgspec.json.encode({"model": "dear/m", "messages": HELLO, "max_tokens": max_tokens})
    target = Target("t", "dear", "m", "m", "", paid=True, price_in=PRICES[0], price_out=PRICES[1])
    bounded = money.bounded(openai.parse_chat(raw, trace=Trace()), target)
    return money.cost(target, bounded.tokens_in, bounded.tokens_out)


async def test_of_200_at_once_exactly_the_50_that_the_budget_holds_are_sent_over_two_workers(
    tmp_path: Path,
) -> None:
    def everything(size: int, limit: int) -> tuple[int, int]:
        return (most(limit) - limit * 10) // 2, limit

    async with till(everything) as (one, url):
        settings = settings_for(tmp_path, url, budget_day=f"{50 * most() / 1e6:.6f}")
        async with worker(settings, 1) as (_, first), worker(settings, 2) as (_, second):
            answers = await asyncio.gather(
                *(ask(first) for _ in range(100)), *(ask(second) for _ in range(100))
            )
            while True:  # a refused one may have met the other worker's lease: ask until nothing moves
                before = one.calls
                answers += await asyncio.gather(
                    *(ask(client) for client in (first, second) for _ in range(8))
                )
                if one.calls == before:
                    break
        assert one.taken <= 50 * most()
        assert one.calls == 50 == sum(answer.status_code == 200 for answer in answers)
        assert {answer.status_code for answer in answers} == {200, 429}
        async with worker(settings, 3) as (_, restarted):
            assert (await ask(restarted)).status_code == 429
        assert one.calls == 50


async def test_of_40_at_once_a_client_key_spends_what_its_money_for_the_day_holds_and_no_more(
    tmp_path: Path,
) -> None:
    def everything(size: int, limit: int) -> tuple[int, int]:
        return (most(limit) - limit * 10) // 2, limit

    async with till(everything) as (one, url):
        settings = settings_for(tmp_path, url, budget_day="5")
        async with worker(settings, 1) as (gateway, client):
            connection = gateway.database.connect()
            _, text = keys.create(connection, "bob", keys.Limits(usd_per_day=5 * most() + 40), now=0.0)
            connection.close()
            gateway.keyring.refresh()
            client.headers["authorization"] = f"Bearer {text}"
            answers = await asyncio.gather(*(ask(client) for _ in range(40)))
            assert (await ask(client)).status_code == 429
        assert one.calls == 5 == sum(answer.status_code == 200 for answer in answers)
        assert {answer.status_code for answer in answers} == {200, 429}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_it_bills_and_whoever_is_cut_off_the_budget_is_never_overrun(
    tmp_path: Path, seed: int
) -> None:
    state = seed * 7919 + 1

    def some(size: int, limit: int) -> tuple[int, int]:
        nonlocal state
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        return state % size, (state >> 8) % limit + 1

    async with till(some) as (one, url):
        one.cut = 5
        settings = settings_for(tmp_path, url, budget_month="0.02", budget_day="0.05")
        async with worker(settings, 1) as (_, client), worker(settings, 2) as (_, other):
            for round in range(8):
                sizes = [{"max_tokens": 1 + (round * 37 + n * 11) % 200} for n in range(20)]
                await asyncio.gather(*(ask(each, **size) for size in sizes for each in (client, other)))
        assert 0.012 < one.taken / 1e6 <= 0.02


async def test_an_answer_without_a_limit_of_the_clients_gets_ours(tmp_path: Path) -> None:
    limits: list[int] = []

    def note(size: int, limit: int) -> tuple[int, int]:
        limits.append(limit)
        return 1, 1

    async with till(note) as (one, url), worker(settings_for(tmp_path, url, budget_day=1), 1) as (_, client):
        await ask(client, max_tokens=None)
        assert (one.calls, limits) == (1, [4096])


async def test_what_has_a_price_of_its_own_is_not_sent_where_money_flows(tmp_path: Path) -> None:
    async with (
        till(lambda size, limit: (1, 1)) as (one, url),
        worker(settings_for(tmp_path, url, budget_day="1"), 1) as (_, client),
    ):
        answer = await ask(client, web_search_options={})
        assert (answer.status_code, one.calls) == (503, 0)
        part = {"type": "file", "file": {"file_id": "x"}}
        await ask(client, messages=[{"role": "user", "content": [part]}])
        assert one.calls == 0


async def test_a_stream_that_broke_stands_at_the_most_it_may_have_cost(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as home:
        real = home.gateway.pool.by_id["groq/openai/gpt-oss-120b"]
        budget = Quota("dear/budget", "credits", 1_000_000, Window("day"), label="budget/day", own=True)
        paid = msgspec.structs.replace(
            real, id="dear/m", provider="dear", quotas=(budget,), paid=True, price_in=2.0, price_out=10.0
        )
        home.gateway.use((paid,))
        spent = [0]
        for fault in (None, "cut"):
            if fault:
                home.world.fault("groq", fault, after=2)
            await home.events("dear/m", max_tokens=100)
            [state] = [state for state in home.gateway.views.quota() if state["label"] == "budget/day"]
            spent.append(state["used"])
        body = {"model": "dear/m", "messages": HELLO, "stream": True, "max_tokens": 100}
        bounded = money.bounded(openai.parse_chat(msgspec.json.encode(body), trace=Trace()), paid)
        assert 0 < spent[1] < spent[2] - spent[1]
        assert spent[2] - spent[1] == money.cost(paid, bounded.tokens_in, bounded.tokens_out)


async def test_the_quota_page_shows_what_is_spent_and_left(tmp_path: Path) -> None:
    async with (
        till(lambda size, limit: (100, 50)) as (_, url),
        worker(settings_for(tmp_path, url, budget_day="1.00", budget_month="2.50"), 1) as (one, client),
    ):
        await ask(client)
        states = {state["label"]: (state["used"], state["left"]) for state in one.views.quota()}
        assert states == {"budget/day": (700, 999_300), "budget/month": (700, 2_499_300)}


@given(st.text(), st.integers(1, 10_000), st.booleans())
def test_the_bound_is_never_below_a_token_a_byte(text: str, limit: int, tools: bool) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_completion_tokens": limit}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": text}}]
    request: Request = openai.parse_chat(msgspec.json.encode(body), trace=Trace())
    target = Target("t", "dear", "m", "m", "", paid=True)
    bounded = money.bounded(request, target)
    assert bounded.tokens_in >= len(text.encode()) * (2 if tools else 1)
    assert bounded.tokens_in >= request.tokens_in
    assert bounded.tokens_out == limit
