"""The same request is answered once, and what was not whole is never answered again."""

from __future__ import annotations

from typing import Any

import pytest

from potluck.errors import Interrupted, NotCached
from potluck.stages.cache import Cache
from potluck.store.answers import Which
from potluck.types import Request, Saving
from tests.stages.cached import Clock, Model, Opener, ask, outcome, said


async def test_the_same_request_is_answered_once(cache: Cache, model: Model, clock: Clock) -> None:
    assert await outcome(cache, model, ask()) == "miss"
    clock.at += 30
    again = ask()
    assert await said(await cache(again, model)) == "Paris"
    assert model.calls == 1
    assert again.trace.notes == {"cache": "hit", "age": "30"}
    assert again.trace.savings == [Saving("cache", 1, 10, 5, "acme/m")]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("then", [False, True])
async def test_streams_and_json_answers_stand_for_each_other(
    cache: Cache, model: Model, first: bool, then: bool
) -> None:
    assert await outcome(cache, model, ask(stream=first)) == "miss"
    again = ask(stream=then)
    reply = await cache(again, model)
    events = [event async for chunk in reply for event in chunk.events]
    assert again.trace.notes["cache"] == "hit"
    assert "".join(event.text for event in events) == "Paris"
    assert [event.finish for event in events if event.finish] == ["stop"]
    assert (again.trace.savings[0].tokens_in, again.trace.savings[0].tokens_out) == (10, 5)


@pytest.mark.parametrize(
    "other",
    [
        ask("What is the capital of Spain?"),
        ask(tenant="someone else"),
        ask(model="gpt-oss-120b"),
        ask(seed=7),
        ask(max_tokens=5),
        ask(tools=[{"type": "function", "function": {"name": "f"}}]),
        ask(response_format={"type": "json_object"}),
        ask(a_field_of_tomorrow=1),
        ask(allowed=("groq/*",)),
        ask([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:a"}}]),  # type: ignore[arg-type]
    ],
)
async def test_whatever_may_change_the_answer_is_another_request(
    cache: Cache, model: Model, other: Request
) -> None:
    await outcome(cache, model, ask())
    assert await outcome(cache, model, other) == "miss"


@pytest.mark.parametrize(
    "same",
    [
        ask(user="bob", metadata={"a": "b"}, store=False, service_tier="auto"),
        ask([{"type": "text", "text": "What is the capital of France?"}]),  # type: ignore[arg-type]
        ask(n=1, seed=None, frequency_penalty=0),
    ],
)
async def test_what_does_not_change_the_answer_is_the_same_request(
    cache: Cache, model: Model, same: Request
) -> None:
    await outcome(cache, model, ask())
    assert await outcome(cache, model, same) == "hit"


async def test_two_names_of_one_limit_are_one_request(cache: Cache, model: Model) -> None:
    await outcome(cache, model, ask(max_tokens=50))
    assert await outcome(cache, model, ask(max_completion_tokens=50)) == "hit"


async def test_another_image_is_another_request(cache: Cache, model: Model) -> None:
    def seen(url: str) -> Request:
        return ask([{"type": "image_url", "image_url": {"url": url}}])  # type: ignore[arg-type]

    await outcome(cache, model, seen("data:image/png;base64,AAAA"))
    assert await outcome(cache, model, seen("data:image/png;base64,AAAB")) == "miss"
    assert await outcome(cache, model, seen("data:image/png;base64,AAAA")) == "hit"


async def test_tenants_share_only_where_a_profile_says_so(opened: Opener, model: Model) -> None:
    cache = opened(shared=True)
    await outcome(cache, model, ask(tenant="a"))
    assert await outcome(cache, model, ask(tenant="b")) == "hit"


async def test_an_answer_of_other_stages_below_is_no_hit(opened: Opener, model: Model) -> None:
    first, second = opened(below=b"cascade"), opened(below=b"context")
    await outcome(first, model, ask())
    first.close()
    assert await outcome(second, model, ask()) == "miss"


async def test_a_restart_loses_nothing(opened: Opener, model: Model) -> None:
    first = opened()
    await outcome(first, model, ask())
    first.close()
    assert await outcome(opened(), model, ask()) == "hit"


@pytest.mark.parametrize(
    ("text", "seconds", "then"),
    [
        ("What is the capital of France?", 500_000, "hit"),
        ("What is the capital of France?", 700_000, "miss"),
        ("What is the weather in Paris today?", 50, "hit"),
        ("What is the weather in Paris today?", 70, "miss"),
        ("What is the latest price of gold?", 70, "miss"),
    ],
)
async def test_a_fact_lives_long_and_today_does_not(
    cache: Cache, model: Model, clock: Clock, text: str, seconds: float, then: str
) -> None:
    await outcome(cache, model, ask(text))
    clock.at += seconds
    assert await outcome(cache, model, ask(text)) == then


@pytest.mark.parametrize("text", ["Pick a number", "What time is it?", "Roll a die", "Tell me another joke"])
async def test_what_asks_for_chance_is_asked_each_time(cache: Cache, model: Model, text: str) -> None:
    assert [await outcome(cache, model, ask(text)) for _ in range(2)] == ["bypass", "bypass"]
    assert model.calls == 2


async def test_variety_that_is_asked_for_is_given(opened: Opener, model: Model) -> None:
    cache = opened()
    assert await outcome(cache, model, ask(temperature=0.7)) == "bypass"
    assert await outcome(cache, model, ask(temperature=0)) == "miss"
    bold = opened(max_temperature=1.0)
    assert await outcome(bold, model, ask("bold", temperature=0.7)) == "miss"
    assert await outcome(bold, model, ask("bold", temperature=0.7)) == "hit"


async def test_no_store_neither_reads_nor_writes(cache: Cache, model: Model) -> None:
    assert await outcome(cache, model, ask(caching="no-store")) == "bypass"
    assert await outcome(cache, model, ask()) == "miss"
    assert await outcome(cache, model, ask(caching="off")) == "bypass"


async def test_no_cache_asks_anew_and_stores_what_comes(cache: Cache, model: Model) -> None:
    await outcome(cache, model, ask())
    model.answer = "Paris, still"
    assert await outcome(cache, model, ask(caching="no-cache")) == "miss"
    assert await said(await cache(ask(), model)) == "Paris, still"


async def test_max_age_refuses_what_is_older(cache: Cache, model: Model, clock: Clock) -> None:
    await outcome(cache, model, ask())
    clock.at += 100
    assert await outcome(cache, model, ask(caching="max-age=200")) == "hit"
    assert await outcome(cache, model, ask(caching="max-age=50")) == "miss"


async def test_a_client_may_say_how_long_its_answer_lives(cache: Cache, model: Model, clock: Clock) -> None:
    await outcome(cache, model, ask(caching="ttl=10"))
    clock.at += 11
    assert await outcome(cache, model, ask()) == "miss"


@pytest.mark.parametrize("text", ["What is the capital of France?", "Roll a die"])
async def test_only_if_cached_is_a_clear_error_where_nothing_is(
    cache: Cache, model: Model, text: str
) -> None:
    with pytest.raises(NotCached, match="only-if-cached") as caught:
        await cache(ask(text, caching="only-if-cached"), model)
    assert (caught.value.status, model.calls) == (504, 0)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_not_whole_is_not_stored(cache: Cache, finish: str, stream: bool) -> None:
    model = Model(finish=finish)
    assert [await outcome(cache, model, ask(stream=stream)) for _ in range(2)] == ["miss", "miss"]


async def test_a_cut_stream_is_not_stored(cache: Cache, model: Model) -> None:
    model.cut = Interrupted("it broke")
    with pytest.raises(Interrupted):
        await said(await cache(ask(stream=True), model))
    model.cut = None
    assert await outcome(cache, model, ask(stream=True)) == "miss"


async def test_a_stream_whose_client_left_is_not_stored_and_is_closed(cache: Cache, model: Model) -> None:
    reply = await cache(ask(stream=True), model)
    async for _ in reply:
        break
    reply.close()
    assert model.closed == 1
    assert await outcome(cache, model, ask(stream=True)) == "miss"


async def test_an_answer_that_is_too_long_is_not_stored(opened: Opener) -> None:
    cache, model = opened(max_entry_bytes=1024), Model("x" * 2_000)
    assert [await outcome(cache, model, ask()) for _ in range(2)] == ["miss", "miss"]


async def test_tool_calls_are_stored_whole(cache: Cache) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    model = Model("", tool_calls=[call], finish="tool_calls")
    await outcome(cache, model, ask())
    for stream in (False, True):
        reply = await cache(ask(stream=stream), model)
        events = [event async for chunk in reply for event in chunk.events]
        assert [each for event in events for each in event.tool_calls or ()] == [call]
        assert [event.finish for event in events if event.finish] == ["tool_calls"]
    assert model.calls == 1


async def test_answers_are_dropped_by_tag_and_by_model(cache: Cache, model: Model) -> None:
    await outcome(cache, model, ask("one", tags=("docs", "v1")))
    await outcome(cache, model, ask("two", tags=("v1",)))
    await outcome(cache, model, ask("three", model="other"))
    assert await cache.answers.drop(Which(tag="docs")) == 1
    assert [await outcome(cache, model, ask(text)) for text in ("one", "two")] == ["miss", "hit"]
    assert await cache.answers.drop(Which(model="other")) == 1
    assert await cache.answers.drop(Which(tenant="nobody")) == 0
    assert await cache.answers.drop(Which()) == 2


async def test_embeddings_are_stored_too(cache: Cache) -> None:
    from potluck.dialects.openai import OpenAI
    from potluck.types import Reply

    raw = b'{"data":[{"index":0,"embedding":[0.5,1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}'
    calls = []

    async def embeds(request: Request) -> Reply:
        calls.append(request)
        return Reply(None, whole=OpenAI().whole(raw, "embeddings")[0])

    replies: list[Any] = [await cache(ask(kind="embeddings"), embeds) for _ in range(2)]
    assert [reply.whole.raw for reply in replies] == [raw, raw]
    assert replies[1].whole.events[0].delta == {"data": [{"index": 0, "embedding": [0.5, 1]}]}
    assert len(calls) == 1
