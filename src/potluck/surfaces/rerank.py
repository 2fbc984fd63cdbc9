"""Rerank as a surface: a query and documents in, the documents' places by relevance out.

Source: Cohere API reference (v1 and v2 rerank) and Jina's, which agree on these fields (2026-11). Rules: the answer
says in `meta.ranked_by` whether a reranker or embeddings decided, since their scores cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from potluck.errors import Invalid
from potluck.surfaces import openai
from potluck.surfaces.chat import ChatCompletions
from potluck.surfaces.surface import About, Asked
from potluck.types import Event, Request, Trace

MOST = 1000  # documents a request; Cohere recommends no more (API reference, 2026-11)
DIALECT = "rerank"
SHOW = "return_documents"  # in `Request.native`: the client wants the texts back
NOTE = "rerank"  # in `Trace.notes`, and so a header: how it was ranked, where no reranker did it
_encode = msgspec.json.Encoder().encode


class _Document(msgspec.Struct):
    text: str


class _Asking(msgspec.Struct):
    query: str
    documents: list[str | _Document]
    model: str = "auto"
    top_n: int | None = None
    return_documents: bool | None = False


_asking = msgspec.json.Decoder(_Asking)
_texts = msgspec.json.Decoder(list[str])


class Rerank(ChatCompletions):
    """`POST /v1/rerank`, also `/v2/rerank`. Errors are OpenAI's, which both formats' clients print."""

    name = "rerank"
    dialect: str | None = None

    def parse(self, asked: Asked, trace: Trace) -> Request:
        asking: _Asking = openai.decode(_asking, asked.body)
        if not asking.query:
            raise Invalid("'query' is empty: send the text that documents are ranked by.", param="query")
        if not 1 <= len(asking.documents) <= MOST:
            raise Invalid(
                f"'documents' holds {len(asking.documents)}: send 1 to {MOST} of them.", param="documents"
            )
        if asking.top_n is not None and asking.top_n < 1:
            raise Invalid(f"'top_n' is {asking.top_n}: it must be at least 1.", param="top_n")
        texts = [one if isinstance(one, str) else one.text for one in asking.documents]
        body = {"query": msgspec.Raw(_encode(asking.query)), "documents": msgspec.Raw(_encode(texts))}
        if asking.top_n is not None:
            body["top_n"] = msgspec.Raw(b"%d" % min(asking.top_n, len(texts)))
        return Request(
            model=asking.model or "auto",
            body=body,
            kind="rerank",
            tokens_in=int((len(body["query"]) + len(body["documents"])) / openai.BYTES_PER_TOKEN) + 4,
            native={SHOW: msgspec.Raw(b"true")} if asking.return_documents else None,
            native_dialect=DIALECT if asking.return_documents else "",
            trace=trace,
        )

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        request = about.request
        texts = _texts.decode(request.body["documents"])
        shows = request.native is not None and SHOW in request.native
        results: list[dict[str, Any]] = []
        for index, score in ranked(events, len(texts))[: request.decoded("top_n", len(texts))]:
            row: dict[str, Any] = {"index": index, "relevance_score": score}
            results.append({**row, "document": {"text": texts[index]}} if shows else row)
        used = sum(attempt.usage.total for attempt in request.trace.attempts if attempt.usage)
        by = "embeddings" if NOTE in request.trace.notes else "reranker"
        return _encode(
            {
                "id": f"rerank-{about.id}",
                "model": about.model,
                "results": results,
                "usage": {"total_tokens": used},
                "meta": {"api_version": {"version": "2"}, "ranked_by": by},
            }
        )


def ranked(events: Sequence[Event], count: int) -> list[tuple[int, float]]:
    """Index and score, best first; what names no document of the request is left out."""
    rows = [row for event in events for row in (event.delta or {}).get("results", ())]
    found = {row["index"]: row["relevance_score"] for row in rows if 0 <= row["index"] < count}
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
