"""The openai package for Python against the whole house, with the real local model behind."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.house import HELLO, House


def client(home: House) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{home.url}/v1", api_key="none", max_retries=0)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_openai_package_gets_an_answer_from_the_model_on_this_machine(home: House) -> None:
    async with client(home) as one:
        answer = await one.chat.completions.create(model="auto:private", messages=HELLO, max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.completion_tokens > 0
    assert home.received("groq") == 0


async def test_it_streams(home: House) -> None:
    async with client(home) as one:
        stream = await one.chat.completions.create(
            model="auto:private", messages=HELLO, max_tokens=12, stream=True
        )
        assert isinstance(stream, openai.AsyncStream)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert len(words) > 3
    assert "".join(words)


async def test_it_gets_embeddings_in_which_alike_is_near(home: House) -> None:
    texts = ["A cat sits on the mat.", "A kitten is on the rug.", "Interest rates rose in March."]
    async with client(home) as one:
        answer = await one.embeddings.create(model="auto", input=texts)
    cat, kitten, rates = (item.embedding for item in answer.data)
    assert sum(a * b for a, b in zip(cat, kitten, strict=True)) > sum(
        a * b for a, b in zip(cat, rates, strict=True)
    )


async def test_when_the_free_tiers_fail_the_local_model_answers(home: House) -> None:
    home.world.fault("groq", "http", status=500, times=-1)
    async with client(home) as one:
        answer = await one.chat.completions.with_raw_response.create(
            model="auto", messages=HELLO, max_tokens=8
        )
    assert answer.headers["x-potluck-target"].startswith("local/")
    assert "groq" in answer.headers["x-potluck-tried"]


async def test_a_wrong_model_is_an_error_the_package_understands(home: House) -> None:
    async with client(home) as one:
        with pytest.raises(openai.NotFoundError, match="model"):
            await one.chat.completions.create(model="no-such-model", messages=HELLO)


async def test_the_package_reads_our_retry_after(home: House) -> None:
    home.world.fault("groq", "rate_limited", times=-1)
    async with client(home) as one:
        asked = (one.chat.completions.create(model="gpt-oss-120b", messages=HELLO) for _ in range(2))
        refused = await asyncio.gather(*asked, return_exceptions=True)
    for error in refused:
        assert isinstance(error, openai.RateLimitError)
        assert int(error.response.headers["retry-after"]) > 0
