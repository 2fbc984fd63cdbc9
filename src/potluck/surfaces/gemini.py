"""Gemini's generateContent as surfaces: whole answers, two kinds of stream, embeddings, errors, and pages about models.

Source: ai.google.dev/api (generate-content, embeddings, tokens, models), types of google-genai 3.4 (2026-11). The
part with more to it is `gemini_parse`. Rules: a call's `thoughtSignature` travels byte for byte both ways; a model's
thoughts are shown to those who asked for them (`includeThoughts`). Calls of tools come when the text is done: this
format has no parts of a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from potluck.errors import Invalid, PotluckError
from potluck.surfaces import openai
from potluck.surfaces.folding import Fold, text_signature
from potluck.surfaces.gemini_parse import field, listed, text, translated
from potluck.surfaces.ollama import vectors
from potluck.surfaces.surface import About, Asked
from potluck.types import Chunk, Event, Request, Trace

BELOW = "/v1beta/models/"
STABLE = "/v1/models/"  # the same methods under the address of the format's stable version
DIALECT = "gemini"
THOUGHTS = "includeThoughts"  # in `Request.native`: the client wants to see them
FINISHES = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Any])


def model_in(path: str) -> str:
    """The model that a path names: what stands between `models/` and the method."""
    return path.removeprefix(BELOW).removeprefix(STABLE).rpartition(":")[0]


class Generate:
    """`POST /v1beta/models/{model}:generateContent`."""

    name = "gemini"
    dialect: str | None = None
    stream_type = b"text/event-stream; charset=utf-8"
    stream = False

    def parse(self, asked: Asked, trace: Trace) -> Request:
        fields = body_of(asked.body)
        try:
            body = translated(fields) | {"model": model_in(asked.path) or "auto"}
        except RecursionError:
            raise Invalid("The body is nested too deeply. Send at most a few hundred levels.") from None
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.stream and body.get("n", 1) != 1:
            raise Invalid("A stream has one candidate: leave 'candidateCount' out.", param="candidateCount")
        request = openai.parse_chat(_encode(body), trace=trace)
        thinking = field(field(fields, "generationConfig") or {}, "thinkingConfig") or {}
        if not field(thinking, "includeThoughts"):
            return request
        return request.replace(native={THOUGHTS: msgspec.Raw(b"true")}, native_dialect=DIALECT)

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        folds: dict[int, tuple[Fold, list[dict[str, Any]]]] = {0: (Fold(), [])}
        for event in events:
            fold, parts = folds.setdefault(event.choice, (Fold(), []))
            fold.take(event)
            parts += said(event, about)
        candidates = [
            candidate(joined(parts) + calls(fold), number, fold.finish)
            for number, (fold, parts) in sorted(folds.items())
        ]
        return _encode({"candidates": candidates, **closing(folds[0][0], about), **head(about)})

    def writer(self, about: About) -> GeminiWriter:
        return GeminiWriter(about)

    def error(self, error: PotluckError) -> bytes:
        said = {"code": error.status, "message": str(error), "status": STATUSES.get(error.status, "INTERNAL")}
        detail = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": error.code,
            "domain": "potluck",
        }
        return _encode({"error": {**said, "details": [detail]}})


class StreamEvents(Generate):
    """`:streamGenerateContent?alt=sse`."""

    stream = True


class StreamArray(Generate):
    """`:streamGenerateContent`: one JSON array, written as it grows."""

    stream_type = b"application/json; charset=utf-8"
    stream = True

    def writer(self, about: About) -> GeminiWriter:
        return GeminiWriter(about, array=True)


class GeminiWriter:
    """Writes one stream, as events or as an array."""

    __slots__ = ("_about", "_array", "_begun", "_end", "_fold")

    def __init__(self, about: About, *, array: bool = False) -> None:
        self._about, self._array, self._begun = about, array, False
        self._fold = Fold()
        self._end = b'],"role":"model"},"index":0}],' + _encode(head(about))[1:]

    def take(self, chunk: Chunk) -> bytes:
        out = []
        for event in chunk.events:
            self._fold.take(event)
            parts = said(event, self._about)
            if parts:
                inner = b",".join([_encode(part) for part in parts])
                out.append(self._framed(b'{"candidates":[{"content":{"parts":[' + inner + self._end))
        return b"".join(out)

    def ending(self) -> bytes:
        fold = self._fold
        last = {"candidates": [candidate(calls(fold), 0, fold.finish)], **closing(fold, self._about)}
        out = self._framed(_encode({**last, **head(self._about)}))
        return out + b"]" if self._array else out

    def broke(self, error: PotluckError) -> bytes:
        """An error object where an answer was due; an array is left open, so that it reads as cut."""
        return self._framed(GENERATE.error(error))

    def _framed(self, one: bytes) -> bytes:
        if not self._array:
            return b"data: " + one + b"\r\n\r\n"
        begun, self._begun = self._begun, True
        return (b",\r\n" if begun else b"[") + one


class Embed:
    """`:embedContent` and `:batchEmbedContents`."""

    name = "gemini"
    dialect: str | None = None
    stream_type = b""

    def __init__(self, *, batch: bool) -> None:
        self._batch = batch

    def parse(self, asked: Asked, trace: Trace) -> Request:
        fields = body_of(asked.body)
        wanted = listed(fields, "requests") if self._batch else [fields]
        if not wanted:
            raise Invalid("'requests' is empty: send at least one content.", param="requests")
        texts = []
        for one in wanted:
            content = field(one, "content")
            parts = (
                [content]
                if isinstance(content, str)
                else [
                    text(field(part, "text"), "content.parts.text") for part in listed(content or {}, "parts")
                ]
            )
            if not any(parts):
                raise Invalid("A content has no text: only texts are embedded.", param="content")
            texts.append("\n".join(parts))
        body: dict[str, Any] = {"model": model_in(asked.path) or "auto", "input": texts}
        size = field(wanted[0], "outputDimensionality")
        if size is not None:
            body["dimensions"] = size
        return openai.parse_embeddings(_encode(body), trace=trace)

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        rows = [{"values": row} for row in vectors(events)]
        return _encode({"embeddings": rows} if self._batch else {"embedding": rows[0] if rows else {}})

    def writer(self, about: About) -> GeminiWriter:
        return GeminiWriter(about)

    def error(self, error: PotluckError) -> bytes:
        return GENERATE.error(error)


GENERATE = Generate()
METHODS: dict[str, Any] = {
    "generateContent": GENERATE,
    "embedContent": Embed(batch=False),
    "batchEmbedContents": Embed(batch=True),
}
EVENTS, ARRAY = StreamEvents(), StreamArray()


def surface_at(path: str, query: bytes) -> Any:
    """The surface of a path below `BELOW`, or None; a stream is one of events where the query asks for them."""
    method = path.rpartition(":")[2]
    if method == "streamGenerateContent":
        return EVENTS if b"alt=sse" in query else ARRAY
    return METHODS.get(method)


def body_of(raw: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = openai.decode(_object, raw)
    return fields


def said(event: Event, about: About) -> list[dict[str, Any]]:
    """What an event says, as parts; not its calls."""
    parts: list[dict[str, Any]] = []
    if event.reasoning and about.request.native is not None and THOUGHTS in about.request.native:
        parts.append({"text": event.reasoning, "thought": True})
    signature = text_signature(event)
    if event.text or signature:
        parts.append({"text": event.text, **({"thoughtSignature": signature} if signature else {})})
    return parts


def joined(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of one kind as one part."""
    found: list[dict[str, Any]] = []
    for part in parts:
        if found and "thoughtSignature" not in found[-1] and found[-1].get("thought") == part.get("thought"):
            found[-1] = {**part, "text": found[-1]["text"] + part["text"]}
        else:
            found.append(part)
    return found


def calls(fold: Fold) -> list[dict[str, Any]]:
    parts = []
    for call in fold.calls:
        made: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": call.decoded()}}
        parts.append(made | ({"thoughtSignature": call.signature} if call.signature else {}))
    return parts


def candidate(parts: list[dict[str, Any]], number: int, finish: str | None) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"}
    return {"content": content, "finishReason": FINISHES.get(finish or "", "STOP"), "index": number}


def closing(fold: Fold, about: About) -> dict[str, Any]:
    used = fold.used(about.request)
    counts = {
        "promptTokenCount": used.input,
        "candidatesTokenCount": used.output,
        "totalTokenCount": used.total,
    }
    return {"usageMetadata": {**counts, "estimated": True} if used.estimated else counts}


def head(about: About) -> dict[str, Any]:
    return {"modelVersion": about.model, "responseId": about.id}


def count_body(raw: bytes) -> bytes:
    """The generateContent body whose tokens `:countTokens` asks for."""
    fields = body_of(raw)
    inner = field(fields, "generateContentRequest")
    return _encode(inner if isinstance(inner, dict) else fields)


def render_model(name: str, window: int) -> dict[str, Any]:
    methods = [
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "embedContent",
        "batchEmbedContents",
    ]
    limits = {"inputTokenLimit": window} if window else {}
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        **limits,
        "supportedGenerationMethods": methods,
    }
