"""Ranks documents where no reranker can: by the cosine of embeddings, and says so.

Rules: a request of another kind costs one comparison. All vectors of one ranking come from one target, because those
of different models cannot be compared. A reranker that was named is never replaced; for `auto` and its like an
exhausted one is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import sqrt
from operator import mul
from typing import Any

import msgspec

from potluck.errors import Exhausted, Forbidden, Interrupted, Unsupported
from potluck.pipeline import Handler
from potluck.router import Pool
from potluck.types import Event, Reply, Request

TEXTS = 96  # a call: the smallest limit of the embedding providers in the catalog (Cohere 96, Google 100)
HOW = "cosine of embeddings"
_encode = msgspec.json.Encoder().encode


class Reranking:
    """Stands before dispatch. `pool` is what there is now."""

    def __init__(self, handler: Handler, pool: Callable[[], Pool]) -> None:
        self._handler, self._pool = handler, pool

    def __call__(self, request: Request) -> Awaitable[Reply]:
        return self._handler(request) if request.kind != "rerank" else self._rank(request)

    async def _rank(self, request: Request) -> Reply:
        """Raises what dispatch raises, and Unsupported where neither kind of model is there."""
        pool = self._pool()
        wish = pool.wish(request.model)
        embeds = bool(pool.candidates(wish, "embeddings"))
        if pool.candidates(wish, "rerank"):
            try:
                return await self._handler(request)
            except (Exhausted, Forbidden, Unsupported):
                if not embeds:  # also where a reranker was named: no embedding model has its name
                    raise
        if not embeds:
            raise Unsupported(
                f"Nothing here can rank documents for {request.model!r}: neither a reranker nor an embedding model. "
                "`potluck providers` shows which free key would add one; 'auto' takes any.",
                param="model",
            )
        return await self._by_vectors(request)

    async def _by_vectors(self, request: Request) -> Reply:
        texts = [request.decoded("query"), *request.decoded("documents")]
        calls = -(-len(texts) // TEXTS)
        asking = request.replace(budget=request.budget + calls - 1, kind="embeddings", tokens_out=0)
        vectors: list[Any] = []
        for start in range(0, len(texts), TEXTS):
            vectors += await self._embed(asking, texts[start : start + TEXTS], request.tokens_in // calls)
            asking = asking.replace(model=request.trace.attempts[-1].target)
        request.trace.notes["rerank"] = HOW
        scores = await asyncio.to_thread(
            cosines, vectors
        )  # beside the event loop: a thousand of them take 0.1 s
        rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        return Reply.of(Event(delta={"results": rows}))

    async def _embed(self, asking: Request, texts: list[str], tokens: int) -> list[Any]:
        """A vector for each text, in their order. Raises Interrupted for an answer that is not that."""
        body = {"model": msgspec.Raw(_encode(asking.model)), "input": msgspec.Raw(_encode(texts))}
        reply = await self._handler(asking.replace(body=body, tokens_in=max(1, tokens)))
        try:
            events = [event async for chunk in reply for event in chunk.events]
        finally:
            reply.close()
        rows = [row for event in events for row in (event.delta or {}).get("data", ())]
        found = {
            row.get("index", n): row.get("embedding") for n, row in enumerate(rows) if isinstance(row, dict)
        }
        vectors = [found.get(n) for n in range(len(texts))]
        if not all(map(is_vector, vectors)):
            raise Interrupted(
                f"{asking.trace.attempts[-1].target} did not answer with a vector for each document. Ask again, or "
                "name another embedding model."
            )
        return vectors


def is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(n) in (int, float) for n in value)


def cosines(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Of the first with each of the others, -1..1; 0 where one has no length. Raises Interrupted if sizes differ."""
    query, *rest = vectors
    if any(len(vector) != len(query) for vector in rest):
        raise Interrupted("The embedding model answered with vectors of different sizes. Ask again.")
    length = _length(query)
    return [
        sum(map(mul, query, one)) / (length * size) if length and (size := _length(one)) else 0.0
        for one in rest
    ]


def _length(vector: Sequence[float]) -> float:
    return sqrt(sum(map(mul, vector, vector)))
