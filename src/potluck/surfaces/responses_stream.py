"""A stream of Responses events, and the answer that they add up to.

Source: OpenAI API reference, Responses streaming events, read from the types of its Python SDK 3.54 (2026-11).
Rules: items come one after the other and each is done before the next is added; `sequence_number` rises by one with
every event. Calls of tools are gathered and written when the text is done: what a client runs, it runs whole.
`response.completed` is written only when the answer is whole.
"""

from __future__ import annotations

from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.surfaces.anthropic_stream import BYTES_PER_TOKEN, Calls
from potluck.surfaces.responses_fields import Tool
from potluck.surfaces.surface import About
from potluck.types import Chunk, Event, Usage

_encode = msgspec.json.Encoder().encode
_tools = msgspec.json.Decoder(list[Tool])
_FRAME = b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b\n\n'
_DEFAULTS: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": True, "temperature": None,
    "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": None, "truncation": "disabled",
    "user": None,
}  # fmt: skip
_RAW_DEFAULTS = {name: msgspec.Raw(_encode(value)) for name, value in _DEFAULTS.items()}
_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


def usage_of(usage: Usage) -> dict[str, Any]:
    said: dict[str, Any] = {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total,
    }
    if usage.estimated:
        said["estimated"] = True
    return said


class Answer:
    """One response object: what it says of itself, around its output."""

    __slots__ = ("_head", "about")

    def __init__(self, about: About) -> None:
        self.about = about
        native = about.request.native or {}
        said = {
            name: value if (value := native.get(name)) and bytes(value) != b"null" else default
            for name, default in _RAW_DEFAULTS.items()
        }
        head = {
            "id": f"resp_{about.id}",
            "object": "response",
            "created_at": int(about.at),
            "model": about.model,
        }
        self._head = _encode({**head, **said, "background": False})[:-1]

    def render(
        self,
        status: str,
        output: list[bytes],
        usage: Usage | None = None,
        reason: str = "",
        error: dict[str, Any] | None = None,
    ) -> bytes:
        tail = {
            "status": status,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": usage_of(usage) if usage else None,
        }
        return self._head + b',"output":[' + b",".join(output) + b"]," + _encode(tail)[1:]


class ResponseWriter:
    """Writes one stream. `whole` gives its answer as JSON instead."""

    __slots__ = (
        "_answer", "_calls", "_finish", "_item", "_kind", "_made", "_mid", "_output", "_parts", "_prefix", "_seen",
        "_sequence", "_usage",
    )  # fmt: skip

    def __init__(self, about: About) -> None:
        self._answer = Answer(about)
        self._calls: Calls | None = None
        self._output: list[bytes] = []  # items that are done
        self._kind, self._item = "", b""  # of the item that is open: text | reasoning | ""
        self._parts: list[str] = []
        self._prefix = self._mid = b""
        self._sequence = self._seen = 0
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._made = False

    def take(self, chunk: Chunk) -> bytes:
        out: list[bytes] = [] if self._made else self._start()
        for event in chunk.events:
            self._take(event, out)
        return b"".join(out)

    def ending(self) -> bytes:
        out: list[bytes] = [] if self._made else self._start()
        answer, status = self._complete(out)
        kept = self._answer.about.request.kept
        if kept is not None:
            kept.answer = answer
        self._say(b"response." + status.encode(), b'"response":' + answer + b"}", out)
        return b"".join(out)

    def whole(self, events: list[Event]) -> bytes:
        ignored: list[bytes] = []
        for event in events:
            self._take(event, ignored)
        answer, _ = self._complete(ignored)
        kept = self._answer.about.request.kept
        if kept is not None:
            kept.answer = answer
        return answer

    def broke(self, error: PotluckError) -> bytes:
        out: list[bytes] = [] if self._made else self._start()
        said = {"code": error.code, "message": str(error), "param": error.param}
        self._say(b"error", _encode(said)[1:], out)
        failed = self._answer.render(
            "failed", self._output, error={"code": error.code, "message": str(error)}
        )
        self._say(b"response.failed", b'"response":' + failed + b"}", out)
        return b"".join(out)

    def _start(self) -> list[bytes]:
        self._made = True
        out: list[bytes] = []
        opened = b'"response":' + self._answer.render("in_progress", []) + b"}"
        self._say(b"response.created", opened, out)
        self._say(b"response.in_progress", opened, out)
        return out

    def _say(self, kind: bytes, rest: bytes, out: list[bytes]) -> None:
        out.append(_FRAME % (kind, kind, self._sequence, rest))
        self._sequence += 1

    def _take(self, event: Event, out: list[bytes]) -> None:
        if event.reasoning:
            self._delta("reasoning", event.reasoning, out)
        if event.text:
            self._delta("text", event.text, out)
        if event.tool_calls:
            if self._calls is None:
                self._calls = Calls(self._answer.about)
            self._calls.take(event.tool_calls)
        if event.finish:
            self._finish = event.finish
        if event.usage is not None:
            self._usage = event.usage

    def _delta(self, kind: str, text: str, out: list[bytes]) -> None:
        if self._kind != kind:
            self._close(out, "completed")
            self._open(kind, out)
        self._parts.append(text)
        said = _encode(text)
        self._seen += len(said) - 2
        out.append(self._prefix % self._sequence + said + self._mid)
        self._sequence += 1

    def _open(self, kind: str, out: list[bytes]) -> None:
        self._kind, self._parts = kind, []
        index = len(self._output)
        name = ("msg" if kind == "text" else "rs") + f"_{self._answer.about.id}_{index}"
        at = b'"item_id":"%b","output_index":%d,' % (name.encode(), index)
        self._item = at
        if kind == "text":
            item = _message(name, "in_progress", [])
            event, part = b"response.output_text.delta", b'"content_index":0,"part":%b}' % _encode(_text(""))
            at, self._mid = at + b'"content_index":0,"logprobs":[],', b"}\n\n"
            added = b"response.content_part.added"
        else:
            item = {"id": name, "type": "reasoning", "summary": []}
            event, part = (
                b"response.reasoning_summary_text.delta",
                b'"summary_index":0,"part":{"type":"summary_text","text":""}}',
            )
            at, self._mid = at + b'"summary_index":0,', b"}\n\n"
            added = b"response.reasoning_summary_part.added"
        self._say(
            b"response.output_item.added", b'"output_index":%d,"item":%b}' % (index, _encode(item)), out
        )
        self._say(added, self._item + part, out)
        head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (event, event)
        self._prefix = head + b"%d," + at + b'"delta":'

    def _close(self, out: list[bytes], status: str) -> None:
        """Ends the item that is open."""
        if not self._kind:
            return
        text, index = "".join(self._parts), len(self._output)
        said = _encode(text)
        if self._kind == "text":
            name, part = f"msg_{self._answer.about.id}_{index}", _text(text)
            item: dict[str, Any] = _message(name, status, [part])
            at = self._item + b'"content_index":0,'
            done = (b"response.output_text.done", b"response.content_part.done")
            self._say(done[0], at + b'"logprobs":[],"text":' + said + b"}", out)
        else:
            name, part = f"rs_{self._answer.about.id}_{index}", {"type": "summary_text", "text": text}
            item = {"id": name, "type": "reasoning", "summary": [part]}
            at = self._item + b'"summary_index":0,'
            done = (b"response.reasoning_summary_text.done", b"response.reasoning_summary_part.done")
            self._say(done[0], at + b'"text":' + said + b"}", out)
        self._say(done[1], at + b'"part":' + _encode(part) + b"}", out)
        self._done(_encode(item), out)
        self._kind = ""

    def _done(self, item: bytes, out: list[bytes]) -> None:
        self._say(
            b"response.output_item.done", b'"output_index":%d,"item":%b}' % (len(self._output), item), out
        )
        self._output.append(item)

    def _write_calls(self, calls: Calls, out: list[bytes], status: str) -> None:
        raw = (self._answer.about.request.native or {}).get("tools")
        custom = {tool.name for tool in _tools.decode(raw) if tool.type == "custom"} if raw else set()
        for call in calls.all:
            given, index = "".join(call.input), len(self._output)
            kind, field, event = "function_call", "arguments", b"response.function_call_arguments"
            id = f"fc_{self._answer.about.id}_{index}"
            if call.name in custom:
                kind, field, event = "custom_tool_call", "input", b"response.custom_tool_call_input"
                given = _input(given)
            self._seen += len(given)
            item = {
                "id": id,
                "type": kind,
                "status": "in_progress",
                "call_id": call.id,
                "name": call.name,
                field: "",
            }
            opened = b'"output_index":%d,"item":%b}' % (index, _encode(item))
            self._say(b"response.output_item.added", opened, out)
            at = {"item_id": id, "output_index": index}
            self._say(event + b".delta", _encode({**at, "delta": given})[1:], out)
            self._say(event + b".done", _encode({**at, "name": call.name, field: given})[1:], out)
            self._done(_encode({**item, "status": status, field: given}), out)

    def _complete(self, out: list[bytes]) -> tuple[bytes, str]:
        """The response object, and its status."""
        reason = _CUT.get(self._finish or "", "")
        status = "incomplete" if reason else "completed"
        if not self._kind and not self._output and self._calls is None:
            self._open("text", out)  # an empty answer is still a message
        self._close(out, status)
        if self._calls is not None:
            self._write_calls(self._calls, out, status)
        request = self._answer.about.request
        attempts = request.trace.attempts
        usage = self._usage or (attempts[-1].usage if attempts else None)
        usage = usage or Usage(request.tokens_in, self._seen // BYTES_PER_TOKEN + 1, estimated=True)
        return self._answer.render(status, self._output, usage, reason), status


def _message(id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": id, "type": "message", "role": "assistant", "status": status, "content": content}


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _input(arguments: str) -> str:
    """The text of a custom tool's call, which rode in a JSON object; what is none is given as it came."""
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = given.get("input") if isinstance(given, dict) else None
    return text if isinstance(text, str) else arguments
