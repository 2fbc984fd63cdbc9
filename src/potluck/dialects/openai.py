"""Chat Completions and Embeddings as most providers speak them: encode a request, read an answer.

Source: OpenAI API reference (chat/completions object and chunk object), with the deviations that the catalog
lists in `Behaviour`. What we do not understand passes through: only what must be dropped or renamed is listed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from potluck import errors
from potluck.dialects import blame as blames
from potluck.dialects.events import SSEReader, WireUsage
from potluck.dialects.schemas import plain_tools
from potluck.types import Behaviour, Chunk, Event, Request, Target, Usage

_TRUE = msgspec.Raw(b"true")
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')
_encode = msgspec.json.Encoder().encode


class _WholeChoice(msgspec.Struct):
    message: msgspec.Raw
    finish_reason: str | None = None


class _Whole(msgspec.Struct):
    choices: list[_WholeChoice]
    usage: WireUsage | None = None


class _Vectors(msgspec.Struct):
    data: list[msgspec.Raw]
    usage: WireUsage | None = None


_whole = msgspec.json.Decoder(_Whole)
_vectors = msgspec.json.Decoder(_Vectors)


class OpenAI:
    """The dialect. Stateless: one instance serves every target that speaks it."""

    def path(self, target: Target, kind: str, stream: bool) -> str:
        return target.behaviour.embeddings_path if kind == "embeddings" else target.behaviour.chat_path

    def encode(self, request: Request, target: Target) -> bytes:
        """The body to send: the client's fields verbatim, less what this provider refuses."""
        how = target.behaviour
        body: dict[str, Any] = dict(request.body)
        body["model"] = target.model
        if request.stream:
            _ask_for_usage(body, how)
        else:
            body.pop("stream_options", None)
        if how.drop or how.allow or how.rename or how.defaults:
            body = _shape(body, how)
        if how.flatten_content and "messages" in body:
            body["messages"] = [_flatten(message) for message in msgspec.json.decode(body["messages"])]
        if how.refused_keywords and "tools" in body:
            body["tools"] = plain_tools(msgspec.json.decode(body["tools"]), how.refused_keywords)
        return _encode(body)

    def whole(self, raw: bytes, kind: str) -> tuple[Chunk, Usage | None]:
        """A JSON answer as one chunk. Raises Malformed when it is not what was promised."""
        try:
            if kind == "embeddings":
                vectors = _vectors.decode(raw)
                count, usage = len(vectors.data), vectors.usage
            else:
                answer = _whole.decode(raw)
                count, usage = len(answer.choices), answer.usage
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise blames.of_whole(raw, str(error)) from error
        if not count:
            raise errors.Malformed("the provider answered 200 with no choices in it", status=200)
        decode = decode_vectors if kind == "embeddings" else decode_whole
        return Chunk(raw, decode, whole=True), usage.usage() if usage else None

    def reader(self, request: Request) -> SSEReader:
        return SSEReader(keep_usage=wants_usage(request))

    def blame(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, behaviour: Behaviour
    ) -> errors.TargetFailed:
        return blames.blame(status, headers, body, behaviour)


def with_usage(chunk: Chunk, usage: Usage) -> Chunk:
    """A whole answer of this format whose provider said nothing of usage, with the estimate, marked as one."""
    if chunk.dialect != "openai":
        return chunk
    fields = msgspec.json.decode(chunk.raw, type=dict[str, msgspec.Raw])
    counts = {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.total}
    fields["usage"] = msgspec.Raw(_encode({**counts, "estimated": True}))
    return Chunk(_encode(fields), decode_whole, whole=True)


def wants_usage(request: Request) -> bool:
    """Whether the client itself asked for the usage event at the end of its stream."""
    raw = request.body.get("stream_options")
    if raw is None or b"include_usage" not in bytes(raw):
        return False
    options = msgspec.json.decode(raw)
    return bool(isinstance(options, dict) and options.get("include_usage"))


def _ask_for_usage(body: dict[str, Any], how: Behaviour) -> None:
    # Usage is what settles the hold, so it is asked for whether or not the client wants to see it.
    if how.stream_usage == "option":
        given = body.get("stream_options")
        if given is None:
            body["stream_options"] = _INCLUDE_USAGE
        else:
            options = msgspec.json.decode(given)
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    else:
        body.pop("stream_options", None)
    body["stream"] = _TRUE


def _shape(body: dict[str, Any], how: Behaviour) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    for name, value in body.items():
        if name in how.drop:
            continue
        name = how.rename.get(name, name)
        if how.allow and name not in how.allow:
            continue
        shaped[name] = value
    for name, value in how.defaults.items():
        shaped.setdefault(name, value)
    return shaped


def _flatten(message: Any) -> Any:
    """Content arrays of text, and null, become a string; an array with an image stays as it is."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if content is None:
        return {**message, "content": ""}
    if not isinstance(content, list):
        return message
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(content):
        return message
    return {**message, "content": "\n".join(text for text in texts if isinstance(text, str))}


def decode_vectors(raw: bytes) -> tuple[Event, ...]:
    """The one event of an embeddings answer: `delta` has its `data`, rows of index and embedding."""
    answer = _vectors.decode(raw)
    usage = answer.usage.usage() if answer.usage else None
    return (Event(delta={"data": [msgspec.json.decode(row) for row in answer.data]}, usage=usage),)


def decode_whole(raw: bytes) -> tuple[Event, ...]:
    """The events of a JSON chat answer: one with the message, one with finish and usage."""
    answer = _whole.decode(raw)
    choice = answer.choices[0]
    message = msgspec.json.decode(choice.message)
    if not isinstance(message, dict):
        raise errors.Malformed("the provider's message is not an object", status=200)
    usage = answer.usage.usage() if answer.usage else None
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    content = message.get("content")
    return (
        Event(
            text=content if isinstance(content, str) else "",
            reasoning=reasoning if isinstance(reasoning, str) else "",
            tool_calls=message.get("tool_calls") or None,
            finish=choice.finish_reason or "stop",
            usage=usage,
            delta=message,
        ),
    )
