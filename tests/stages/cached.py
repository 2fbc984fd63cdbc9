"""What the cache's tests share: a clock that is told the time, a model that counts its calls, and requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from potluck.dialects.events import decode_block
from potluck.stages.cache import Cache, Rules
from potluck.store.cache import SqliteAnswers
from potluck.techniques import Cache as Said
from potluck.types import Attempt, Chunk, Event, Reply, Request, Trace, Usage

NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC
MIB = 1024 * 1024


class Clock:
    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Model:
    """The rest of the pipeline. `answer` is said to whatever is asked; `gate` holds answers back until it is set."""

    def __init__(self, answer: str = "Paris", **fields: Any) -> None:
        self.answer, self.fields = answer, fields
        self.calls, self.closed = 0, 0
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.failure: Exception | None = None
        self.cut: Exception | None = None  # raised in the middle of a stream
        self.seen: list[Request] = []

    async def __call__(self, request: Request) -> Reply:
        self.calls += 1
        self.seen.append(request)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        attempt = Attempt("acme/m", "ok")
        request.trace.attempts.append(attempt)
        if not request.stream:
            attempt.usage = Usage(10, 5)
            event = Event(text=self.answer, finish="stop", usage=Usage(10, 5))
            return Reply.of(msgspec.structs.replace(event, **self.fields))

        def close() -> None:
            self.closed += 1
            attempt.usage = Usage(10, 5)

        return Reply(self._streamed(), close)

    async def _streamed(self) -> AsyncIterator[Chunk]:
        for letter in self.answer:
            yield raw_chunk({"role": "assistant", "content": letter})
        if self.cut is not None:
            raise self.cut
        yield raw_chunk({}, finish=self.fields.get("finish", "stop"))


def raw_chunk(delta: dict[str, Any], finish: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return Chunk(b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n", decode_block)


def ask(text: str = "What is the capital of France?", **fields: Any) -> Request:
    """A chat request of tenant "t"; `fields` are those of the request or of its body."""
    own = {name: fields.pop(name) for name in list(fields) if name in Request.__struct_fields__}
    body = {"messages": [{"role": "user", "content": text}], **fields}
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}
    return Request(own.pop("model", "auto"), raw, **{"tenant": "t", "trace": Trace(id="r"), **own})


async def said(reply: Reply) -> str:
    """The whole text; the reply is closed, as the server does it."""
    try:
        return "".join([chunk.text async for chunk in reply])
    finally:
        reply.close()


async def outcome(cache: Cache, model: Model, request: Request) -> str:
    """Asks, reads the answer to its end, and says what the cache did."""
    await said(await cache(request, model))
    return request.trace.notes["cache"]


def a_cache(path: Path, clock: Clock, *, below: bytes = b"", **fields: Any) -> Cache:
    settings = Said(**fields)
    store = SqliteAnswers(path / "cache.sqlite", max_bytes=settings.max_bytes)
    return Cache(store, clock, Rules(settings, below))


Opener = Callable[..., Cache]
