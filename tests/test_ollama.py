"""Ollama's format through the whole house: real sockets, pretend providers of another format behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from potluck import sim
from tests.house import HELLO, House, house

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
USE_TOOL: Any = [{"role": "user", "content": "use tool"}]
FREE = {"groq": sim.Options(unlimited=True)}


async def ask(home: House, **fields: Any) -> httpx2.Response:
    return await home.client.post("/api/chat", json={"model": "auto", "messages": HELLO, **fields})


def lines(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in answer.text.splitlines()]


async def test_a_chat_streams_lines_by_default_and_ends_with_what_was_measured(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        answer = await ask(home)
        whole = (await ask(home, stream=False)).json()
    found = lines(answer)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "".join(line["message"]["content"] for line in found) == whole["message"]["content"]
    last = found[-1]
    assert [line["done"] for line in found].count(True) == 1
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", 20)
    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert 0 < parts <= last["total_duration"] + 3
    assert whole["done"] is True
    assert 0 < whole["eval_duration"] <= whole["total_duration"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_round_of_tools_comes_back_without_ids(tmp_path: Path, stream: bool) -> None:
    async with house(tmp_path, FREE) as home:
        found = lines(await ask(home, messages=USE_TOOL, tools=[WEATHER], stream=stream))
        call = next(c for line in found for c in line["message"].get("tool_calls", ()))
        made = {"function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}}
        result = {"role": "tool", "content": "Sun", "tool_name": "weather"}
        turns = [*USE_TOOL, {"role": "assistant", "content": "", "tool_calls": [made]}, result]
        answer = await ask(home, messages=turns, tools=[WEATHER], stream=False)
        sent = home.world.provider("groq").bodies[-1]["messages"]
    assert isinstance(made["function"]["arguments"], dict)
    assert answer.json()["message"]["content"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]


async def test_a_prompt_is_answered_and_an_empty_one_asks_nobody(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        streamed = lines(await home.client.post("/api/generate", json={"model": "auto", "prompt": "hi"}))
        before = home.received("groq")
        loaded = await home.client.post("/api/generate", json={"model": "auto", "keep_alive": -1})
        after = home.received("groq")
    assert "".join(line["response"] for line in streamed)
    assert streamed[-1]["done"] is True
    assert (loaded.status_code, loaded.json()["done_reason"], after - before) == (200, "load", 0)


@pytest.mark.parametrize("kind", ["cut", "reset", "clean_cut", "bad_json", "stream_error"])
async def test_a_cut_stream_is_never_passed_off_as_whole(tmp_path: Path, kind: str) -> None:
    async with house(tmp_path, FREE) as home:
        home.world.fault("groq", kind, after=5, times=-1)
        found = lines(await ask(home))
    assert found[-1].keys() == {"error"}
    assert not [line for line in found if line.get("done")]


async def test_errors_are_one_sentence_in_the_clients_shape(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        answers = [
            await ask(home, model="no-such-model"),
            await ask(home, options={"temperature": "hot"}),
            await home.client.post("/api/generate", content=b"{"),
            await home.client.post("/api/show", json={"model": "no-such-model"}),
            await home.client.get("/api/nothing"),
            await home.client.get("/api/chat"),
        ]
    assert [answer.status_code for answer in answers] == [404, 400, 400, 404, 404, 405]
    for answer in answers:
        assert answer.json().keys() == {"error"}
        assert len(answer.json()["error"]) > 20


async def test_vectors_come_from_both_endpoints(tmp_path: Path) -> None:
    async with house(tmp_path, {"cohere": sim.Options(unlimited=True)}) as home:
        many = await home.client.post("/api/embed", json={"model": "auto", "input": ["a", "b"]})
        one = await home.client.post("/api/embeddings", json={"model": "auto", "prompt": "a"})
    assert len(many.json()["embeddings"]) == 2
    assert many.json()["prompt_eval_count"] > 0
    assert one.json()["embedding"] == many.json()["embeddings"][0]


async def test_models_are_listed_and_shown(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        listed = (await home.client.get("/api/tags")).json()["models"]
        usual = (await home.client.get("/v1/models")).json()["data"]
        told = (await home.client.post("/api/show", json={"model": "auto:latest"})).json()
        version = (await home.client.get("/api/version")).json()
        running = (await home.client.get("/api/ps")).json()
        alive = await home.client.get("/")
        peeked = await home.client.head("/")
    assert [model["name"] for model in listed] == [model["id"] for model in usual]
    assert len({model["digest"] for model in listed}) == len(listed)
    assert {"completion", "tools"} <= set(told["capabilities"])
    assert told["model_info"]["potluck.context_length"] > 0
    assert version["version"].count(".") == 2
    assert running == {"models": []}
    assert "Ollama is running" in alive.text
    assert peeked.status_code == 200
