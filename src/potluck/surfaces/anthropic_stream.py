"""A stream of Messages events, written from events of any other format.

Rules: blocks come one after the other and each is closed before the next opens, because that is how this format's
clients read them. `message_delta` and `message_stop` are written only when the answer is whole. A call of a tool
that comes before the last one's input is complete is held back, and written as soon as that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.surfaces.anthropic_names import LONGEST, join_id, short_name
from potluck.surfaces.anthropic_parse import DIALECT, tool_names
from potluck.surfaces.surface import About
from potluck.types import Chunk, Event, Usage

BYTES_PER_TOKEN = 4  # of an answer's text, where the provider counts nothing
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_encode = msgspec.json.Encoder().encode
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_END = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_TEXT = b'{"type":"text_delta","text":'
_THINKING = b'{"type":"thinking_delta","thinking":'
_EMPTY = {
    "text": b'{"type":"text","text":""}',
    "thinking": b'{"type":"thinking","thinking":"","signature":""}',
}


def stop_reason(finish: str | None, called: bool) -> str:
    """Some providers end a call of a tool with "stop"; a client of this format would then not run it."""
    if called and finish in ("stop", None):
        return "tool_use"
    return REASONS.get(finish or "stop", "end_turn")


def usage_of(usage: Usage) -> dict[str, Any]:
    """Here the tokens read from a cache are not among the input tokens."""
    said: dict[str, Any] = {
        "input_tokens": max(0, usage.input - usage.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    if usage.estimated:
        said["estimated"] = True
    return said


class Call:
    """One call of a tool, gathered from its deltas. `sent` counts the parts of its input that are written."""

    __slots__ = ("id", "input", "name", "raw_id", "sent")

    def __init__(self, raw_id: str, id: str, name: str) -> None:
        self.raw_id, self.id, self.name = raw_id, id, name
        self.input: list[str] = []
        self.sent = 0

    @property
    def complete(self) -> bool:
        """Whether its input has ended. One that has not begun has not: some providers send two calls interleaved."""
        return isinstance(self._decoded(), dict)

    def block(self) -> dict[str, Any]:
        """The whole block. An input that is no JSON object travels as text: the client can tell the model so."""
        given = self._decoded() if self.input else {}
        if not isinstance(given, dict):
            given = {"arguments": "".join(self.input)}
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": given}

    def _decoded(self) -> Any:
        try:
            return msgspec.json.decode("".join(self.input))
        except (msgspec.DecodeError, RecursionError):
            return None


class Calls:
    """The calls of one answer, told apart by `index`, or by `id` where a provider leaves out or repeats it."""

    __slots__ = ("_about", "_by_index", "all")

    def __init__(self, about: About) -> None:
        self._about, self._by_index = about, dict[int, Call]()
        self.all: list[Call] = []

    def take(self, deltas: Iterable[Any]) -> None:
        for delta in deltas:
            if not isinstance(delta, dict):
                continue
            function = delta.get("function")
            function = function if isinstance(function, dict) else {}
            call = self._of(delta, function)
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # some servers send the object instead of its text
                arguments = _encode(arguments).decode()
            if isinstance(arguments, str) and arguments:
                call.input.append(arguments)

    def _of(self, delta: dict[str, Any], function: dict[str, Any]) -> Call:
        index, id = delta.get("index"), delta.get("id") or ""
        known = self._by_index.get(index) if isinstance(index, int) else self.all[-1] if self.all else None
        if known is not None and (not id or id == known.raw_id):
            return known
        made = f"toolu_{self._about.id}_{len(self.all)}"
        call = Call(
            id, join_id(id or made, delta.get("extra_content")), self._named(function.get("name") or "")
        )
        self.all.append(call)
        if isinstance(index, int):
            self._by_index[index] = call
        return call

    def _named(self, name: str) -> str:
        """The client's own name of a tool whose name was shortened for the provider."""
        if len(name) != LONGEST:
            return name
        return next((own for own in tool_names(self._about.request.native) if short_name(own) == name), name)


class MessageWriter:
    """Writes one stream; what a provider of the same format sent is relayed as it came."""

    __slots__ = (
        "_about", "_calls", "_error", "_finish", "_held", "_index", "_open", "_prefix", "_relayed", "_seen", "_started",
        "_usage", "_written",
    )  # fmt: skip

    def __init__(self, about: About, error: Callable[[PotluckError], bytes]) -> None:
        self._about, self._error = about, error
        self._calls: Calls | None = None
        self._written = 0  # calls whose block is open or closed
        self._open = ""  # the kind of the block that is open: text | thinking | tool_use | ""
        self._index, self._prefix, self._seen = -1, b"", 0
        self._held: list[
            tuple[str, str]
        ] = []  # what was said before a call was complete: no block inside another
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._started = self._relayed = False

    def take(self, chunk: Chunk) -> bytes:
        if chunk.dialect == DIALECT and not chunk.whole:
            self._relayed = True
            return chunk.raw
        out: list[bytes] = [] if self._started else [self._start()]
        for event in chunk.events:
            self._take(event, out)
        return b"".join(out)

    def ending(self) -> bytes:
        if self._relayed:
            return b""  # the provider's own message_stop went by: without it the stream were cut
        out: list[bytes] = [] if self._started else [self._start()]
        if self._calls is not None:
            self._write_calls(out, last=True)
            self._close(out)
        for kind, text in self._held:
            self._say(kind, text, out)
        self._close(out)
        called = self._calls is not None
        delta = {"stop_reason": stop_reason(self._finish, called), "stop_sequence": None}
        usage = self._usage or Usage(
            self._about.request.tokens_in, self._seen // BYTES_PER_TOKEN + 1, estimated=True
        )
        said = _encode({"type": "message_delta", "delta": delta, "usage": usage_of(usage)})
        return b"".join((*out, b"event: message_delta\ndata: ", said, b"\n\n", STOP))

    def broke(self, error: PotluckError) -> bytes:
        return b"event: error\ndata: " + self._error(error) + b"\n\n"

    def _start(self) -> bytes:
        """What opens a stream. Its count of input tokens is our estimate; `message_delta` corrects it."""
        self._started = True
        about = self._about
        message: dict[str, Any] = {"id": f"msg_{about.id}", "type": "message", "role": "assistant"}
        message |= {"model": about.model, "content": [], "stop_reason": None, "stop_sequence": None}
        message["usage"] = usage_of(Usage(about.request.tokens_in))
        said = _encode({"type": "message_start", "message": message})
        return b"event: message_start\ndata: " + said + b"\n\n" + PING

    def _take(self, event: Event, out: list[bytes]) -> None:
        if event.reasoning:
            self._say("thinking", event.reasoning, out)
        delta = event.delta
        if delta is not None and "thinking_signature" in delta:
            self._sign(delta["thinking_signature"], out)
        if event.text:
            self._say("text", event.text, out)
        if event.tool_calls:
            if self._calls is None:
                self._calls = Calls(self._about)
            self._calls.take(event.tool_calls)
            self._write_calls(out, last=False)
        if event.finish:
            self._finish = event.finish
        if event.usage is not None:
            self._usage = event.usage

    def _say(self, kind: str, text: str, out: list[bytes]) -> None:
        if self._open != kind:
            if self._open == "tool_use" and not self._calls_complete():
                self._held.append((kind, text))
                return
            self._begin(kind, _EMPTY[kind], out)
            self._prefix = _DELTA % self._index + (_TEXT if kind == "text" else _THINKING)
        said = _encode(text)
        self._seen += len(said) - 2
        out.append(self._prefix + said + b"}}\n\n")

    def _sign(self, signature: Any, out: list[bytes]) -> None:
        if self._open != "thinking":
            self._begin("thinking", _EMPTY["thinking"], out)
            self._prefix = _DELTA % self._index + _THINKING
        said = _encode({"type": "signature_delta", "signature": signature})
        out.append(_DELTA % self._index + said + b"}\n\n")

    def _begin(self, kind: str, block: bytes, out: list[bytes]) -> None:
        self._close(out)
        self._index, self._open = self._index + 1, kind
        out.append(_START % (self._index, block))

    def _close(self, out: list[bytes]) -> None:
        if self._open:
            out.append(_END % self._index)
            self._open = ""

    def _calls_complete(self) -> bool:
        assert self._calls is not None
        return self._written == len(self._calls.all) and self._calls.all[-1].complete

    def _write_calls(self, out: list[bytes], *, last: bool) -> None:
        """Writes the call that is open, then opens the next ones as far as their turn has come."""
        assert self._calls is not None
        calls = self._calls.all
        while True:
            if self._written and self._open == "tool_use":
                self._input(calls[self._written - 1], out)
            if self._written == len(calls):
                return
            if self._open == "tool_use" and not last and not calls[self._written - 1].complete:
                return
            call = calls[self._written]
            self._written += 1
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            self._begin("tool_use", _encode(block), out)

    def _input(self, call: Call, out: list[bytes]) -> None:
        for part in call.input[call.sent :]:
            self._seen += len(part)
            said = _encode({"type": "input_json_delta", "partial_json": part})
            out.append(_DELTA % self._index + said + b"}\n\n")
        call.sent = len(call.input)
