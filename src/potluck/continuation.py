"""Goes on with a broken stream on another target, in the same response, where that is honest.

Rules: only plain text: no tools, no promised JSON, one choice, and words already shown. The next target is told what
was said so far and asked to go on; what it says is shown only if it joins (`seam.py`), after an event that names it
(`x_potluck.continued_by`). Where it does not join, the client gets the error it would have got.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from potluck import seam
from potluck.dialects.events import decode_block
from potluck.errors import Interrupted
from potluck.types import Chunk, Event, Reply, Request

GO_ON = (
    "Your last message was cut off. Go on from exactly where it stops: begin with the very next word, repeat nothing, "
    "explain nothing."
)
ENTIRE = frozenset(
    {"response_format", "tools", "functions", "logprobs", "n"}
)  # what no second half can be given
_encode = msgspec.json.Encoder().encode


def may_go_on(request: Request) -> bool:
    """Whether what was asked for can be finished by somebody else."""
    return request.stream and request.kind == "chat" and not ENTIRE & request.body.keys()


def said(chunks: Sequence[Chunk]) -> str:
    """The words shown so far; "" if something else was shown, too."""
    events = [event for chunk in chunks for event in chunk.events]
    if any(event.tool_calls or event.finish for event in events):
        return ""
    return "".join(event.text for event in events)


def further(request: Request, text: str) -> Request:
    """The request for the rest of an answer that begins with `text`."""
    messages = request.decoded("messages")
    messages += [{"role": "assistant", "content": text}, {"role": "user", "content": GO_ON}]
    body = {**request.body, "messages": msgspec.Raw(_encode(messages))}
    shown = len(text) // 4
    for name in ("max_tokens", "max_completion_tokens"):
        limit = request.decoded(name)
        if isinstance(limit, int):
            body[name] = msgspec.Raw(b"%d" % max(1, limit - shown))
    more = request.tokens_in + shown + len(GO_ON) // 4
    return request.replace(body=body, tokens_in=more, tokens_out=max(1, request.tokens_out - shown))


async def joined(before: str, reply: Reply, id: str, model: str) -> AsyncIterator[Chunk]:
    """The rest, if it is one. Raises Interrupted before anything is shown if it is not, or if that breaks, too."""
    held: list[Chunk] = []
    chunks, fresh, over = aiter(reply), "", False
    while not over and not seam.enough(before, fresh):
        chunk = await anext(chunks, None)
        if chunk is None:
            over = True
        else:
            held.append(chunk)
            fresh += chunk.text
    rest = seam.join(before, fresh)
    if rest is None:
        raise Interrupted("What the next target said was no continuation.")
    yield _mark(id, model)
    yield Chunk.of(Event(text=rest))
    for event in [event for chunk in held for event in chunk.events if event.finish or event.usage]:
        yield Chunk.of(Event(finish=event.finish, usage=event.usage))
    if not over:
        async for chunk in chunks:
            yield chunk


def _mark(id: str, target: str) -> Chunk:
    """An event that says who goes on; formats without a place for it leave it out."""
    event: dict[str, Any] = {"id": id, "object": "chat.completion.chunk", "created": 0, "model": target}
    event |= {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}
    event |= {"x_potluck": {"continued_by": target}}
    return Chunk(b"data: " + _encode(event) + b"\n\n", decode_block)
