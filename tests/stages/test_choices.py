"""Several choices, and several prompts: a request each, all or none, told as one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from potluck.errors import Exhausted, Interrupted
from potluck.stages.choices import Choices
from potluck.types import Chunk, Event, Reply, Request, Usage
from tests.house import HELLO, house

MODEL = "groq/openai/gpt-oss-120b"


def asking(count: int, *, stream: bool = False) -> Request:
    body = {"messages": msgspec.Raw(b'[{"role":"user","content":"hi"}]')}
    return Request("auto", body, stream=stream, bodies=(body,) * count)


async def events_of(reply: Reply) -> list[Event]:
    return [event async for chunk in reply for event in chunk.events]


async def test_each_choice_is_a_request_of_its_own_that_no_cache_may_answer() -> None:
    asked: list[Request] = []

    async def next(request: Request) -> Reply:
        asked.append(request)
        return Reply.of(Event(text=f"answer {len(asked)}", finish="stop", usage=Usage(5, 2)))

    events = await events_of(await Choices(next)(asking(3)))
    assert [(event.choice, event.text) for event in events[:-1]] == [
        (0, "answer 1"),
        (1, "answer 2"),
        (2, "answer 3"),
    ]
    assert events[-1].usage == Usage(15, 6)
    assert {request.caching for request in asked} == {"no-cache, no-store"}
    assert {request.bodies for request in asked} == {()}


async def test_one_choice_goes_straight_on() -> None:
    async def next(request: Request) -> Reply:
        assert request is one
        return Reply.of(Event(text="hi"))

    one = Request("auto", {})
    assert (await events_of(await Choices(next)(one)))[0].text == "hi"


async def test_if_one_cannot_be_had_none_is_and_the_others_are_given_back() -> None:
    closed: list[int] = []
    count = 0

    async def next(request: Request) -> Reply:
        nonlocal count
        count += 1
        if count == 2:
            raise Exhausted("no more")
        return Reply(None, lambda: closed.append(1), whole=Chunk.of(Event(text="hi")))

    with pytest.raises(Exhausted):
        await Choices(next)(asking(3))
    assert closed == [1, 1]


async def test_streams_are_interleaved_as_they_come_and_a_broken_one_breaks_the_whole() -> None:
    go = [asyncio.Event(), asyncio.Event()]
    closed: list[int] = []
    begun_with: list[int] = []

    async def words(mine: int) -> AsyncIterator[Chunk]:
        yield Chunk.of(Event(text=f"first of {mine}"))
        await go[mine].wait()
        if mine == 1:
            raise Interrupted("cut")
        yield Chunk.of(Event(text="last", finish="stop", usage=Usage(1, 1)))

    async def next(request: Request) -> Reply:
        mine = len(begun_with)
        begun_with.append(mine)
        return Reply(words(mine), lambda: closed.append(mine))

    reply = await Choices(next)(asking(2, stream=True))
    chunks = aiter(reply)
    begun = {(await anext(chunks)).events[0].choice for _ in range(2)}
    assert begun == {0, 1}
    go[0].set()
    assert (await anext(chunks)).events[0].text == "last"
    go[1].set()
    with pytest.raises(Interrupted):
        await anext(chunks)
    reply.close()
    assert sorted(closed) == [0, 1]


async def test_a_client_gets_n_choices_in_one_answer_and_in_one_stream(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as home:
        answer = (await home.chat(MODEL, n=3)).json()
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert all(choice["message"]["content"] and choice["finish_reason"] for choice in answer["choices"])
        assert home.accepted("groq") == 3
        said = home.world.provider("groq").counts
        assert answer["usage"]["total_tokens"] == said.tokens_in + said.tokens_out
        assert all("n" not in body for body in home.world.provider("groq").bodies)
        events = await home.events(MODEL, n=2, stream_options={"include_usage": True})
        assert events[-1] == "[DONE]"
        decoded = [msgspec.json.decode(event) for event in events[:-1]]
        assert {choice["index"] for event in decoded for choice in event["choices"]} == {0, 1}
        assert [event["usage"]["total_tokens"] > 0 for event in decoded if event.get("usage")] == [True]
        finished = [c for event in decoded for c in event["choices"] if c["finish_reason"]]
        assert sorted(choice["index"] for choice in finished) == [0, 1]


async def test_too_many_choices_are_refused_with_the_number_that_is_served(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as home:
        for n in (0, -1, 9):
            refused = await home.chat(MODEL, n=n)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
        assert home.received("groq") == 0


async def test_legacy_prompts_are_answered_in_their_order(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as home:
        body = {"model": MODEL, "prompt": ["one", "two"], "n": 2, "max_tokens": 5}
        answer = (await home.client.post("/v1/completions", json=body)).json()
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
        asked = [body["messages"][0]["content"] for body in home.world.provider("groq").bodies]
        assert sorted(asked) == ["one", "one", "two", "two"]
        streamed = await home.client.post("/v1/completions", json={**body, "stream": True})
        ended = [line for line in streamed.text.split("\n") if '"finish_reason":"' in line]
        assert len(ended) == 4


async def test_the_official_client_reads_them(tmp_path: Path) -> None:
    import openai

    async with house(tmp_path, ["groq"]) as home:
        async with openai.AsyncOpenAI(base_url=f"{home.url}/v1", api_key="-") as client:
            answer = await client.chat.completions.create(model=MODEL, messages=HELLO, n=2)
        assert [choice.index for choice in answer.choices] == [0, 1]
