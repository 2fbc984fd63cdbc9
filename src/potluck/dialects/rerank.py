"""Rerankers as most of their providers speak: encode a query with documents, read the scores.

Source: Cohere API reference (v2/rerank); Jina, vLLM and llama.cpp answer in the same shape, Voyage with `data` in
place of `results` (2026-11).
"""

from __future__ import annotations

import msgspec

from potluck import errors
from potluck.dialects import blame as blames
from potluck.dialects.events import SSEReader
from potluck.types import Behaviour, Chunk, Event, Request, Target, Usage

PATH = "/rerank"
_encode = msgspec.json.Encoder().encode


class _Row(msgspec.Struct):
    index: int
    relevance_score: float


class _Usage(msgspec.Struct):
    total_tokens: int = 0


class _Ranking(msgspec.Struct):
    results: list[_Row] | None = None
    data: list[_Row] | None = None
    usage: _Usage | None = None


_ranking = msgspec.json.Decoder(_Ranking)


class Rerank:
    """The dialect of every target of this kind, whatever its provider's chats speak."""

    def path(self, target: Target, kind: str, stream: bool) -> str:
        return PATH

    def encode(self, request: Request, target: Target) -> bytes:
        """The texts are not asked for again: the surface still has them."""
        return _encode({"model": target.model, **request.body})

    def whole(self, raw: bytes, kind: str) -> tuple[Chunk, Usage | None]:
        """Raises Malformed. Most bill by search and count no tokens: usage is then None."""
        try:
            ranking = _ranking.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise blames.of_whole(raw, str(error)) from error
        if not (ranking.results or ranking.data):
            raise errors.Malformed("the provider answered 200 with no results in it", status=200)
        used = ranking.usage.total_tokens if ranking.usage else 0
        return Chunk(raw, decode, dialect="rerank", whole=True), Usage(used) if used > 0 else None

    def reader(self, request: Request) -> SSEReader:
        return SSEReader(keep_usage=False)  # nobody streams a ranking; the protocol wants one

    def blame(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, behaviour: Behaviour
    ) -> errors.TargetFailed:
        return blames.blame(status, headers, body, behaviour)


def decode(raw: bytes) -> tuple[Event, ...]:
    """The one event of a ranking: `delta` has its `results`, rows of index and relevance_score."""
    ranking = _ranking.decode(raw)
    rows = msgspec.to_builtins(ranking.results or ranking.data or [])
    return (Event(delta={"results": rows}),)
