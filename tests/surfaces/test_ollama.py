"""What a client of Ollama's format may send, and how replies, lines and errors look to it."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potluck.errors import Invalid, PotluckError
from potluck.surfaces.ollama import OllamaChat, OllamaEmbed, OllamaEmbeddings, OllamaGenerate
from potluck.surfaces.surface import About, Asked
from potluck.types import Event, Request, Trace, Usage

# A busy machine is no failure of a property.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHAT, GENERATE, EMBED = OllamaChat(), OllamaGenerate(), OllamaEmbed()
SURFACES = [CHAT, GENERATE, EMBED, OllamaEmbeddings()]
HELLO = [{"role": "user", "content": "hi"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + b"\0" * 20).decode()


def parse(surface: OllamaChat = CHAT, **fields: Any) -> Request:
    if surface is CHAT:
        fields.setdefault("messages", HELLO)
    return surface.parse(Asked(msgspec.json.encode(fields)), Trace())


def about(request: Request | None = None) -> About:
    return About("7", "auto", 0.0, request or parse())


def test_the_words_of_the_format_become_those_of_chat_completions() -> None:
    options = {"temperature": 0.5, "top_p": 0.9, "num_predict": 50, "stop": "END", "seed": 7, "num_ctx": 8192}
    request = parse(tools=[WEATHER], options=options, keep_alive="5m", think="high", stream=False)
    assert {name: request.decoded(name) for name in request.body} == {
        "model": "auto",
        "messages": HELLO,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 50,
        "stop": "END",
        "seed": 7,
        "tools": [WEATHER],
        "reasoning_effort": "high",
    }
    assert (request.stream, request.tokens_out, request.needs) == (False, 50, frozenset({"tools"}))


def test_an_answer_streams_unless_the_client_says_otherwise() -> None:
    assert parse().stream
    assert parse(stream=None).stream
    assert parse().decoded("stream_options") == {"include_usage": True}
    assert not parse(stream=False).stream


@pytest.mark.parametrize("num_predict", [-1, -2, 0, None])
def test_no_limit_is_no_limit(num_predict: int | None) -> None:
    request = parse(options={"num_predict": num_predict})
    assert "max_tokens" not in request.body
    assert not request.limited


def test_a_format_is_json_or_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert parse(format="json").decoded("response_format") == {"type": "json_object"}
    with_schema = parse(format=schema)
    assert with_schema.decoded("response_format")["json_schema"]["schema"] == schema
    assert with_schema.needs == {"json_schema"}
    assert "response_format" not in parse(format="").body
    with pytest.raises(Invalid) as refused:
        parse(format="yaml")
    assert refused.value.param == "format"


def test_pictures_become_parts_and_count_as_pictures() -> None:
    request = parse(messages=[{"role": "user", "content": "what?", "images": [PNG, JPEG, "A" * 90_000]}])
    parts = request.decoded("messages")[0]["content"]
    assert parts[0] == {"type": "text", "text": "what?"}
    assert parts[1]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert parts[2]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert request.needs == {"image"}
    assert 3000 < request.tokens_in < 3300


def test_calls_without_ids_get_some_and_answers_find_their_call_by_name_else_by_order() -> None:
    calls = [{"function": {"name": name, "arguments": {"city": "Kyiv"}}} for name in ("sun", "rain", "wind")]
    turns = [
        *HELLO,
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "wet", "tool_name": "rain"},
        {"role": "tool", "content": "bright"},
        {"role": "tool", "content": "still", "name": "wind"},
    ]
    _, assistant, rain, sun, wind = parse(messages=turns).decoded("messages")
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert [rain["tool_call_id"], sun["tool_call_id"], wind["tool_call_id"]] == [ids[1], ids[0], ids[2]]
    assert len(set(ids)) == 3
    assert assistant["tool_calls"][0]["function"] == {"name": "sun", "arguments": '{"city":"Kyiv"}'}


def test_an_id_and_what_rides_in_it_come_back_where_the_client_keeps_ids() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
    answer = msgspec.json.decode(CHAT.whole([Event(tool_calls=[call], finish="tool_calls")], about()))
    made = answer["message"]["tool_calls"]
    result = {"role": "tool", "content": "x", "tool_call_id": made[0]["id"]}
    turns = [*HELLO, {"role": "assistant", "tool_calls": made}, result]
    _, assistant, tool = parse(messages=turns).decoded("messages")
    assert (assistant["tool_calls"][0]["id"], tool["tool_call_id"]) == ("c1", "c1")
    assert assistant["tool_calls"][0]["extra_content"] == extra


def test_a_prompt_becomes_messages() -> None:
    request = parse(GENERATE, prompt="why?", system="Be brief.", images=[PNG])
    system, user = request.decoded("messages")
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"][1]["type"] == "image_url"
    assert request.needs == {"image"}


@pytest.mark.parametrize("field", ["raw", "template", "suffix", "context"])
def test_what_would_silently_change_an_answer_is_refused(field: str) -> None:
    value: Any = {"raw": True, "context": [1, 2]}.get(field, "x")
    with pytest.raises(Invalid) as refused:
        parse(GENERATE, prompt="hi", **{field: value})
    assert refused.value.param == field


@pytest.mark.parametrize(("surface", "fields"), [(CHAT, {"messages": []}), (GENERATE, {"prompt": ""})])
def test_to_load_a_model_is_answered_and_is_no_error(surface: OllamaChat, fields: Any) -> None:
    with pytest.raises(PotluckError) as nothing:
        parse(surface, model="auto:code", **fields)
    answer = msgspec.json.decode(surface.error(nothing.value))
    assert nothing.value.status == 200
    assert (answer["model"], answer["done"], answer["done_reason"]) == ("auto:code", True, "load")


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("auto:latest", "auto"),
        ("auto:code:latest", "auto:code"),
        ("llama3:latest", "llama3:latest"),
        ("", "auto"),
    ],
)
def test_a_tag_that_the_client_added_is_taken_off_again(given_name: str, name: str) -> None:
    assert parse(model=given_name).model == name


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": "hi"}, "messages"),
        ({"think": "deeply"}, "think"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
    ],
)
def test_bad_input_gets_a_clear_error_that_names_the_field(fields: Any, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(**fields)
    assert refused.value.param == param
    assert msgspec.json.decode(CHAT.error(refused.value)) == {"error": str(refused.value)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "model",
    "messages",
    "prompt",
    "input",
    "tools",
    "format",
    "options",
    "think",
    "images",
    "system",
    "stream",
]
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "x"])},
        optional={
            "content": st.text() | JSON,
            "images": st.lists(st.text()) | JSON,
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {"function": st.fixed_dictionaries({"name": st.text(), "arguments": JSON})}
                )
            )
            | JSON,
            "tool_name": st.text(),
            "tool_call_id": st.text(),
        },
    ),
    max_size=4,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON) | st.fixed_dictionaries(
    {"messages": MESSAGES}, optional={"tools": st.lists(JSON), "format": JSON, "think": JSON, "options": JSON}
)


@CALM
@given(body=BODIES.map(msgspec.json.encode) | st.binary(max_size=200))
def test_any_body_is_a_request_or_a_clear_refusal(body: bytes) -> None:
    for surface in SURFACES:
        refused: PotluckError | None = None
        try:
            request = surface.parse(Asked(body), Trace())
        except PotluckError as error:
            refused = error
        if refused is not None:
            assert refused.status in (200, 400)
            assert isinstance(msgspec.json.decode(surface.error(refused)), dict)
            continue
        assert request.tokens_in > 0
        for raw in request.body.values():
            with contextlib.suppress(RecursionError):
                msgspec.json.decode(raw)


@pytest.mark.parametrize("surface", [CHAT, GENERATE])
def test_nesting_without_end_is_refused(surface: OllamaChat) -> None:
    raw = b'{"prompt":"a","format":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(Invalid):
        surface.parse(Asked(raw), Trace())


def test_vectors_come_in_the_order_of_their_texts() -> None:
    rows = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    request = parse(EMBED, input=["a", "b"])
    answer = msgspec.json.decode(EMBED.whole([Event(delta={"data": rows}, usage=Usage(9))], about(request)))
    assert (answer["embeddings"], answer["prompt_eval_count"]) == ([[1.0], [2.0]], 9)
    assert request.decoded("input") == ["a", "b"]
