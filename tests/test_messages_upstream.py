"""A provider that speaks Messages: its own clients are relayed to the byte, others translated, faults told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from potluck.sim.messages import KEY, SIGNATURE, MessagesHost, serve_messages
from potluck.types import Behaviour, Secret, Target
from tests.house import HELLO, House, house

TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": TOOL["input_schema"]}}
USE_TOOL: Any = [{"role": "user", "content": "use tool"}]


def target_of(host: MessagesHost) -> Target:
    return Target(
        "host/model",
        "host",
        "model-1",
        "model",
        f"{host.origin}/v1",
        key=Secret(KEY),
        auth="x-api-key",
        behaviour=Behaviour(dialect="anthropic", headers=(("anthropic-version", "2023-06-01"),)),
        inputs=frozenset({"text", "image"}),
        context=200_000,
        max_output=1000,
    )


@asynccontextmanager
async def home_with_host(tmp_path: Path, *others: str) -> AsyncIterator[tuple[House, MessagesHost]]:
    async with serve_messages() as host, house(tmp_path, list(others), extra=(target_of(host),)) as home:
        yield home, host


async def ask(home: House, **fields: Any) -> httpx2.Response:
    body = {"model": "host/model", "max_tokens": 40, "messages": HELLO, **fields}
    return await home.client.post("/v1/messages", json=body)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_speaks_the_format_gets_the_hosts_own_bytes(tmp_path: Path, stream: bool) -> None:
    async with home_with_host(tmp_path) as (home, host):
        answer = await ask(home, stream=stream, thinking={"type": "adaptive"})
    assert answer.status_code == 200
    if stream:  # pings before the first word are for nobody: nothing was sent yet
        ping = b'event: ping\ndata: {"type": "ping"}\n\n'
        assert answer.content.replace(ping, b"") == host.sent[0].replace(ping, b"")
        assert b"message_stop" in answer.content
    else:
        assert answer.content == host.sent[0]


async def test_what_the_client_sent_arrives_to_the_byte(tmp_path: Path) -> None:
    thought = b'{"type":"thinking", "thinking":"a","signature":"' + SIGNATURE.encode() + b'"}'
    use = b'{"type":"tool_use","id":"t1","name":"weather","input":{ "city" : "\\u041a" }}'
    turns = (
        b'[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]},'
        b'{"role":"assistant","content":[' + thought + b"," + use + b"]},"
        b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"Sun"}]}]'
    )
    raw = b'{"model":"host/model","max_tokens":5000,"messages":' + turns + b',"metadata":{"user_id":"u"}}'
    async with home_with_host(tmp_path) as (home, host):
        answer = await home.client.post("/v1/messages", content=raw)
    assert answer.status_code == 200, answer.text
    assert turns in host.bodies[0]
    sent = msgspec.json.decode(host.bodies[0])
    assert (sent["model"], sent["max_tokens"], sent["metadata"]) == ("model-1", 1000, {"user_id": "u"})


async def test_a_client_of_chat_completions_has_its_round_of_tools(tmp_path: Path) -> None:
    async with home_with_host(tmp_path) as (home, host):
        system = {"role": "system", "content": "Be brief."}
        asked = await home.chat("host/model", messages=[system, *USE_TOOL], tools=[FUNCTION], temperature=1.5)
        message = asked.json()["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Sun"}
        turns = [system, *USE_TOOL, message, result]
        answer = await home.chat("host/model", messages=turns, tools=[FUNCTION], parallel_tool_calls=False)
        sent = [msgspec.json.decode(body) for body in host.bodies]
    assert asked.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert msgspec.json.decode(message["tool_calls"][0]["function"]["arguments"]) == {"city": "pot"}
    assert answer.json()["choices"][0]["message"]["content"], answer.text
    assert answer.json()["usage"]["completion_tokens"] == 12
    assert (sent[0]["system"], sent[0]["temperature"]) == ("Be brief.", 1)
    assert sent[1]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


async def test_a_stream_for_a_client_of_chat_completions_has_its_calls_in_order(tmp_path: Path) -> None:
    async with home_with_host(tmp_path) as (home, _):
        data = await home.events("host/model", messages=USE_TOOL, tools=[FUNCTION])
    chunks = [msgspec.json.decode(each)["choices"][0] for each in data[:-1]]
    calls = [call for chunk in chunks for call in chunk["delta"].get("tool_calls", ())]
    assert data[-1] == "[DONE]"
    assert {call["index"] for call in calls} == {0}
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "pot"}'
    assert chunks[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("fault", ["cut", "error"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_stream_without_message_stop_is_cut(tmp_path: Path, fault: str, path: str) -> None:
    async with home_with_host(tmp_path) as (home, host):
        host.fault, host.after = fault, 16  # all but the last event or two
        body = {"model": "host/model", "max_tokens": 40, "messages": HELLO, "stream": True}
        answer = await home.client.post(path, json=body)
        attempts = home.attempts()
    assert b"message_stop" not in answer.content
    assert b"[DONE]" not in answer.content
    assert b"broke off" in answer.content
    assert attempts == ["host/model=interrupted"]


@pytest.mark.parametrize(
    ("status", "said", "outcome"),
    [
        (429, "This request would exceed your rate limit", "rate_limited"),
        (529, "Overloaded", "busy"),
        (400, "prompt is too long: 208310 tokens > 200000 maximum", "context"),
        (401, "invalid x-api-key", "denied"),
    ],
)
async def test_a_refusal_means_what_it_means(tmp_path: Path, status: int, said: str, outcome: str) -> None:
    async with home_with_host(tmp_path) as (home, host):
        host.refuse, host.message = status, said
        answer = await ask(home)
        attempts = home.attempts()
    assert attempts == [f"host/model={outcome}"]
    assert answer.json()["type"] == "error"
    if outcome == "context":
        assert answer.json()["error"]["message"].startswith("prompt is too long")


async def test_an_error_event_before_the_first_word_fails_over(tmp_path: Path) -> None:
    async with home_with_host(tmp_path, "groq") as (home, host):
        host.fault, host.after = "error", 1
        body = {"model": "auto", "max_tokens": 40, "messages": HELLO, "stream": True}
        for _ in range(20):  # whichever the router asks first, in the end both were asked
            answer = await home.client.post("/v1/messages", json=body)
            assert b"message_stop" in answer.content
            if host.bodies:
                break


async def test_usage_reaches_a_client_that_asked_for_it_in_a_stream_of_another_format(tmp_path: Path) -> None:
    async with home_with_host(tmp_path) as (home, _):
        data = await home.events("host/model", max_tokens=40, stream_options={"include_usage": True})
        without = await home.events("host/model", max_tokens=40)
    used = [msgspec.json.decode(each).get("usage") for each in data[:-1]]
    assert used[-1]["completion_tokens"] == 12
    assert not any("usage" in msgspec.json.decode(each) for each in without[:-1])


async def test_what_the_format_cannot_say_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    part = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}
    async with home_with_host(tmp_path) as (home, host):
        audio = await home.chat("host/model", messages=[{"role": "user", "content": [part]}])
        odd = await home.chat("host/model", messages=[*HELLO, {"role": "assistant", "tool_calls": [5]}])
        assert host.bodies == []
    assert (audio.status_code, odd.status_code) == (400, 400)
    assert "input_audio" in audio.json()["error"]["message"]


async def test_images_and_files_and_schemas_have_words_in_both_formats(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    async with home_with_host(tmp_path) as (home, host):
        answer = await home.chat(
            "host/model",
            messages=[{"role": "user", "content": parts}],
            response_format=form,
            stop="END",
            user="me",
        )
        sent = msgspec.json.decode(host.bodies[0])
    assert answer.status_code == 200, answer.text
    _, inline, linked = sent["messages"][0]["content"]
    assert inline["source"] == {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    assert linked["source"] == {"type": "url", "url": "https://pictures.example/1.png"}
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert (sent["stop_sequences"], sent["metadata"], sent["max_tokens"]) == (
        ["END"],
        {"user_id": "me"},
        1000,
    )
