"""How answers, streams and errors look to a client of the Messages format."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.errors import ClientLimited, Invalid, Unauthorized
from potluck.surfaces.anthropic_names import short_name
from potluck.surfaces.surface import About
from potluck.types import Attempt, Chunk, Event, Request, Usage
from tests.surfaces.test_anthropic import SURFACE, WEATHER, parse


def about(request: Request | None = None) -> About:
    return About("7", "auto", 0.0, request or parse())


def events_of(raw: bytes) -> list[dict[str, Any]]:
    """The data of each event; its name must say the same."""
    found = []
    for event in raw.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        found.append(msgspec.json.decode(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def streamed(*events: Event, request: Request | None = None) -> list[dict[str, Any]]:
    writer = SURFACE.writer(about(request))
    return events_of(b"".join(writer.take(Chunk.of(event)) for event in events) + writer.ending())


def content_of(events: list[dict[str, Any]]) -> list[Any]:
    """The blocks as a client gathers them; raises when two are open at once."""
    blocks: list[Any] = []
    open_now = -1
    for event in events:
        if event["type"] == "content_block_start":
            assert open_now == -1
            assert event["index"] == len(blocks)
            open_now = event["index"]
            blocks.append({**event["content_block"], "json": ""})
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_now
            delta = event["delta"]
            key = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "json"}
            if delta["type"] == "signature_delta":
                blocks[-1]["signature"] = delta["signature"]
            else:
                name = key[delta["type"]]
                blocks[-1][name] += delta["partial_json" if name == "json" else name]
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_now
            open_now = -1
    assert open_now == -1
    return blocks


def call(index: int | None, id: str = "", name: str = "", arguments: str = "", **more: Any) -> Event:
    delta: dict[str, Any] = {"function": {"arguments": arguments}, **more}
    if index is not None:
        delta["index"] = index
    if id:
        delta |= {"id": id, "type": "function"}
        delta["function"]["name"] = name
    return Event(tool_calls=[delta])


def test_a_signature_of_a_tool_call_comes_back_with_the_call() -> None:
    extra = {"google": {"thought_signature": "Zm9v+/=="}}
    blocks = content_of(
        streamed(call(0, "c1", "weather", "{}", extra_content=extra), Event(finish="tool_calls"))
    )
    request = parse(
        messages=[
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": blocks[0]["id"], "name": "w", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": blocks[0]["id"], "content": "x"}],
            },
        ]
    )
    assistant, tool = request.decoded("messages")
    assert assistant["tool_calls"][0]["extra_content"] == extra
    assert (assistant["tool_calls"][0]["id"], tool["tool_call_id"]) == ("c1", "c1")


def test_a_long_name_of_a_tool_is_short_on_the_way_and_itself_for_the_client() -> None:
    name = "mcp__" + "x" * 90
    request = parse(tools=[{**WEATHER, "name": name}])
    short = request.decoded("tools")[0]["function"]["name"]
    assert (len(short), short) == (64, short_name(name))
    assert content_of(streamed(call(0, "a", short, "{}"), request=request))[0]["name"] == name


def test_a_stream_has_its_frame_and_ends_with_what_it_used() -> None:
    events = streamed(Event(reasoning="hm"), Event(text="Hel"), Event(text="lo"), Event(finish="length"),
                      Event(usage=Usage(12, 3, 2)))  # fmt: skip
    assert [event["type"] for event in events][:3] == ["message_start", "ping", "content_block_start"]
    assert [event["type"] for event in events][-3:] == ["content_block_stop", "message_delta", "message_stop"]
    thinking, text = content_of(events)
    assert (thinking["thinking"], text["text"]) == ("hm", "Hello")
    assert events[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert events[-2]["usage"]["input_tokens"] == 10
    assert events[-2]["usage"]["cache_read_input_tokens"] == 2
    assert events[-2]["usage"]["output_tokens"] == 3


def test_where_no_provider_counted_the_usage_is_estimated_and_says_so() -> None:
    usage = streamed(Event(text="Hello there"), Event(finish="stop"))[-2]["usage"]
    assert usage["estimated"] is True
    assert usage["output_tokens"] > 0


def test_parallel_calls_are_blocks_one_after_the_other() -> None:
    events = streamed(
        Event(text="Let me look."),
        call(0, "a", "weather"),
        call(0, arguments='{"city":'),
        call(0, arguments='"Kyiv"}'),
        call(1, "b", "weather", '{"city":"Oslo"}'),
        Event(finish="stop"),
    )
    text, first, second = content_of(events)
    assert (text["text"], first["id"], second["id"]) == ("Let me look.", "a", "b")
    assert (first["json"], second["json"]) == ('{"city":"Kyiv"}', '{"city":"Oslo"}')
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize("index", [0, None])
def test_calls_without_an_index_or_all_with_the_same_are_told_apart_by_id(index: int | None) -> None:
    blocks = content_of(streamed(call(index, "a", "f", "{}"), call(index, "b", "g", '{"x":1}')))
    assert [(block["id"], block["name"], block["json"]) for block in blocks] == [
        ("a", "f", "{}"),
        ("b", "g", '{"x":1}'),
    ]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=20), st.booleans())
def test_calls_in_any_order_of_their_parts_come_out_whole(order: list[int], text: bool) -> None:
    inputs = ['{"n":0,"s":"zero"}', '{"n":1,"s":"one"}', '{"n":2,"s":"two"}']
    at = dict.fromkeys(range(3), 0)
    events: list[Event] = []
    for index in (*order, 0, 1, 2):
        size = 3 if len(events) < len(order) else 100
        part, at[index] = inputs[index][at[index] : at[index] + size], at[index] + size
        events.append(call(index, str(index), f"f{index}", part))
        if text:
            events.append(Event(text="x"))
    blocks = content_of(streamed(*events, Event(finish="tool_calls")))
    assert {block["id"]: block["json"] for block in blocks if block["type"] == "tool_use"} == {
        str(index): inputs[index] for index in range(3)
    }
    assert "".join(b["text"] for b in blocks if b["type"] == "text") == (
        "x" * len(order) + "xxx" if text else ""
    )


def test_a_cut_stream_is_never_passed_off_as_whole() -> None:
    writer = SURFACE.writer(about())
    raw = writer.take(Chunk.of(Event(text="Hel"))) + writer.broke(ClientLimited("no more", retry_after=1))
    events = events_of(raw)
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == "rate_limit_error"
    assert not {"message_stop", "message_delta"} & {event["type"] for event in events}


def test_a_whole_answer_has_its_blocks_and_usage() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
             {"id": "b", "type": "function", "function": {"name": "g", "arguments": "oops"}}]  # fmt: skip
    request = parse()
    request.trace.attempts.append(Attempt("x", usage=Usage(5, 6, estimated=True)))
    event = Event(
        reasoning="hm", text="Hi", tool_calls=calls, finish="tool_calls", delta={"thinking_signature": "s"}
    )
    answer = msgspec.json.decode(SURFACE.whole([event], about(request)))
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"arguments": "oops"}},
    ]
    assert (answer["stop_reason"], answer["usage"]["output_tokens"], answer["usage"]["estimated"]) == (
        "tool_use",
        6,
        True,
    )


def test_errors_have_the_types_of_the_format_and_our_code() -> None:
    error = msgspec.json.decode(SURFACE.error(Unauthorized("Send a client key, please.")))
    assert error == {
        "type": "error",
        "error": {
            "type": "authentication_error",
            "message": "Send a client key, please.",
            "code": "invalid_api_key",
        },
    }
    long = Invalid("The prompt is longer than every window.")
    long.code = "context_length_exceeded"
    assert msgspec.json.decode(SURFACE.error(long))["error"]["message"].startswith("prompt is too long")
