"""Is this answer whole and right? The load generator asks it of every single answer.

Rule: each function returns None for a good answer and else a short reason, the same for the same mistake, so
that reasons can be counted. Spacing and extra members are a gateway's own business; words are not.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from bench.gateway import wire


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text | None = None
    delta: _Text | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Answer)


def answer_fault(body: bytes) -> str | None:
    """What is wrong with a JSON answer."""
    try:
        choices = _decoder.decode(body).choices
    except msgspec.MsgspecError:
        return "not the JSON of an answer"
    if len(choices) != 1 or choices[0].message is None or choices[0].message.content != wire.ANSWER:
        return "other text than the upstream sent"
    return None if choices[0].finish_reason == "stop" else "no finish reason"


@lru_cache
def _streamed_text(events: int) -> str:
    return "".join(wire.stream_words(events))


def stream_fault(body: bytes, events: int) -> str | None:
    """What is wrong with an SSE answer of `events` events (fewer, bigger events with the same words pass)."""
    words: list[str] = []
    finished = done = False
    for line in body.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if done:
            return "events after [DONE]"
        if data == b"[DONE]":
            done = True
            continue
        try:
            choices = _decoder.decode(data).choices
        except msgspec.MsgspecError:
            return "an event that is not a chunk"
        for choice in choices:
            words.append((choice.delta and choice.delta.content) or "")
            finished = finished or choice.finish_reason == "stop"
    if not done:
        return "stream ended without [DONE]"
    if "".join(words) != _streamed_text(events):
        return "other words than the upstream sent"
    return None if finished else "stream without finish reason"
