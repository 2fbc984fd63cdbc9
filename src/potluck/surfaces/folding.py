"""Puts together what streams send in pieces, for formats that want it whole: tool calls, usage, the finish.

Rules: deltas are OpenAI's. Some upstreams leave `index` out: then an id opens a call and everything else belongs
to the one before. Usage that no provider reported is estimated from what was seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from potluck.types import Event, Request, Usage

BYTES_PER_TOKEN = 4.0  # of answered text; no tokenizer here, and English has about four


class Call(msgspec.Struct):
    """One tool call. `arguments` is JSON text; `extra` is the provider's opaque `extra_content`, as it came."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: Any = None

    def decoded(self) -> dict[str, Any]:
        """The arguments as an object; text that is no object stands under "arguments", so nothing is lost."""
        try:
            found = msgspec.json.decode(self.arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            return {"arguments": self.arguments}
        return found if isinstance(found, dict) else {"arguments": found}

    @property
    def signature(self) -> str:
        return signature_of(self.extra)


class Fold:
    """Fed every event of an answer in order; `calls`, `finish` and `usage` are what it came to."""

    __slots__ = ("_by_index", "calls", "finish", "size", "usage")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._by_index: dict[Any, Call] = {}
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.size = 0  # bytes of text, reasoning and arguments

    def take(self, event: Event) -> None:
        self.size += len(event.text) + len(event.reasoning)
        for delta in event.tool_calls or ():
            if isinstance(delta, dict):
                self._call(delta)
        self.finish = event.finish or self.finish
        self.usage = event.usage or self.usage

    def _call(self, delta: dict[str, Any]) -> None:
        index, id = delta.get("index"), delta.get("id")
        call = self._by_index.get(index) if index is not None else None
        if call is None and index is None and not id and self.calls:
            call = self.calls[-1]
        if call is None:
            call = Call()
            self.calls.append(call)
            if index is not None:
                self._by_index[index] = call
        function = delta.get("function")
        function = function if isinstance(function, dict) else {}
        call.id = call.id or str(id or "")
        call.name = call.name or str(function.get("name") or "")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.arguments += arguments
            self.size += len(arguments)
        elif isinstance(arguments, dict):
            call.arguments = msgspec.json.encode(arguments).decode()
        call.extra = delta.get("extra_content") or call.extra

    def used(self, request: Request) -> Usage:
        if self.usage is not None:
            return self.usage
        return Usage(request.tokens_in, int(self.size / BYTES_PER_TOKEN), estimated=True)


def folded(events: Iterable[Event]) -> tuple[Fold, str, str, str]:
    """A whole answer: the fold, its text, its reasoning, and the signature of its text, if one came."""
    fold, texts, thoughts, signature = Fold(), [], [], ""
    for event in events:
        fold.take(event)
        texts.append(event.text)
        thoughts.append(event.reasoning)
        signature = text_signature(event) or signature
    return fold, "".join(texts), "".join(thoughts), signature


def text_signature(event: Event) -> str:
    """The opaque signature beside an answer's text, "" if there is none."""
    return signature_of(event.delta.get("extra_content")) if event.delta else ""


def signature_of(extra: Any) -> str:
    """`extra_content` is keyed by vendor: the first signature among them."""
    for said in extra.values() if isinstance(extra, dict) else ():
        if isinstance(said, dict) and isinstance(said.get("thought_signature"), str):
            return str(said["thought_signature"])
    return ""
