"""Reads a stream of Messages events: finds the commit point, the usage, the end, and errors in its middle.

Rules: framing is that of every event stream (`events.SSEReader`); each event is decoded once. The answer is whole
only when `message_stop` has come: a stop reason alone is not the end. Where the client speaks the same format the
bytes are relayed and events are decoded when someone looks; else they are made on the way.
"""

from __future__ import annotations

import msgspec

from potluck import errors
from potluck.dialects import blame as blames
from potluck.dialects.events import SSEReader, payload
from potluck.types import Behaviour, Chunk, Event, Usage

NAME = "anthropic"
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STATUSES = {  # of the error types, so that an error inside a stream means what it would have meant before it
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class WireUsage(msgspec.Struct, gc=False):
    """`usage` as it travels: what was read from a cache or written to one is not among `input_tokens`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    def usage(self) -> Usage:
        cached = self.cache_read_input_tokens or 0
        given = (self.input_tokens or 0) + (self.cache_creation_input_tokens or 0) + cached
        return Usage(given, self.output_tokens or 0, cached)


class _Message(msgspec.Struct, gc=False):
    usage: WireUsage | None = None


class _Start(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw()


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    signature: str = ""
    stop_reason: str | None = None


class _Error(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct, gc=False):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: _Start | None = None
    message: _Message | None = None
    usage: WireUsage | None = None
    error: _Error | None = None


_event = msgspec.json.Decoder(_Event)


def finish_of(reason: str | None) -> str:
    return FINISHES.get(reason or "end_turn", "stop")


class EventReader(SSEReader):
    """One stream. `relayed`: the client reads this format itself."""

    __slots__ = ("_found", "_relayed", "_tools", "_wire")

    def __init__(self, *, relayed: bool) -> None:
        super().__init__(keep_usage=True)
        self._relayed = relayed
        self._tools: dict[
            int, int
        ] = {}  # block → which tool call it is; only grows, so a late look finds the same
        self._wire = WireUsage()
        self._found: list[Event] = []

    def _chunk(self, raw: bytes) -> Chunk:
        if self._relayed:
            return Chunk(raw, self._decode, dialect=NAME)
        found, self._found = tuple(self._found), []
        return Chunk(raw, lambda _: found, dialect=NAME)

    def _decode(self, block: bytes) -> tuple[Event, ...]:
        found = []
        for event in block.replace(b"\r\n", b"\n").split(b"\n\n"):
            data = payload(event)
            made = self._made(_event.decode(data)) if data else None
            if made is not None:
                found.append(made)
        return tuple(found)

    def _keep(self, event: bytes) -> bool:
        data = payload(event)
        if data is None:
            return self.meaningful  # a comment: keep-alive for the client once the answer runs
        try:
            seen = _event.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.Malformed(f"an event of the stream is not what it should be: {error}") from error
        if seen.type == "error":
            raise _failure(seen.error, data)
        if seen.type == "ping":
            return self.meaningful
        self._look(seen)
        if not self._relayed and (made := self._made(seen)) is not None:
            self._found.append(made)
        return True

    def _look(self, seen: _Event) -> None:
        kind, delta = seen.type, seen.delta
        if kind == "content_block_delta":
            if delta is not None and (delta.text or delta.thinking or delta.partial_json):
                self.events += 1
                self.meaningful = True
        elif kind == "content_block_start":
            block = seen.content_block
            if block is not None and block.type == "tool_use":
                self._tools.setdefault(seen.index, len(self._tools))
            if block is not None and block.type != "thinking" and (block.text or block.type != "text"):
                self.meaningful = True
        elif kind == "message_start":
            if seen.message is not None and seen.message.usage is not None:
                self._count(seen.message.usage)
        elif kind == "message_delta":
            if seen.usage is not None:
                self._count(seen.usage)
            if delta is not None and delta.stop_reason:
                self.finish, self.meaningful = finish_of(delta.stop_reason), True
        elif kind == "message_stop":
            self.done = self.finished = self.meaningful = True

    def _count(self, used: WireUsage) -> None:
        """Counts are cumulative: what comes later replaces, what is left out stands."""
        for name in WireUsage.__struct_fields__:
            value = getattr(used, name)
            if value is not None:
                setattr(self._wire, name, value)
        self.usage = self._wire.usage()

    def _made(self, seen: _Event) -> Event | None:
        """The event in our own shape; None for what only frames the others."""
        kind, delta = seen.type, seen.delta
        if kind == "content_block_delta" and delta is not None:
            if delta.type == "text_delta":
                return Event(text=delta.text)
            if delta.type == "thinking_delta":
                return Event(reasoning=delta.thinking)
            if delta.type == "signature_delta":
                return Event(delta={"thinking_signature": delta.signature})
            if delta.type == "input_json_delta" and seen.index in self._tools:
                return Event(
                    tool_calls=[
                        {"index": self._tools[seen.index], "function": {"arguments": delta.partial_json}}
                    ]
                )
        elif kind == "content_block_start" and seen.content_block is not None:
            return self._opened(seen.content_block, seen.index)
        elif kind == "message_delta" and delta is not None:
            return Event(finish=finish_of(delta.stop_reason) if delta.stop_reason else None, usage=self.usage)
        return None

    def _opened(self, block: _Start, index: int) -> Event | None:
        if block.type == "text" and block.text:
            return Event(text=block.text)
        if block.type != "tool_use":
            return None
        given = bytes(block.input).decode("utf-8", "replace")
        function = {"name": block.name, "arguments": "" if given in ("{}", "null") else given}
        call = {"index": self._tools[index], "id": block.id, "type": "function", "function": function}
        return Event(tool_calls=[call])


def _failure(error: _Error | None, data: bytes) -> errors.TargetFailed:
    """Before the commit point the next target may help, and how depends on what the error says it is."""
    kind = error.type if error is not None else ""
    failure = blames.blame(STATUSES.get(kind, 500), [], data, Behaviour())
    failure.args = (f"the provider reported an error inside its stream: {failure}",)
    return failure
