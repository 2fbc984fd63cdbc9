"""Upstream wire formats: pure `encode`, `decode` and `blame`, chosen by the catalog's `dialect` field."""

from __future__ import annotations

from typing import Protocol

from potluck.dialects import anthropic, openai, rerank
from potluck.errors import TargetFailed
from potluck.types import Behaviour, Chunk, Request, Target, Usage

__all__ = ["DIALECTS", "Dialect", "StreamReader"]


class StreamReader(Protocol):
    """Reads one stream incrementally. `finished`: the answer ended as the format promises."""

    usage: Usage | None
    finish: str | None  # OpenAI's word for why it ended, once it has
    finished: bool
    done: bool
    meaningful: bool
    events: int

    def feed(self, data: bytes) -> Chunk | None: ...

    def end(self) -> Chunk | None: ...


class Dialect(Protocol):
    """Pure functions: bytes in, values out. Nothing here opens a socket or reads a clock."""

    def path(self, target: Target, kind: str, stream: bool) -> str: ...

    def encode(self, request: Request, target: Target) -> bytes: ...

    def whole(self, raw: bytes, kind: str) -> tuple[Chunk, Usage | None]: ...

    def reader(self, request: Request) -> StreamReader: ...

    def blame(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, behaviour: Behaviour
    ) -> TargetFailed: ...


DIALECTS: dict[str, Dialect] = {
    "openai": openai.OpenAI(),
    "anthropic": anthropic.Anthropic(),
    "rerank": rerank.Rerank(),
}
