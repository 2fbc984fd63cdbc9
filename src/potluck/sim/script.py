"""The bytes of an answer: the JSON of a whole one, the events of a streamed one, in each provider's shape.

Rules: pure functions. `Script.lead` is how many frames come before the first token, so that a fault can
strike after exactly so many tokens. Usage in streams follows the provider's manner: ``option`` answers
`stream_options.include_usage` with a last event without choices, ``always`` puts it on the finishing event,
``x_groq`` puts it there under `x_groq` and answers the option too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from potluck.sim.answers import Answer, Options
from potluck.sim.provider import Pretend

CREATED = 1_790_000_000
DONE = b"data: [DONE]\n\n"
encode = msgspec.json.encode


@dataclass(frozen=True)
class Script:
    """The frames of a stream, in order; the last is always [DONE]."""

    frames: list[bytes]
    lead: int


def identify(body: Mapping[str, Any], prefix: str = "chatcmpl-") -> str:
    """An id that depends on the request alone."""
    return prefix + hashlib.blake2b(encode(body), digest_size=8).hexdigest()


def whole(pretend: Pretend, answer: Answer, body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A chat completion as one JSON object."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.pieces)}
    if answer.calls:
        message |= {"content": None, "tool_calls": list(answer.calls)}
    if answer.reasoning:
        message[pretend.reasoning] = "".join(answer.reasoning)
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": answer.finish}
    if pretend.native_finish:
        choice["native_finish_reason"] = answer.finish
    full = {"id": identify(body), "object": "chat.completion", "created": CREATED, "model": model}
    full |= {"choices": [choice], "usage": usage(pretend, answer)}
    if pretend.stream_usage == "x_groq":
        full["x_groq"] = {"id": identify(body, "req_")}
    return full


def usage(pretend: Pretend, answer: Answer) -> dict[str, Any]:
    """OpenRouter adds the cost; its free models cost nothing."""
    return answer.usage() | ({"cost": 0} if pretend.native_finish else {})


def script(pretend: Pretend, answer: Answer, body: Mapping[str, Any], model: str, options: Options) -> Script:
    """A chat completion as server-sent events."""
    head = {"id": identify(body), "object": "chat.completion.chunk", "created": CREATED, "model": model}
    start = encode(head)[:-1]
    frames = [f"{pretend.comment}\n\n".encode()] * 2 if pretend.comment else []
    frames.append(_event(start, {"role": "assistant", "content": ""}))
    lead = len(frames)
    for piece in answer.reasoning:
        frames.append(_event(start, {pretend.reasoning: piece}))
    for piece in answer.pieces:
        frames.append(_event(start, {"content": piece}))
    for index, call in enumerate(answer.calls):
        frames += _call_events(start, call, index if options.tool_index else None)
    return Script(frames + _ending(pretend, answer, body, head) + [DONE], lead)


def _event(start: bytes, delta: Mapping[str, Any]) -> bytes:
    return b'data: %b,"choices":[{"index":0,"delta":%b,"finish_reason":null}]}\n\n' % (start, encode(delta))


def _call_events(start: bytes, call: Mapping[str, Any], index: int | None) -> list[bytes]:
    """The name first, then the arguments in two halves, as upstreams do."""
    where = {} if index is None else {"index": index}
    arguments = call["function"]["arguments"]
    half = len(arguments) // 2
    opening = {**call, **where, "function": {"name": call["function"]["name"], "arguments": ""}}
    deltas: list[dict[str, Any]] = [opening]
    deltas += [{**where, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
    return [_event(start, {"tool_calls": [delta]}) for delta in deltas]


def _ending(pretend: Pretend, answer: Answer, body: Mapping[str, Any], head: dict[str, Any]) -> list[bytes]:
    choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": answer.finish}
    if pretend.native_finish:
        choice["native_finish_reason"] = answer.finish
    last, spent = {**head, "choices": [choice]}, usage(pretend, answer)
    if pretend.stream_usage == "always":
        last["usage"] = spent
    elif pretend.stream_usage == "x_groq":
        last["x_groq"] = {"id": identify(body, "req_"), "usage": spent}
    frames = [b"data: %b\n\n" % encode(last)]
    asked = (body.get("stream_options") or {}).get("include_usage")
    if asked and pretend.stream_usage != "always":
        frames.append(b"data: %b\n\n" % encode({**head, "choices": [], "usage": spent}))
    return frames


def error_event(pretend: Pretend, body: Mapping[str, Any], model: str) -> bytes:
    """An error inside a 200 stream: OpenRouter adds it to a chunk, Google wraps it, others send it bare."""
    error: dict[str, Any] = {"code": 502, "message": "Provider disconnected unexpectedly"}
    if pretend.native_finish:
        choice = {
            "index": 0,
            "delta": {"content": ""},
            "finish_reason": "error",
            "native_finish_reason": "error",
        }
        head = {"id": identify(body), "object": "chat.completion.chunk", "created": CREATED, "model": model}
        return b"data: %b\n\n" % encode({**head, "error": error, "choices": [choice]})
    if pretend.manner == "google":
        error |= {
            "code": 503,
            "message": "The model is overloaded. Please try again later.",
            "status": "UNAVAILABLE",
        }
        return b"data: %b\n\n" % encode([{"error": error}])
    return b"data: %b\n\n" % encode({"error": error})
