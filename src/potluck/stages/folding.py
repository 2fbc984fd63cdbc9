"""A whole answer as one JSON text, however it came, and that text as a reply again. Pure.

Rules: only whole answers fold: a finish reason of `stop` or `tool_calls`, something in it, and nothing that this form
cannot say. What `length` or a filter cut, what broke off, and fields that we do not know are not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from potluck.dialects.openai import decode_vectors, decode_whole
from potluck.errors import PotluckError
from potluck.surfaces.openai import render_whole
from potluck.types import Chunk, Event, Reply, Usage

WHOLE = frozenset({"stop", "tool_calls", "function_call"})
SAID = frozenset(
    {"role", "content", "reasoning_content", "reasoning", "tool_calls"}
)  # what a fold keeps of a delta
PIECE = 2_000  # characters of text in one event of a stream that is given again


class Folded(msgspec.Struct, frozen=True):
    """`answer` is JSON of Chat Completions or Embeddings; `usage` as the provider said, if it did."""

    answer: bytes
    finish: str
    usage: Usage | None


def folded(chunks: Sequence[Chunk], kind: str, *, id: str, model: str, created: int) -> Folded | None:
    """None for what must not be stored."""
    try:
        if len(chunks) == 1 and chunks[0].whole and chunks[0].dialect == "openai":
            return _verbatim(chunks[0], kind)
        if kind != "chat":
            return None
        event = merged((event for chunk in chunks for event in chunk.events), strict=_foreign(chunks))
    except (PotluckError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError):
        return None  # the client got what the provider sent; it is only not worth keeping
    if event is None or event.finish not in WHOLE:
        return None
    return Folded(render_whole([event], id=id, model=model, created=created), event.finish or "", event.usage)


def given(answer: bytes, kind: str, *, stream: bool) -> Reply:
    """The stored answer as the client wants it."""
    if not stream:
        return Reply(
            None, whole=Chunk(answer, decode_vectors if kind == "embeddings" else decode_whole, whole=True)
        )
    return Reply.of(*_pieces(decode_whole(answer)[0]))


def text(answer: bytes) -> str:
    """What the answer says, without its reasoning."""
    return decode_whole(answer)[0].text


def merged(events: Iterable[Event], *, strict: bool = False) -> Event | None:
    """One event with all that the stream said; None where it said what cannot be merged.

    `strict`: reasoning cannot be merged either, because this format signs it.
    """
    texts: list[str] = []
    reasons: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    finish, usage = None, None
    for event in events:
        if event.error or any(value for name, value in (event.delta or {}).items() if name not in SAID):
            return None
        texts.append(event.text)
        reasons.append(event.reasoning)
        for call in event.tool_calls or ():
            _add(calls, call)
        finish, usage = event.finish or finish, event.usage or usage
    if strict and any(reasons):
        return None
    tools = [calls[index] for index in sorted(calls)]
    said = "".join(texts)
    if not (said or tools):
        return None
    return Event(text=said, reasoning="".join(reasons), tool_calls=tools or None, finish=finish, usage=usage)


def _verbatim(chunk: Chunk, kind: str) -> Folded | None:
    event = chunk.events[0]
    if kind == "embeddings":
        return Folded(chunk.raw, "stop", event.usage)
    if event.finish not in WHOLE or not (event.text or event.tool_calls):
        return None
    return Folded(chunk.raw, event.finish or "", event.usage)


def _foreign(chunks: Sequence[Chunk]) -> bool:
    return any(chunk.dialect not in ("openai", "") for chunk in chunks)


def _add(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    """A piece of a tool call to its beginning: `arguments` grow, everything else is said once."""
    index = piece.get("index")
    if not isinstance(index, int):
        index = len(calls)
    function = dict(piece.get("function") or {})
    known = calls.get(index)
    if known is None:
        whole = {name: value for name, value in piece.items() if name != "index"}
        calls[index] = {"type": "function", **whole, "function": {"arguments": "", **function}}
        return
    known["function"]["arguments"] += function.get("arguments") or ""
    for name, value in piece.items():
        if name not in ("index", "function") and value and not known.get(name):
            known[name] = value


def _pieces(event: Event) -> list[Event]:
    """The answer as events of a stream: text in pieces, then how it ended."""
    said = event.text
    pieces = [Event(text=said[start : start + PIECE]) for start in range(0, len(said), PIECE)]
    if event.reasoning:
        pieces.insert(0, Event(reasoning=event.reasoning))
    if event.tool_calls:
        pieces.append(Event(tool_calls=event.tool_calls))
    pieces.append(Event(finish=event.finish, usage=event.usage))
    return pieces
