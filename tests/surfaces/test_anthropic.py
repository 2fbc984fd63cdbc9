"""What a client of the Messages format may send, and how replies and errors look to it."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.errors import Invalid
from potluck.surfaces.anthropic import Messages
from potluck.surfaces.anthropic_names import join_id, split_id
from potluck.surfaces.surface import Asked
from potluck.types import Request, Trace

SURFACE = Messages()
HELLO = [{"role": "user", "content": "hi"}]
WEATHER = {"name": "weather", "description": "of a city", "input_schema": {"type": "object"}}


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "auto", "max_tokens": 50, "messages": HELLO, **fields})


def parse(**fields: Any) -> Request:
    return SURFACE.parse(Asked(body(**fields)), Trace())


def test_the_words_of_the_format_become_those_of_chat_completions() -> None:
    request = parse(
        system=[{"type": "text", "text": "Be"}, {"type": "text", "text": "kind.", "cache_control": {}}],
        stop_sequences=["END"],
        temperature=0.5,
        stream=True,
        tools=[{**WEATHER, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        metadata={"user_id": "me"},
        thinking={"type": "enabled", "budget_tokens": 2000},
    )
    said = {name: request.decoded(name) for name in request.body}
    function = {"name": "weather", "description": "of a city", "parameters": {"type": "object"}}
    assert said == {
        "model": "auto",
        "messages": [{"role": "system", "content": "Be\nkind."}, *HELLO],
        "max_tokens": 50,
        "temperature": 0.5,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    assert (request.stream, request.tokens_out, request.needs) == (True, 50, frozenset({"tools"}))


def test_what_has_no_word_elsewhere_is_kept_to_the_byte_for_an_upstream_of_this_format() -> None:
    raw = b'{"max_tokens":9,"messages":[{"role":"user","content":"hi"}],"thinking":{ "type" :"adaptive"}}'
    request = SURFACE.parse(Asked(raw), Trace())
    assert request.native is not None
    assert (request.native_dialect, bytes(request.native["thinking"])) == (
        "anthropic",
        b'{ "type" :"adaptive"}',
    )
    assert "thinking" not in request.body
    assert request.replace(body={}).native is None


def test_a_round_of_tools_becomes_calls_and_messages_of_tools() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Kyiv"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Sun"}, image]}
    failed = {"type": "tool_result", "tool_use_id": "t2", "content": "gone", "is_error": True}
    request = parse(
        tools=[WEATHER],
        messages=[
            *HELLO,
            {"role": "assistant", "content": [thought, {"type": "text", "text": "So."}, use]},
            {"role": "user", "content": [result, failed, {"type": "text", "text": "And?"}]},
        ],
    )
    _, assistant, sun, gone, user = request.decoded("messages")
    function = {"name": "weather", "arguments": '{"city":"Kyiv"}'}
    calls = [{"id": "t1", "type": "function", "function": function}]
    assert assistant == {"role": "assistant", "content": "So.", "tool_calls": calls}
    assert sun == {"role": "tool", "tool_call_id": "t1", "content": "Sun"}
    assert gone == {"role": "tool", "tool_call_id": "t2", "content": "Error: gone"}
    assert user["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert user["content"][2] == {"type": "text", "text": "And?"}
    assert request.needs == {"tools", "image"}


def test_an_image_counts_as_an_image_and_not_by_its_bytes() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}
    request = parse(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
    assert 1000 < request.tokens_in < 1100


@pytest.mark.parametrize(
    ("given", "need"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "native:anthropic"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "json_schema"),
        (
            {"messages": [{"role": "user", "content": [
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}}
            ]}]},
            "pdf",
        ),
    ],
)  # fmt: skip
def test_what_only_some_targets_can_do_is_a_need(given: dict[str, Any], need: str) -> None:
    assert parse(**given).needs == {need}


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"messages":[{"role":"user","content":"hi"}]}', "max_tokens"),
        (body(max_tokens=0), "max_tokens"),
        (body(messages=[]), "messages"),
        (body(messages=[{"role": "tool", "content": "x"}]), "messages.0.role"),
        (body(tools=[{"name": "x"}]), "tools.0"),
        (body(tools=[WEATHER], tool_choice={"type": "perhaps"}), "tool_choice"),
        (b'{"max_tokens":1,"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ],
)
def test_bad_input_gets_a_clear_error_that_names_the_field(raw: bytes, param: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        SURFACE.parse(Asked(raw), Trace())
    assert len(str(refused.value)) > 20
    if param:
        assert refused.value.param == param


def test_blocks_in_blocks_without_end_are_refused() -> None:
    block = b'{"type":"search_result","content":[' * 480 + b"]}" * 480
    raw = b'{"max_tokens":1,"messages":[{"role":"user","content":[' + block + b"]}]}"
    with pytest.raises(Invalid):
        SURFACE.parse(Asked(raw), Trace())


VALUES = (
    st.text(max_size=4)
    | st.none()
    | st.integers()
    | st.just({"type": "text", "data": "x"})
    | st.lists(st.just({"type": "text"}))
)
NAMES = ("text", "source", "content", "id", "name", "input", "tool_use_id", "is_error", "title")
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "search_result", "x"])},
    optional=dict.fromkeys(NAMES, VALUES),
)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["system", "tools", "tool_choice", "stop_sequences", "output_config", "temperature", "stream"]


@settings(deadline=None)  # the machine may be busy
@given(
    roles=st.lists(st.sampled_from(["user", "assistant", "system", "tool"]), max_size=3),
    blocks=st.lists(BLOCKS, max_size=4),
    more=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=2),
)
def test_any_blocks_are_a_request_or_invalid(
    roles: list[str], blocks: list[Any], more: dict[str, Any]
) -> None:
    messages = [{"role": role, "content": blocks} for role in roles]
    try:
        request = parse(messages=messages, **more)
    except Invalid:
        return
    assert msgspec.json.decode(msgspec.json.encode(request.body))["messages"] is not None


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_invalid(raw: bytes) -> None:
    with contextlib.suppress(Invalid):
        SURFACE.parse(Asked(raw), Trace())


@settings(deadline=None)  # the machine may be busy
@given(st.from_regex(r"\A[A-Za-z0-9_-]{1,40}\Z"), JSON)
def test_what_rides_in_an_id_comes_back(id: str, extra: Any) -> None:
    assert split_id(join_id(id, extra)) == (id, extra or None)
