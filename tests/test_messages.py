"""The Messages format through the whole house: real sockets, pretend providers of another format behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from potluck import sim
from potluck.sim.wire import Exchange, Incoming, listen
from potluck.types import Target
from tests.house import HELLO, House, house

WEATHER = {
    "name": "weather",
    "description": "The weather of a city. " * 200,
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "cache_control": {"type": "ephemeral"},
}
USE_TOOL: Any = [{"role": "user", "content": [{"type": "text", "text": "use tool"}]}]
FREE = {"groq": sim.Options(unlimited=True)}


async def ask(home: House, **fields: Any) -> httpx2.Response:
    body = {"model": "auto", "max_tokens": 40, "messages": HELLO, **fields}
    headers = {"anthropic-version": "2023-06-01", "x-api-key": "none"}
    return await home.client.post("/v1/messages?beta=true", json=body, headers=headers)


def events_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    return [msgspec.json.decode(line[6:]) for line in lines]


async def test_a_message_is_answered_in_its_own_shape(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        answer = await ask(home, system=[{"type": "text", "text": f"Rule {n}."} for n in range(8)])
        sent = home.world.provider("groq").bodies[-1]
    assert answer.status_code == 200
    message = answer.json()
    assert message["type"] == "message"
    assert message["content"][0]["text"]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["output_tokens"] == 20
    assert sent["messages"][0] == {"role": "system", "content": "\n".join(f"Rule {n}." for n in range(8))}
    assert answer.headers["x-potluck-target"].startswith("groq/")


@pytest.mark.parametrize("indexed", [True, False])
async def test_a_round_of_tools_streams_and_comes_back(tmp_path: Path, indexed: bool) -> None:
    async with house(tmp_path, {"groq": sim.Options(unlimited=True, tool_index=indexed)}) as home:
        events = events_of(await ask(home, messages=USE_TOOL, tools=[WEATHER], stream=True))
        start = next(event for event in events if event["type"] == "content_block_start")
        parts = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        given = msgspec.json.decode("".join(part["partial_json"] for part in parts))
        use = {**start["content_block"], "input": given}
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": "Sun"}
        turns = [*USE_TOOL, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        answer = await ask(home, messages=turns, tools=[WEATHER])
        sent = home.world.provider("groq").bodies[-1]["messages"]
    assert (use["name"], given) == ("weather", {"city": "pot"})
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-1] == {"type": "message_stop"}
    assert answer.json()["content"][0]["type"] == "text"
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == use["id"]


@pytest.mark.parametrize("provider", ["groq", "openrouter", "mistral"])
async def test_a_stream_reports_the_usage_that_the_provider_counted(tmp_path: Path, provider: str) -> None:
    async with house(tmp_path, {provider: sim.Options(unlimited=True, reasoning=3)}) as home:
        events = events_of(await ask(home, stream=True))
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert blocks == ["thinking", "text"]
    assert events[-2]["usage"]["output_tokens"] == 23
    assert "estimated" not in events[-2]["usage"]


@pytest.mark.parametrize("kind", ["cut", "reset", "clean_cut", "bad_json", "stream_error"])
async def test_a_cut_stream_is_never_passed_off_as_whole(tmp_path: Path, kind: str) -> None:
    async with house(tmp_path, FREE) as home:
        home.world.fault("groq", kind, after=5, times=-1)
        events = events_of(await ask(home, stream=True))
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == "api_error"
    assert not {"message_stop", "message_delta"} & {event["type"] for event in events}


async def test_errors_have_the_clients_shape_and_a_true_retry_after(tmp_path: Path) -> None:
    async with house(tmp_path, {"groq": sim.Options(limits={"requests/minute": 0})}) as home:
        home.world.fault("groq", "rate_limited", times=-1)
        limited = await ask(home)
        unknown = await ask(home, model="no-such-model")
        invalid = await ask(home, max_tokens="many")
        native = await ask(home, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert limited.status_code in (429, 503)
    assert limited.json()["error"]["type"] == (
        "rate_limit_error" if limited.status_code == 429 else "overloaded_error"
    )
    assert int(limited.headers["retry-after"]) > 0
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    assert (invalid.status_code, invalid.json()["error"]["type"]) == (400, "invalid_request_error")
    assert native.status_code in (400, 404, 501)
    assert "own format" in native.json()["error"]["message"]


async def test_tokens_are_counted_without_asking_anybody(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        path = "/v1/messages/count_tokens?beta=true"
        short = await home.client.post(path, json={"model": "auto", "messages": HELLO})
        long = await home.client.post(path, json={"model": "auto", "messages": HELLO, "tools": [WEATHER]})
        bad = await home.client.post(path, content=b"{")
        wrong = await home.client.get(path)
        assert home.received("groq") == 0
    assert 0 < short.json()["input_tokens"] < 50
    assert long.json()["input_tokens"] > 1000
    assert long.headers["x-potluck-usage"] == "estimated"
    assert (bad.status_code, bad.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "error")


async def test_models_are_listed_in_the_shape_of_who_asks(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        headers = {"anthropic-version": "2023-06-01"}
        listed = (await home.client.get("/v1/models?limit=1000", headers=headers)).json()
        one = (await home.client.get(f"/v1/models/{listed['first_id']}", headers=headers)).json()
        usual = (await home.client.get("/v1/models")).json()
    assert listed["has_more"] is False
    assert one == listed["data"][0]
    assert one["type"] == "model"
    assert [model["id"] for model in listed["data"]] == [model["id"] for model in usual["data"]]


async def test_head_and_options_do_no_harm(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        head = await home.client.head("/v1/messages")
        options = await home.client.options("/v1/messages")
        after = await ask(home)
    assert (head.status_code, head.content, options.status_code) == (405, b"", 204)
    assert after.status_code == 200


async def test_an_unserved_hold_is_given_back_when_the_client_leaves(tmp_path: Path) -> None:
    async with house(tmp_path, {"groq": sim.Options(unlimited=True, interval=0.05, tokens=200)}) as home:
        body = {"model": "auto", "max_tokens": 300, "messages": HELLO, "stream": True}
        async with home.client.stream("POST", "/v1/messages", json=body) as answer:
            first = await anext(answer.aiter_bytes())
        assert b"message_start" in first
        async with asyncio.timeout(5):
            while home.gateway.meters.open:
                await asyncio.sleep(0)


async def test_an_answer_whose_tokens_nobody_counted_says_so_in_a_header(tmp_path: Path) -> None:
    """`FREE` counts always, so here is a host that never does."""
    body = b'{"choices":[{"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}]}'

    def answer(incoming: Incoming, exchange: Exchange) -> None:
        exchange.send(200, body)

    server, connections = await listen(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = Target("silent/m", "silent", "m", "m", f"http://127.0.0.1:{port}")
    async with house(tmp_path, [], extra=(silent,)) as home:
        message = await ask(home, model="silent/m")
    server.close()
    for connection in list(connections):
        connection.transport.abort()
    await server.wait_closed()
    assert message.headers["x-potluck-usage"] == "estimated"
    assert message.json()["usage"]["estimated"] is True
    assert message.json()["usage"]["output_tokens"] > 0
