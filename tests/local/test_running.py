"""The real model over real sockets: it chats, streams, embeds, keeps to a schema, and asks for its key."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from openai import APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from potluck.local.child import KEY
from potluck.local.supervisor import LocalModel

pytestmark = pytest.mark.asyncio(loop_scope="module")
_FRANCE: ChatCompletionUserMessageParam = {"role": "user", "content": "What is the capital of France?"}


def client(local: LocalModel, url: str = "", key: str = "") -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=url or local.base_url, api_key=key or local.key.reveal(), max_retries=0, timeout=60
    )


async def test_it_answers_a_question_and_counts_its_tokens(running: LocalModel) -> None:
    async with client(running) as openai:
        reply = await openai.chat.completions.create(
            model="smollm2-135m",
            messages=[_FRANCE],
            max_tokens=40,
            temperature=0,
        )
    assert reply.choices[0].message.content
    assert reply.usage
    assert reply.usage.prompt_tokens > 5
    assert 0 < reply.usage.completion_tokens <= 40


async def test_it_streams_token_by_token_and_ends_with_the_usage(running: LocalModel) -> None:
    async with client(running) as openai:
        stream = await openai.chat.completions.create(
            model="smollm2-135m",
            messages=[_FRANCE],
            max_tokens=20,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([piece for piece in texts if piece]) > 3
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens > 3


async def test_it_keeps_to_a_json_schema(running: LocalModel) -> None:
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "maximum": 99}},
        "required": ["age"],
        "additionalProperties": False,
    }
    async with client(running) as openai:
        reply = await openai.chat.completions.create(
            model="smollm2-135m",
            messages=[{"role": "user", "content": "A person"}],
            max_tokens=60,
            response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
        )
    answer = json.loads(reply.choices[0].message.content or "")
    assert list(answer) == ["age"]
    assert isinstance(answer["age"], int)


async def test_embeddings_have_unit_length_and_similar_sentences_are_closer(running: LocalModel) -> None:
    sentences = ["A cat sits on the mat.", "A kitten is on the rug.", "Interest rates rose sharply."]
    async with client(running, running.embeddings_url) as openai:
        reply = await openai.embeddings.create(model="smollm2-135m", input=sentences, encoding_format="float")
    cat, kitten, rates = (row.embedding for row in reply.data)
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-4) for vector in (cat, kitten, rates))
    assert _dot(cat, kitten) > _dot(cat, rates) + 0.05


async def test_an_input_too_long_for_an_embedding_is_refused_as_the_catalog_says(running: LocalModel) -> None:
    async with client(running, running.embeddings_url) as openai:
        with pytest.raises(APIStatusError, match="too large to process") as refusal:
            await openai.embeddings.create(model="smollm2-135m", input="word " * 600)
    means = {(blame.status, blame.pattern): blame.means for blame in running.targets()[1].behaviour.blames}
    assert means[refusal.value.status_code, "too large to process"] == "context"


async def test_a_prompt_too_long_for_the_context_is_refused(running: LocalModel) -> None:
    async with client(running) as openai:
        with pytest.raises(APIStatusError, match="exceeds the available context") as refusal:
            await openai.chat.completions.create(
                model="smollm2-135m", messages=[{"role": "user", "content": "word " * 4200}]
            )
    assert refusal.value.status_code == 400


async def test_nobody_gets_in_without_the_key(running: LocalModel) -> None:
    for url in (running.base_url, running.embeddings_url):
        async with client(running, url, key="guess") as openai:
            with pytest.raises(APIStatusError) as refusal:
                await openai.embeddings.create(model="smollm2-135m", input="x")
            assert refusal.value.status_code == 401


async def test_the_child_sees_no_provider_key_and_shows_none_of_ours(running: LocalModel) -> None:
    place = Path(f"/proc/{running.pid}")
    names = {row.partition(b"=")[0].decode() for row in (place / "environ").read_bytes().split(b"\0")}
    assert KEY in names
    assert not any(name.endswith(("_API_KEY", "_TOKEN")) for name in names)
    assert running.key.reveal().encode() not in (place / "cmdline").read_bytes()
    assert os.getpgid(running.pid or 0) != os.getpgid(0), "Ctrl-C in the terminal must not reach it"


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
