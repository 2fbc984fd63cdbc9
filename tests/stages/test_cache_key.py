"""What makes two requests the same, what clients say about caching, and how a stream becomes one answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from potluck.stages import cache_key, folding
from potluck.stages.cache_policy import Wishes, lifetime, wishes
from potluck.techniques import Cache as Said
from potluck.types import Request
from tests.stages.cached import raw_chunk

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
names = st.text("abcdef", min_size=1, max_size=4)


def key(body: dict[str, Any], *, indent: int | None = None) -> bytes:
    raw = {name: msgspec.Raw(json.dumps(value, indent=indent).encode()) for name, value in body.items()}
    request = Request("auto", raw, tenant="t")
    found = cache_key.fields(request)
    assert found is not None
    return cache_key.key(request, found, shared=False, below=b"")


@given(st.dictionaries(names, values, max_size=4), st.randoms())
def test_order_spacing_and_nulls_change_nothing(body: dict[str, Any], chance: Any) -> None:
    shuffled = list(body.items())
    chance.shuffle(shuffled)
    assert key(dict(shuffled), indent=2) == key({**body, "zzzzz": None})


@given(st.dictionaries(names, values, max_size=4), names, values, values)
def test_another_value_is_another_request(body: dict[str, Any], name: str, one: Any, other: Any) -> None:
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert key({**body, name: one}) != key({**body, name: other})


@given(st.binary(max_size=40))
def test_a_field_that_cannot_be_read_is_no_error(raw: bytes) -> None:
    cache_key.fields(Request("auto", {"messages": msgspec.Raw(raw)}))


def test_parts_of_a_key_cannot_be_read_as_other_parts() -> None:
    one, other = Request("ab", {}, tenant="c"), Request("b", {}, tenant="ca")
    assert cache_key.key(one, {}, shared=False, below=b"") != cache_key.key(
        other, {}, shared=False, below=b""
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Wishes()),
        ("no-store", Wishes(read=False, write=False)),
        ("no-cache, max-age=60", Wishes(read=False, max_age=60)),
        ('max-age="5"', Wishes(max_age=5)),
        ("max-age=-1, max-age=soon, private", Wishes()),
        ("exact, ttl=3600", Wishes(semantic=False, ttl=3600)),
        ("only-if-cached", Wishes(only=True)),
    ],
)
def test_what_clients_say_is_understood(text: str, found: Wishes) -> None:
    assert wishes(text) == found


@given(st.text())
def test_no_header_is_an_error(text: str) -> None:
    assert (found := wishes(text)).max_age is None or found.max_age >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Who wrote Hamlet?", 100.0),
        ("What is the price of gold?", 7.0),
        ("Wie ist das Wetter in Bonn?", 7.0),
        ("今日の天気は", 7.0),
        ("Write a nowhere poem", 100.0),
        ("Give me a new password", 0.0),
    ],
)
def test_how_long_an_answer_lives_depends_on_the_question(text: str, seconds: float) -> None:
    said = Said(ttl=100, ttl_passing=7)
    assert lifetime(text, said) == seconds
    assert lifetime(text, said, Wishes(ttl=3.0)) == 3.0


def test_passing_questions_never_live_longer_than_others() -> None:
    assert lifetime("today", Said(ttl=5, ttl_passing=60)) == 5.0


def tool(index: int, **fields: Any) -> dict[str, Any]:
    return {"index": index, **fields}


def test_tool_calls_in_pieces_become_whole_calls() -> None:
    chunks = [
        raw_chunk({"role": "assistant", "content": None}),
        raw_chunk(
            {"tool_calls": [tool(0, id="a", type="function", function={"name": "f", "arguments": ""})]}
        ),
        raw_chunk({"tool_calls": [tool(0, function={"arguments": '{"x"'})]}),
        raw_chunk(
            {"tool_calls": [tool(1, id="b", type="function", function={"name": "g", "arguments": "{}"})]}
        ),
        raw_chunk({"tool_calls": [tool(0, function={"arguments": ":1}"})]}),
        raw_chunk({}, finish="tool_calls"),
    ]
    found = folding.folded(chunks, "chat", id="c", model="m", created=1)
    assert found is not None
    message = json.loads(found.answer)["choices"][0]["message"]
    assert [(each["id"], each["function"]) for each in message["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x":1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        [raw_chunk({"content": "half"})],
        [raw_chunk({"content": "cut"}, finish="length")],
        [raw_chunk({"content": "no"}, finish="content_filter")],
        [raw_chunk({}, finish="stop")],
        [raw_chunk({"content": "said", "audio": {"id": "x"}}, finish="stop")],
        [raw_chunk({"refusal": "I will not"}), raw_chunk({"content": "said"}, finish="stop")],
    ],
)
def test_what_is_not_whole_or_cannot_be_said_again_is_not_folded(chunks: list[Any]) -> None:
    assert folding.folded(chunks, "chat", id="c", model="m", created=1) is None


@given(st.lists(st.text(max_size=10), min_size=1, max_size=10))
def test_a_stream_and_its_fold_say_the_same(pieces: list[str]) -> None:
    assume(any(pieces))
    chunks = [raw_chunk({"content": piece}) for piece in pieces]
    found = folding.folded([*chunks, raw_chunk({}, finish="stop")], "chat", id="c", model="m", created=1)
    assert found is not None
    assert folding.text(found.answer) == "".join(pieces)
