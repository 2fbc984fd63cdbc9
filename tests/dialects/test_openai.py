"""What is sent upstream, and how a whole answer is read."""

from typing import Any

import msgspec
import pytest

from potluck.dialects.openai import OpenAI, decode_whole, wants_usage
from potluck.errors import Malformed, TargetFailed, Unavailable
from potluck.surfaces.openai import parse_chat
from potluck.types import Behaviour, Request, Target, Trace, Usage

DIALECT = OpenAI()


def request(**fields: Any) -> Request:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_chat(msgspec.json.encode(body), trace=Trace())


def target(**behaviour: Any) -> Target:
    return Target("p/m", "p", "m", "m", "https://p.example/v1", behaviour=Behaviour(**behaviour))


def sent(request: Request, target: Target) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(DIALECT.encode(request, target))
    return body


def test_the_body_is_the_clients_with_the_targets_model() -> None:
    body = sent(request(temperature=0.5, x_custom={"a": [1]}), target())
    assert body["model"] == "m"
    assert body["temperature"] == 0.5
    assert body["x_custom"] == {"a": [1]}


def test_parameters_the_provider_refuses_are_dropped_or_renamed() -> None:
    how = target(drop=frozenset({"user"}), rename={"seed": "random_seed"})
    body = sent(request(user="me", seed=7), how)
    assert "user" not in body
    assert "seed" not in body
    assert body["random_seed"] == 7


def test_a_strict_schema_gets_only_what_it_allows() -> None:
    body = sent(request(x_custom=1, top_p=0.5), target(allow=frozenset({"model", "messages", "top_p"})))
    assert body.keys() == {"model", "messages", "top_p"}


def test_a_default_is_sent_only_where_the_client_said_nothing() -> None:
    how = target(defaults={"max_tokens": 1024})
    assert sent(request(), how)["max_tokens"] == 1024
    assert sent(request(max_tokens=5), how)["max_tokens"] == 5


def test_usage_is_asked_for_in_a_stream_even_if_the_client_did_not() -> None:
    assert sent(request(stream=True), target())["stream_options"] == {"include_usage": True}
    mine = request(stream=True, stream_options={"include_usage": False, "x": 1})
    assert sent(mine, target())["stream_options"] == {"include_usage": True, "x": 1}


def test_a_provider_that_always_reports_usage_is_not_asked() -> None:
    assert "stream_options" not in sent(request(stream=True), target(stream_usage="always"))


def test_stream_options_without_a_stream_are_not_sent() -> None:
    assert "stream_options" not in sent(request(stream_options={"include_usage": True}), target())


def test_content_arrays_and_null_are_flattened_where_they_are_refused() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "c"},
    ]
    body = sent(request(messages=messages), target(flatten_content=True))
    assert [message["content"] for message in body["messages"]] == ["a\nb", "", "c"]


def test_an_image_is_never_flattened_away() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    body = sent(request(messages=[{"role": "user", "content": picture}]), target(flatten_content=True))
    assert body["messages"][0]["content"] == picture


def test_whether_the_client_wants_the_usage_event() -> None:
    assert wants_usage(request(stream=True, stream_options={"include_usage": True}))
    assert not wants_usage(request(stream=True, stream_options={"include_usage": False}))
    assert not wants_usage(request(stream=True))


ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
}


def test_a_whole_answer_passes_untouched_with_its_usage() -> None:
    raw = msgspec.json.encode(ANSWER)
    chunk, usage = DIALECT.whole(raw, "chat")
    assert chunk.raw is raw
    assert usage == Usage(3, 1, 2)
    assert chunk.text == "Hi"


def test_vectors_pass_untouched_with_their_usage() -> None:
    raw = b'{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":4,"total_tokens":4}}'
    chunk, usage = DIALECT.whole(raw, "embeddings")
    assert chunk.raw is raw
    assert usage == Usage(4, 0)


@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"[]", b'{"choices":[]}', b'{"choices":[{"message":{}}', b"\xff"]
)
def test_a_200_that_is_no_answer_fails_the_target(raw: bytes) -> None:
    with pytest.raises(TargetFailed):
        DIALECT.whole(raw, "chat")


def test_an_error_in_a_200_is_reported_with_its_sentence() -> None:
    with pytest.raises(Unavailable, match="no room"):
        DIALECT.whole(b'{"error":{"message":"no room"}}', "chat")


def test_a_message_that_is_no_object_is_malformed() -> None:
    with pytest.raises(Malformed):
        decode_whole(b'{"choices":[{"message":"text"}]}')


def test_reasoning_and_tool_calls_of_a_whole_answer_are_seen() -> None:
    message = {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [{"id": "1"}]}
    [event] = decode_whole(
        msgspec.json.encode({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    )
    assert (event.reasoning, event.finish) == ("hm", "tool_calls")
    assert event.tool_calls == [{"id": "1"}]
