"""What a client may send, and how replies and errors look to it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import Exhausted, Invalid
from potluck.surfaces import openai
from potluck.types import Event, Trace, Usage

MESSAGES = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "auto", "messages": MESSAGES, **fields})


def test_what_we_act_on_is_read_and_the_rest_is_kept_verbatim() -> None:
    request = openai.parse_chat(chat(stream=True, max_tokens=9, logit_bias={"1": 2}), trace=Trace())
    assert (request.model, request.stream, request.tokens_out) == ("auto", True, 9)
    assert bytes(request.body["logit_bias"]) == b'{"1":2}'


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"messages":', None),
        (b"\xff\xfe", None),
        (chat(messages=[]), "messages"),
        (chat(messages="hi"), "messages"),
        (chat(messages=[{"content": "x"}]), None),
        (chat(messages=[1]), None),
        (chat(model=5), "model"),
        (chat(stream="yes"), "stream"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(max_tokens="many"), "max_tokens"),
        (chat(n=9), "n"),
        (chat(tools={}), "tools"),
        (b'{"model":"auto"}', "messages"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ],
)
def test_bad_input_gets_a_clear_error_that_names_the_field(body: bytes, param: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        openai.parse_chat(body, trace=Trace())
    assert len(str(refused.value)) > 20
    if param:
        assert refused.value.param == param


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_invalid(body: bytes) -> None:
    for parse in (openai.parse_chat, openai.parse_embeddings):
        try:
            parse(body, trace=Trace())
        except Invalid:
            continue


@given(
    st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=8)
)
def test_any_json_value_in_any_field_is_a_request_or_invalid(value: Any) -> None:
    for field in ("model", "messages", "stream", "max_tokens", "n", "tools", "response_format"):
        try:
            openai.parse_chat(chat(**{field: value}), trace=Trace())
        except Invalid:
            continue


def test_null_is_the_same_as_absent() -> None:
    nothing = dict.fromkeys(("stream", "max_tokens", "n", "tools", "response_format"))
    assert not openai.parse_chat(chat(**nothing), trace=Trace()).stream


def test_images_tools_and_schemas_are_what_a_target_must_be_able_to_do() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}]
    request = openai.parse_chat(
        chat(
            messages=[{"role": "user", "content": picture}],
            tools=[{"type": "function"}],
            response_format={"type": "json_schema", "json_schema": {}},
        ),
        trace=Trace(),
    )
    assert request.needs == {"image", "tools", "json_schema"}
    assert request.tokens_in < 1200, "the bytes of an image are not its tokens"


def test_a_prompt_that_mentions_image_url_is_no_image() -> None:
    request = openai.parse_chat(
        chat(messages=[{"role": "user", "content": 'what is "image_url"?'}]), trace=Trace()
    )
    assert not request.needs


@pytest.mark.parametrize("given_input", ["a", ["a", "b"], [1, 2], [[1], [2]]])
def test_embeddings_take_texts_and_tokens(given_input: Any) -> None:
    body = msgspec.json.encode({"model": "auto", "input": given_input})
    assert openai.parse_embeddings(body, trace=Trace()).kind == "embeddings"


@pytest.mark.parametrize("given_input", ["", [], None, {}, [{}]])
def test_embeddings_of_nothing_are_refused(given_input: Any) -> None:
    with pytest.raises(Invalid):
        openai.parse_embeddings(msgspec.json.encode({"input": given_input}), trace=Trace())


def test_an_error_has_openais_shape_and_a_stable_code() -> None:
    error = Exhausted("Nothing is left.", retry_after=5.0, quota=True)
    shape = msgspec.json.decode(openai.render_error(error))
    assert shape == {
        "error": {
            "message": "Nothing is left.",
            "type": "rate_limit_error",
            "param": None,
            "code": "quota_exhausted",
        }
    }


def test_events_fold_into_one_json_answer() -> None:
    events = [Event(text="a"), Event(reasoning="r"), Event(text="b", finish="length", usage=Usage(1, 2))]
    answer = msgspec.json.decode(openai.render_whole(events, id="x", model="m", created=1))
    assert answer["choices"][0]["message"]["content"] == "ab"
    assert answer["choices"][0]["message"]["reasoning_content"] == "r"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == 3


def test_events_of_a_stage_become_chunks_of_a_stream() -> None:
    events = [Event(text="a", finish="stop", usage=Usage(1, 1))]
    raw = openai.render_events(events, id="x", model="m", created=1, usage=True)
    first, second, rest = raw.split(b"\n\n")
    assert rest == b""
    assert msgspec.json.decode(first[6:])["choices"][0]["delta"]["content"] == "a"
    assert msgspec.json.decode(second[6:])["usage"]["total_tokens"] == 2
