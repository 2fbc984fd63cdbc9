"""Anthropic's Messages as an upstream format: where a request goes, what an answer holds, whose fault a refusal is.

Source: Anthropic API reference (Messages, streaming, errors), read from its Python SDK 2.12 (2026-11). Encoding is in
`anthropic_encode`, streams in `anthropic_events`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from potluck import errors
from potluck.dialects import blame as blames
from potluck.dialects.anthropic_encode import encode
from potluck.dialects.anthropic_events import NAME, EventReader, WireUsage, finish_of
from potluck.types import Behaviour, Chunk, Event, Request, Target, Usage

CHAT_PATH = "/messages"


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw()


class _Whole(msgspec.Struct, gc=False):
    content: list[_Block]
    stop_reason: str | None = None
    usage: WireUsage | None = None


_whole = msgspec.json.Decoder(_Whole)


class Anthropic:
    """The dialect. Stateless: one instance serves every target that speaks it."""

    def path(self, target: Target, kind: str, stream: bool) -> str:
        given = target.behaviour.chat_path
        return CHAT_PATH if given == Behaviour().chat_path else given

    def encode(self, request: Request, target: Target) -> bytes:
        return encode(request, target)

    def whole(self, raw: bytes, kind: str) -> tuple[Chunk, Usage | None]:
        """A JSON answer as one chunk. Raises Malformed when it is not what was promised."""
        try:
            answer = _whole.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise blames.of_whole(raw, str(error)) from error
        chunk = Chunk(raw, decode_whole, dialect=NAME, whole=True)
        return chunk, answer.usage.usage() if answer.usage else None

    def reader(self, request: Request) -> EventReader:
        return EventReader(relayed=request.native_dialect == NAME)

    def blame(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, behaviour: Behaviour
    ) -> errors.TargetFailed:
        return blames.blame(status, headers, body, behaviour)


def decode_whole(raw: bytes) -> tuple[Event, ...]:
    """The one event of a JSON answer; the signature of its thinking is in `delta`."""
    answer = _whole.decode(raw)
    calls: list[dict[str, Any]] = []
    text, thinking, signature = [], [], ""
    for block in answer.content:
        text.append(block.text)
        thinking.append(block.thinking)
        signature = block.signature or signature
        if block.type == "tool_use":
            function = {
                "name": block.name,
                "arguments": bytes(block.input).decode("utf-8", "replace") or "{}",
            }
            calls.append({"id": block.id, "type": "function", "function": function})
    return (
        Event(
            text="".join(text),
            reasoning="".join(thinking),
            tool_calls=calls or None,
            finish=finish_of(answer.stop_reason),
            usage=answer.usage.usage() if answer.usage else None,
            delta={"thinking_signature": signature} if signature else None,
        ),
    )
