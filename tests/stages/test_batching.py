"""Small requests in one call: who is packed, who goes alone, and who pays for what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import sim
from potluck.config import Profile
from potluck.errors import Exhausted
from potluck.stages.batching import Batching
from potluck.stages.packing import packed, shares, taken_apart
from potluck.techniques import Batching as Settings
from potluck.types import Attempt, Event, Reply, Request, Usage
from tests.house import house


def asking(text: str, system: str = "", **changes: Any) -> Request:
    messages = [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": text},
    ]
    body = {"messages": msgspec.Raw(msgspec.json.encode(messages)), **changes.pop("fields", {})}
    return Request("pool", body, tokens_in=10, **changes)


def items_of(request: Request) -> list[str]:
    """The questions in a packed prompt."""
    last = request.decoded("messages")[-1]["content"]
    if "separate requests as JSON" not in last:
        return []
    return [row["request"] for row in msgspec.json.decode(last.split("\n\n")[-1])]


class Provider:
    """Answers packed prompts by echoing each question; `spoil` leaves out those that contain it."""

    def __init__(self, spoil: str = "\0") -> None:
        self.spoil, self.calls = spoil, list[Request]()

    async def __call__(self, request: Request) -> Reply:
        self.calls.append(request)
        request.trace.attempts.append(Attempt("p/m", "ok"))
        found = items_of(request)
        if not found:
            return Reply.of(Event(text="alone", finish="stop"))
        rows = [{"id": n, "answer": f"re: {one}"} for n, one in enumerate(found, 1) if self.spoil not in one]
        text = msgspec.json.encode({"answers": rows}).decode()
        return Reply.of(Event(text=text, finish="stop", usage=Usage(100, 50)))


def stage(**changes: Any) -> Batching:
    return Batching(Settings(**{"window_ms": 5, "always": True, **changes}))


async def text(reply: Reply) -> str:
    return "".join([chunk.text async for chunk in reply])


async def ask(batching: Batching, provider: Any, *requests: Request) -> list[str]:
    replies = await asyncio.gather(*(batching(request, provider) for request in requests))
    return [await text(reply) for reply in replies]


async def test_six_at_once_are_one_call_and_each_gets_its_own_answer() -> None:
    provider, requests = Provider(), [asking(f"q{n}", "Be brief.") for n in range(6)]
    assert await ask(stage(), provider, *requests) == [f"re: q{n}" for n in range(6)]
    [call] = provider.calls
    assert call.decoded("messages")[0] == {"role": "system", "content": "Be brief."}
    assert call.decoded("response_format")["json_schema"]["strict"] is True
    used = [request.trace.attempts[-1].usage for request in requests]
    assert sum(one.input for one in used if one) == 100
    assert sum(one.output for one in used if one) == 50
    assert sum(saving.requests for request in requests for saving in request.trace.savings) == 5
    assert {request.trace.notes["batching"] for request in requests} == {"6 in one call"}


async def test_who_is_alone_goes_unchanged() -> None:
    provider, request = Provider(), asking("q")
    assert await ask(stage(), provider, request) == ["alone"]
    assert provider.calls == [request]


async def test_whoever_gets_no_valid_answer_goes_alone() -> None:
    provider, requests = Provider(spoil="bad"), [asking(one) for one in ("good", "bad", "fine")]
    assert await ask(stage(), provider, *requests) == ["re: good", "alone", "re: fine"]
    assert len(provider.calls) == 2
    assert "asked again alone" in requests[1].trace.notes["batching"]


async def test_if_the_one_call_fails_each_goes_alone() -> None:
    calls = 0

    async def next(request: Request) -> Reply:
        nonlocal calls
        calls += 1
        if items_of(request):
            raise Exhausted("no room")
        return Reply.of(Event(text="alone"))

    assert await ask(stage(), next, asking("a"), asking("b")) == ["alone", "alone"]
    assert calls == 3


async def test_tenants_settings_and_system_messages_are_never_mixed() -> None:
    provider = Provider()
    hot = {"temperature": msgspec.Raw(b"1.5")}
    others = [asking("a", tenant="x"), asking("b", tenant="y"), asking("c", "S"), asking("d", fields=hot)]
    assert await ask(stage(), provider, *others) == ["alone"] * 4


@pytest.mark.parametrize(
    "request_",
    [
        asking("q", needs=frozenset({"tools"})),
        asking("q", bodies=({}, {})),
        asking("q", fields={"response_format": msgspec.Raw(b'{"type":"json_object"}')}),
        asking("q").replace(tokens_in=10_000),
        asking("q").replace(kind="embeddings"),
    ],
)
async def test_what_is_not_plain_and_small_goes_at_once(request_: Request) -> None:
    provider = Provider()
    found = await ask(stage(window_ms=10_000), provider, request_)
    assert found == ["alone"]


async def test_where_tokens_are_scarcer_nothing_is_packed() -> None:
    provider = Provider()
    batching = Batching(Settings(window_ms=10_000), lambda request: False)
    assert await ask(batching, provider, asking("a"), asking("b")) == ["alone", "alone"]


async def test_a_client_that_leaves_takes_nobody_with_it_and_the_last_one_ends_the_call() -> None:
    asked, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def next(request: Request) -> Reply:
        asked.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            ended.set()
            raise
        return await Provider()(request)

    batching = stage(most=2)
    tasks = [asyncio.ensure_future(batching(asking(one), next)) for one in "ab"]
    await asked.wait()
    tasks[0].cancel()
    go.set()
    assert await text(await tasks[1]) == "re: b"
    asked.clear()
    go.clear()
    tasks = [asyncio.ensure_future(batching(asking(one), next)) for one in "cd"]
    await asked.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait_for(ended.wait(), 5)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.text(max_size=10))
def test_what_is_packed_can_be_told_apart(questions: list[str], system: str) -> None:
    *_, last = packed(system, questions)
    rows = msgspec.json.decode(last["content"].split("\n\n")[-1])
    assert [row["request"] for row in rows] == questions


@given(st.lists(st.tuples(st.integers(-2, 6), st.one_of(st.text(max_size=5), st.none(), st.integers()))))
def test_only_valid_answers_under_their_own_number_count(rows: list[tuple[int, Any]]) -> None:
    told = [{"id": id, "answer": answer} for id, answer in rows]
    found = taken_apart(msgspec.json.encode({"answers": told}).decode(), 4)
    for number, answer in enumerate(found, 1):
        mine = [a for id, a in rows if id == number and isinstance(a, str)]
        assert answer == (mine[0] if len(mine) == 1 and mine[0].strip() else None)


@given(st.text(max_size=50))
def test_any_text_can_be_taken_apart(said: str) -> None:
    assert len(taken_apart(said, 3)) == 3


@given(st.integers(0, 10**6), st.lists(st.integers(0, 1000), min_size=1, max_size=10))
def test_shares_add_up_exactly(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert sum(parts) == total
    assert all(part >= 0 for part in parts)


def answers(body: Any) -> str:
    """A pretend model that can do what a packed prompt asks."""
    last = body["messages"][-1]["content"]
    if "separate requests as JSON" not in last:
        return f"re: {last}"
    rows = msgspec.json.decode(last.split("\n\n")[-1])
    return msgspec.json.encode(
        {"answers": [{"id": r["id"], "answer": f"re: {r['request']}"} for r in rows]}
    ).decode()


async def test_in_a_whole_gateway_six_clients_cost_one_request_also_as_streams(tmp_path: Path) -> None:
    profiles = {"pool": Profile(stages=("batching",))}
    settings = Settings(window_ms=200, always=True)
    async with house(
        tmp_path, {"groq": sim.Options(answer=answers)}, profiles=profiles, batching=settings
    ) as home:

        async def one(n: int) -> str:
            said = [{"role": "user", "content": f"question {n}"}]
            if n % 2:
                return "".join(await home.events("pool", messages=said))
            return (await home.chat("pool", messages=said)).text

        found = await asyncio.gather(*(one(n) for n in range(6)))
        assert home.accepted("groq") == 1
    assert all(f"re: question {n}" in said for n, said in enumerate(found))
    assert all(said.endswith("[DONE]") for said in found[1::2])
