"""The cache in a whole gateway: over real sockets, with pretend providers behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from potluck.config import Profile
from potluck.local.embedding import missing
from potluck.techniques import Cache
from tests.house import error_of, house

ASK = [{"role": "user", "content": "What is the capital of France?"}]


async def test_a_second_request_spends_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        first = await here.chat(messages=ASK)
        second = await here.chat(messages=ASK)
        assert first.headers["x-potluck-cache"] == "miss"
        assert second.headers["x-potluck-cache"] == "hit"
        assert second.headers["x-potluck-age"] == "0"
        assert second.json()["choices"] == first.json()["choices"]
        assert second.json()["usage"] == first.json()["usage"]
        assert here.accepted("groq") == 1


async def test_a_stream_is_given_again_as_a_stream_with_its_usage(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        fields: dict[str, Any] = {"messages": ASK, "stream_options": {"include_usage": True}}
        first = await here.events(**fields)
        second = await here.events(**fields)
        assert here.accepted("groq") == 1
        assert first[-1] == second[-1] == "[DONE]"
        assert '"usage":{' in second[-2]
        whole = await here.chat(messages=ASK)
        assert whole.headers["x-potluck-cache"] == "hit"
        assert whole.json()["usage"]["completion_tokens"] > 0


async def test_a_hit_is_recorded_as_what_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        for _ in range(2):
            await here.chat(messages=ASK)
        here.gateway.recorder.flush()
        latest, before = here.gateway.views.requests()[:2]
        assert (latest["outcome"], len(latest["attempts"]), before["outcome"]) == ("stored", 0, "ok")


async def test_only_if_cached_is_a_504_that_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        answer = await here.chat(messages=ASK, headers={"X-Potluck-Cache": "only-if-cached"})
        assert answer.status_code == 504
        assert error_of(answer)["code"] == "not_cached"
        assert here.received("groq") == 0


async def test_each_profile_has_its_own_rules(tmp_path: Path) -> None:
    profiles = {
        "plain": Profile(),
        "brief": Profile(stages=("cache",), cache=Cache(max_temperature=1.0)),
    }
    async with house(tmp_path, ["groq"], profiles=profiles) as here:
        told = []
        for model in ("plain", "brief", "brief"):
            answer = await here.chat(model, messages=ASK, temperature=0.5)
            told.append(answer.headers.get("x-potluck-cache"))
        assert told == [None, "miss", "hit"]


async def test_many_at_once_are_one_request(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        answers = await asyncio.gather(*(here.chat(messages=ASK) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {200}
        assert here.accepted("groq") == 1


@pytest.mark.skipif(bool(missing()), reason="the extra `semantic` is not installed")
async def test_with_the_real_model_a_paraphrase_is_compared_and_a_near_miss_is_not_given(
    tmp_path: Path,
) -> None:
    rules = Cache(semantic=True, check_share=0.0, error_rate=0.5)
    async with house(tmp_path, ["groq"], stages=("cache",), cache=rules) as here:

        async def asked(text: str) -> str:
            answer = await here.chat(messages=[{"role": "user", "content": text}])
            cache = here.gateway.stages.made["cache"]
            await cache.meaning.idle()  # type: ignore[attr-defined]
            cache.answers.flush()  # type: ignore[attr-defined]
            cache.meaning._looked = float("-inf")  # type: ignore[attr-defined]
            return answer.headers["x-potluck-cache"]

        assert await asked("How far is 10 miles in km?") == "miss"
        assert await asked("how far is 10 miles in km") == "semantic"
        assert await asked("How far is 10 km in miles?") == "miss"


@pytest.mark.skipif(bool(missing()), reason="the extra `semantic` is not installed")
async def test_two_workers_over_one_home_have_an_index_each(tmp_path: Path) -> None:
    rules = Cache(semantic=True)
    async with house(tmp_path, ["groq"], stages=("cache",), cache=rules) as one:
        async with house(tmp_path, ["groq"], stages=("cache",), cache=rules) as other:
            assert (await one.chat(messages=ASK)).headers["x-potluck-cache"] == "miss"
            one.gateway.stages.made["cache"].answers.flush()  # type: ignore[attr-defined]
            assert (await other.chat(messages=ASK)).headers["x-potluck-cache"] == "hit"
        assert sorted(path.name for path in (tmp_path / "cache-vectors").iterdir()) == ["0.lock", "1.lock"]
