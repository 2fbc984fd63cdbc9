"""A stream of Messages events read in any pieces; bytes that are none; signatures through tool rounds."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.dialects.anthropic import Anthropic
from potluck.dialects.anthropic_events import EventReader
from potluck.errors import Busy, Malformed, NotUnderstood, RateLimited, TargetFailed
from potluck.sim import messages
from potluck.types import Event, Request, Target, Usage

ASKED = {
    "model": "m",
    "max_tokens": 90,
    "thinking": {},
    "messages": [{"role": "user", "content": "use tool"}],
}
TOOLS = [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}]
SPOKEN = messages.events(messages.answer(ASKED))
CALLED = messages.events(messages.answer({**ASKED, "tools": TOOLS}))
TARGET = Target("h/m", "h", "m", "m", "https://x.example")


def read(data: bytes, cuts: list[int], *, relayed: bool) -> tuple[list[Event], EventReader, bytes]:
    reader, raw, events = EventReader(relayed=relayed), b"", list[Event]()
    edges = [0, *sorted(cuts), len(data)]
    chunks = [reader.feed(data[a:b]) for a, b in itertools.pairwise(edges) if b > a]
    for chunk in [*chunks, reader.end()]:
        if chunk is not None:
            raw += chunk.raw
            events += chunk.events
    return events, reader, raw


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 3000), max_size=6), st.sampled_from([SPOKEN, CALLED]), st.booleans())
def test_a_stream_says_the_same_in_whatever_pieces_it_comes(
    cuts: list[int], frames: list[bytes], relayed: bool
) -> None:
    data = b"".join(frames)
    events, reader, raw = read(data, [min(cut, len(data)) for cut in cuts], relayed=relayed)
    whole = messages.answer(ASKED if frames is SPOKEN else {**ASKED, "tools": TOOLS})
    assert "".join(event.text for event in events) == whole["content"][-1].get("text", "")
    assert "".join(event.reasoning for event in events) == "Let me see."
    signed = [event.delta["thinking_signature"] for event in events if event.delta]
    assert signed == [messages.SIGNATURE]
    calls = [call for event in events for call in event.tool_calls or ()]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert arguments == ("" if frames is SPOKEN else '{"a": "pot"}')
    assert {call["index"] for call in calls} <= {0}
    used = whole["usage"]["input_tokens"]
    assert reader.usage == events[-1].usage == Usage(used + 7, 12, 4)
    assert reader.finished
    if relayed:
        assert raw.replace(SPOKEN[2], b"") == data.replace(SPOKEN[2], b"")


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, len(SPOKEN) - 1))
def test_without_message_stop_it_is_cut(kept: int) -> None:
    with pytest.raises(TargetFailed):
        read(b"".join(SPOKEN[:kept]), [], relayed=True)


VALUES = (
    st.none() | st.integers() | st.text(max_size=3) | st.just({"type": "text_delta"}) | st.lists(st.none())
)
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "error",
    "x",
]


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(KINDS)},
            optional=dict.fromkeys(("index", "delta", "content_block", "message", "usage", "error"), VALUES),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_any_events_are_read_or_the_providers_fault(given: list[dict[str, Any]], relayed: bool) -> None:
    data = b"".join(messages.frame(event) for event in given)
    with contextlib.suppress(TargetFailed):
        read(data, [], relayed=relayed)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=120))
def test_any_bytes_are_an_answer_or_the_providers_fault(raw: bytes) -> None:
    with contextlib.suppress(TargetFailed):
        Anthropic().whole(raw, "chat")
    with contextlib.suppress(TargetFailed):
        read(b"data: " + raw + b"\n\n", [], relayed=False)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [("overloaded_error", Busy), ("rate_limit_error", RateLimited), ("api_error", TargetFailed)],
)
def test_an_error_in_the_stream_means_what_it_would_have_meant_before_it(
    kind: str, failure: type[TargetFailed]
) -> None:
    with pytest.raises(failure, match="inside its stream"):
        read(messages.frame({"type": "error", "error": {"type": kind, "message": "no"}}), [], relayed=True)


def test_an_error_object_in_a_200_is_no_answer() -> None:
    with pytest.raises(TargetFailed, match="nope"):
        Anthropic().whole(b'{"type":"error","error":{"type":"api_error","message":"nope"}}', "chat")
    with pytest.raises(Malformed):
        Anthropic().whole(b"<html>", "chat")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["content", "tool_calls", "tool_call_id", "reasoning_content"]
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional=dict.fromkeys(NAMES, JSON),
)
OTHERS = ["tools", "tool_choice", "stop", "response_format", "temperature", "max_tokens"]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(MESSAGE, max_size=3), st.dictionaries(st.sampled_from(OTHERS), JSON, max_size=2))
def test_any_request_is_encoded_or_not_understood(turns: list[Any], more: dict[str, Any]) -> None:
    body = {
        name: msgspec.Raw(msgspec.json.encode(value)) for name, value in {"messages": turns, **more}.items()
    }
    with contextlib.suppress(NotUnderstood):
        assert msgspec.json.decode(Anthropic().encode(Request("m", body), TARGET))["model"] == "m"


def test_thinking_goes_back_with_the_signature_that_came_with_it() -> None:
    raw = msgspec.json.encode(messages.answer(ASKED))
    (event,) = Anthropic().whole(raw, "chat")[0].events
    assert event.delta is not None
    turn = {"role": "assistant", "content": "x", "reasoning_content": event.reasoning, **event.delta}
    request = Request("m", {"messages": msgspec.Raw(msgspec.json.encode([turn]))})
    sent = msgspec.json.decode(Anthropic().encode(request, TARGET))
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": messages.SIGNATURE}
    assert sent["messages"][0]["content"][0] == thought
