"""Reads a Server-Sent Events stream of chat chunks: finds the commit point, the usage, the end, and lies.

Rules: every event is checked as JSON once, with a decoder that keeps only what we act on; the bytes that go
to the client are the provider's own. Framing is WHATWG HTML §9.2 (events end at a blank line; lines end in
LF, CRLF or CR; lines that start with a colon are comments). Providers send comments as keep-alives.
"""

from __future__ import annotations

from typing import Any

import msgspec

from potluck import errors
from potluck.types import Chunk, Event, Usage

MAX_EVENT_BYTES = 4 * 1024 * 1024  # an event longer than this is a broken or hostile peer
DONE = b"data: [DONE]\n\n"


class _Details(msgspec.Struct):
    cached_tokens: int | None = 0


class WireUsage(msgspec.Struct):
    """`usage` as it travels; token counts that a provider leaves out read as 0."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None
    estimated: bool | None = False  # ours, on an answer whose provider counted nothing

    def usage(self) -> Usage:
        given_in, given_out = self.prompt_tokens or 0, self.completion_tokens or 0
        # Some providers report only the total: the rest is charged as input, so nothing is under-counted.
        missing = max(0, (self.total_tokens or 0) - given_in - given_out)
        details = self.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return Usage(given_in + missing, given_out, cached, bool(self.estimated))


class _XUsage(msgspec.Struct):
    usage: WireUsage | None = None


class _Delta(msgspec.Struct):
    content: Any = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Peek(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: WireUsage | None = None
    x_groq: _XUsage | None = None
    error: msgspec.Raw = msgspec.Raw()  # a union with None would refuse everything but null


_peek = msgspec.json.Decoder(_Peek)


class SSEReader:
    """Feed it what arrived; it gives back chunks of whole events to forward.

    Before the commit point `meaningful` is False: nothing worth showing has come yet. `finished` is True
    once a finish reason or the terminator was seen: only then may the end of the body be taken as an end.
    """

    __slots__ = ("_keep_usage", "_rest", "done", "events", "finish", "finished", "meaningful", "usage")

    def __init__(self, *, keep_usage: bool) -> None:
        self._keep_usage = keep_usage
        self._rest = b""
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.finished = self.done = self.meaningful = False
        self.events = 0  # events with content: a floor for the tokens that were sent

    def feed(self, data: bytes) -> Chunk | None:
        """Whole events among what has arrived, or None. Raises TargetFailed on an error event or bad JSON."""
        if not self._rest and len(data) > 2 and data.find(b"\n\n") == len(data) - 2 and b"\r" not in data:
            return self._chunk(data) if self._keep(data[:-2]) else None  # one whole event: the usual case
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n\n") + 2
        if b"\r" in data:
            end = max(end, data.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)
        if end < 2:
            self._rest = data
            if len(data) > MAX_EVENT_BYTES:
                raise errors.Malformed("an event of the stream is larger than 4 MiB")
            return None
        self._rest = data[end:]
        return self._take(data[:end])

    def end(self) -> Chunk | None:
        """The body has ended: what is left, if it is a whole answer. Raises Malformed or Unavailable if cut."""
        rest, self._rest = self._rest, b""
        chunk = self._take(rest + b"\n\n") if rest.strip() else None
        if not self.finished:
            raise errors.Unavailable("the provider's stream ended before its answer did", status=200)
        return chunk

    def _take(self, block: bytes) -> Chunk | None:
        events = block.replace(b"\r\n", b"\n").split(b"\n\n") if b"\r" in block else block.split(b"\n\n")
        kept: list[bytes] = []
        dropped = False
        for event in events:
            if not event:
                continue
            if self._keep(event):
                kept.append(event)
            else:
                dropped = True
        if not kept:
            return None
        raw = block if not dropped else b"\n\n".join(kept) + b"\n\n"
        return self._chunk(raw)

    def _chunk(self, raw: bytes) -> Chunk:
        """What is handed on; a format that shares only the framing has its own."""
        return Chunk(raw, decode_block)

    def _keep(self, event: bytes) -> bool:
        """Looks at one event; False if it is not for the client."""
        data = payload(event)
        if data is None:
            return self.meaningful  # a comment: keep-alive for the client once the answer runs
        if data == b"[DONE]":
            self.done = self.finished = True
            return False  # the surface writes its own terminator, and only if the answer is whole
        try:
            peek = _peek.decode(data)
        except msgspec.ValidationError:
            peek = _lenient(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.Malformed(f"an event of the stream is not the JSON it should be: {error}") from error
        if peek.error and bytes(peek.error) != b"null":
            raise errors.Unavailable(
                f"the provider reported an error inside its stream: {_short(peek.error)}"
            )
        return self._note(peek)

    def _note(self, peek: _Peek) -> bool:
        used = peek.usage or (peek.x_groq.usage if peek.x_groq else None)
        if used is not None:
            self.usage = used.usage()
        for choice in peek.choices or ():
            delta = choice.delta
            if choice.finish_reason:
                self.finish, self.finished, self.meaningful = choice.finish_reason, True, True
            if delta and (
                delta.content
                or delta.tool_calls
                or delta.reasoning_content
                or delta.reasoning
                or delta.function_call
                or delta.refusal
            ):
                self.events += 1
                self.meaningful = True
        # A usage event with no choices surprises clients that did not ask for it (`choices[0]` fails).
        return bool(peek.choices) or self._keep_usage


def payload(event: bytes) -> bytes | None:
    """The data of one event (its `data:` lines joined), or None for a comment or a nameless line."""
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def decode_block(block: bytes) -> tuple[Event, ...]:
    """Every event of a block, decoded for a stage that wants to look."""
    found = []
    for event in block.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = payload(event)
        if data and data != b"[DONE]":
            found.append(decode_event(msgspec.json.decode(data)))
    return tuple(found)


def decode_event(data: Any) -> Event:
    """One chunk object as an Event; fields of the wrong type read as absent."""
    choice = (data.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    used = data.get("usage")
    content = delta.get("content")
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    return Event(
        text=content if isinstance(content, str) else "",
        reasoning=reasoning if isinstance(reasoning, str) else "",
        tool_calls=delta.get("tool_calls") or None,
        finish=choice.get("finish_reason"),
        usage=msgspec.convert(used, WireUsage).usage() if used else None,
        delta=delta,
    )


def _lenient(data: bytes) -> _Peek:
    """An event with a field of an unexpected type: what can be read of it is read, the rest passes through."""
    event = msgspec.json.decode(data)
    if not isinstance(event, dict):
        raise errors.Malformed("an event of the stream is not an object")
    kept = {}
    for name, type in _PEEKED.items():
        try:
            kept[name] = msgspec.convert(event.get(name), type, strict=False)
        except msgspec.ValidationError:
            kept[name] = [_Choice(_Delta(content=True))] if name == "choices" else None
    error = msgspec.Raw(msgspec.json.encode(event["error"])) if event.get("error") else msgspec.Raw()
    return _Peek(**kept, error=error)


_PEEKED: dict[str, Any] = {
    "choices": list[_Choice] | None,
    "usage": WireUsage | None,
    "x_groq": _XUsage | None,
}


def _short(raw: msgspec.Raw) -> str:
    return bytes(raw)[:300].decode("utf-8", "replace")
