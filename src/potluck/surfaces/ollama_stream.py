"""A stream of Ollama's lines, one JSON object each, and what its last line says.

Rules: `done` is true in one line only, the last of a whole answer. Durations are nanoseconds that passed on our
clock, from the request's arrival and the trace of its attempts; what was not measured is left out. Calls of tools are
gathered and written when the text is done: this format has no parts of a call.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.surfaces.anthropic_stream import BYTES_PER_TOKEN, Calls
from potluck.surfaces.ollama_parse import HIDDEN
from potluck.surfaces.surface import About
from potluck.types import Chunk, Usage

_encode = msgspec.json.Encoder().encode
_TEXT = {True: b',"message":{"role":"assistant","content":', False: b',"response":'}
_THOUGHT = {
    True: b',"message":{"role":"assistant","content":"","thinking":',
    False: b',"response":"","thinking":',
}
_END = {True: b'},"done":false}\n', False: b',"done":false}\n'}


def head(model: str, at: float) -> dict[str, Any]:
    """`at` in epoch seconds. All lines of an answer have the time of its request, as in the other formats."""
    return {"model": model, "created_at": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")}


def hides(about: About) -> bool:
    return about.request.native is not None and HIDDEN in about.request.native


def tool_calls(calls: Calls) -> list[dict[str, Any]]:
    """Arguments are an object here."""
    blocks = [call.block() for call in calls.all]
    return [
        {"id": block["id"], "function": {"index": n, "name": block["name"], "arguments": block["input"]}}
        for n, block in enumerate(blocks)
    ]


def closing(about: About, finish: str | None, usage: Usage | None, seen: int) -> dict[str, Any]:
    """What ends an answer. `seen`: bytes of it, for the count of tokens where no provider counted."""
    attempts = about.request.trace.attempts
    if usage is None and attempts:
        usage = attempts[-1].usage
    if usage is None:
        usage = Usage(about.request.tokens_in, seen // BYTES_PER_TOKEN + 1, estimated=True)
    reason = finish if finish in ("length", "content_filter") else "stop"
    said: dict[str, Any] = {"done": True, "done_reason": reason, **durations(about)}
    said |= {"prompt_eval_count": usage.input, "eval_count": usage.output}
    return {**said, "estimated": True} if usage.estimated else said


def durations(about: About) -> dict[str, int]:
    """Nanoseconds. `load_duration`: until the target that answered was asked (our queue, targets that failed).

    A stream tells reading the prompt (until its first token) from writing the answer; a JSON answer does not, and
    counts both as `eval_duration`.
    """
    if about.clock is None:
        return {}
    now = about.clock.monotonic()
    said = {"total_duration": _ns(now - about.began)}
    attempts = about.request.trace.attempts
    if not attempts or not attempts[-1].first:
        return said
    last = attempts[-1]
    said["load_duration"] = _ns(last.started - about.began)
    if about.request.stream:
        said["prompt_eval_duration"] = _ns(last.first - last.started)
        said["eval_duration"] = _ns(now - last.first)
    else:
        said["eval_duration"] = _ns(last.first - last.started)
    return said


def _ns(seconds: float) -> int:
    return max(0, int(seconds * 1e9))


class LineWriter:
    """Writes one stream, of `/api/chat` or of `/api/generate`."""

    __slots__ = (
        "_about",
        "_calls",
        "_chat",
        "_end",
        "_finish",
        "_head",
        "_hides",
        "_seen",
        "_text",
        "_usage",
    )

    def __init__(self, about: About, chat: bool) -> None:
        self._about, self._chat = about, chat
        self._head = _encode(head(about.model, about.at))[:-1]
        self._text, self._end = self._head + _TEXT[chat], _END[chat]
        self._calls: Calls | None = None
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._hides, self._seen = hides(about), 0

    def take(self, chunk: Chunk) -> bytes:
        out: list[bytes] = []
        for event in chunk.events:
            if event.reasoning:
                self._seen += len(event.reasoning)
                if not self._hides:
                    out.append(self._head + _THOUGHT[self._chat] + _encode(event.reasoning) + self._end)
            if event.text:
                said = _encode(event.text)
                self._seen += len(said) - 2
                out.append(self._text + said + self._end)
            if event.tool_calls:
                if self._calls is None:
                    self._calls = Calls(self._about)
                self._calls.take(event.tool_calls)
            self._finish, self._usage = event.finish or self._finish, event.usage or self._usage
        return b"".join(out)

    def ending(self) -> bytes:
        about, out = self._about, b""
        if self._calls is not None:
            calls = tool_calls(self._calls)
            self._seen += len(_encode(calls))
            message = {"role": "assistant", "content": "", "tool_calls": calls}
            line = {"message": message} if self._chat else {"response": "", "tool_calls": calls}
            out = _line({**head(about.model, about.at), **line, "done": False})
        said: dict[str, Any] = {"role": "assistant", "content": ""} if self._chat else {}
        last = {"message": said} if self._chat else {"response": ""}
        end = closing(about, self._finish, self._usage, self._seen)
        return out + _line({**head(about.model, about.at), **last, **end})

    def broke(self, error: PotluckError) -> bytes:
        return _line({"error": str(error)})


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value) + b"\n"
