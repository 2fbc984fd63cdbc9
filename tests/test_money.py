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

from potluck import config
from potluck.app.compose import Gateway, inventory
from potluck.app.run import bind, serve_on
from potluck.config import Local, Provider, Settings, micro_usd
from potluck.errors import ConfigError
from potluck.quota import money
from potluck.surfaces import openai
from potluck.types import Request, Target, Trace

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


async def test_the_quota_page_shows_what_is_spent_and_left(tmp_path: Path) -> None:
    async with (
        till(lambda size, limit: (100, 50)) as (_, url),
        worker(settings_for(tmp_path, url, budget_day="1.00", budget_month="2.50"), 1) as (one, client),
    ):
        await ask(client)
        states = {state["label"]: (state["used"], state["left"]) for state in one.views.quota()}
        assert states == {"budget/day": (700, 999_300), "budget/month": (700, 2_499_300)}


@pytest.mark.parametrize("choice", [{}, {"budget_day": 0}, {"budget_day": "1", "budget_month": "0"}])
def test_without_a_budget_or_with_one_of_zero_nothing_that_charges_is_a_target(
    tmp_path: Path, choice: dict[str, Any]
) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", **choice)
    assert inventory(settings, {"DEAR_KEY": "k"}).targets == ()


def test_never_bill_is_stronger_than_any_budget(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", budget_day="5")
    assert inventory(settings, {"DEAR_KEY": "k"}).targets
    careful = msgspec.structs.replace(settings, never_bill=True)
    assert inventory(careful, {"DEAR_KEY": "k"}).targets == ()


def test_a_price_nobody_told_counts_as_the_dearest_and_the_users_word_wins(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", budget_day="5")
    (tmp_path / "providers" / "dear.toml").write_text(FILE.replace("price =", "# price ="))
    [target] = inventory(settings, {"DEAR_KEY": "k"}).targets
    assert (target.price_in, target.price_out) == (150.0, 600.0)
    told = {"dear": Provider(budget_day="5", price_in=1.0, price_out=3.0)}
    [target] = inventory(msgspec.structs.replace(settings, providers=told), {"DEAR_KEY": "k"}).targets
    assert (target.price_in, target.price_out) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("said", "micro"), [("2.50", 2_500_000), (0.1, 100_000), ("$3", 3_000_000), (7, 7_000_000), (None, None)]
)
def test_dollars_become_whole_micro_dollars(said: Any, micro: int | None) -> None:
    assert micro_usd(said) == micro


@given(st.integers(0, 10**12))
def test_every_amount_of_micro_dollars_can_be_written_down(micro: int) -> None:
    assert micro_usd(f"{micro // 1_000_000}.{micro % 1_000_000:06}") == micro


@pytest.mark.parametrize("said", ["-1", "nan", "inf", "ten", "0.0000001", ""])
def test_what_is_no_amount_of_money_refuses_to_start_and_says_where(tmp_path: Path, said: str) -> None:
    path = tmp_path / "potluck.toml"
    path.write_text(f'[providers.openai]\nbudget_month = "{said}"\n')
    with pytest.raises(ConfigError, match=r"potluck\.toml.*2"):
        config.load(path, {})


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


def test_a_pretend_provider_bills_nobody_whatever_the_real_one_does(tmp_path: Path) -> None:
    """`potluck serve --sim` plays with every provider it pretends, never_bill or not."""
    at_play = {"cerebras": Provider(base_url="http://127.0.0.1:9/v1")}
    settings = Settings(data_dir=str(tmp_path), providers=at_play)
    environ = {"CEREBRAS_API_KEY": "k", "SCW_SECRET_KEY": "k"}
    assert inventory(settings, environ).targets == ()
    played = inventory(msgspec.structs.replace(settings, sim=True), environ).targets
    assert {target.provider for target in played} == {"cerebras"}
