"""OpenAI's Responses as a surface: its requests, answers and streams, and what is stored of them.

Source: OpenAI API reference, Responses. The parts with more to them are `responses_parse` and `responses_stream`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.surfaces import openai
from potluck.surfaces.responses_parse import parse
from potluck.surfaces.responses_stream import ResponseWriter
from potluck.surfaces.surface import About, Asked
from potluck.types import Event, Request, Trace

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class Responses:
    """`POST /v1/responses`."""

    name = "responses"
    dialect: str | None = None  # no provider is asked in it
    stream_type = b"text/event-stream; charset=utf-8"

    def parse(self, asked: Asked, trace: Trace) -> Request:
        return parse(asked.body, trace=trace)

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        return ResponseWriter(about).whole(list(events))

    def writer(self, about: About) -> ResponseWriter:
        return ResponseWriter(about)

    def error(self, error: PotluckError) -> bytes:
        return openai.render_error(error)


def continued(request: Request, turns: Sequence[tuple[bytes, bytes]]) -> Request:
    """The same request after earlier turns, oldest first: each its input items and its answer."""
    kept = request.kept
    assert kept is not None
    history: list[bytes] = []
    for items, answer in turns:
        history += (items, bytes(_fields.decode(answer)["output"]))
    again = parse(kept.asked, trace=request.trace, history=history)
    return request.replace(
        body=again.body,
        tokens_in=again.tokens_in,
        needs=again.needs,
        native=again.native,
    )


def items_of(body: bytes, id: str) -> bytes:
    """The input of a request as a JSON list of items, each with an id. `id`: of the response, without prefix."""
    raw = _fields.decode(body).get("input", msgspec.Raw(b"null"))
    given = msgspec.json.decode(raw)
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    made: list[dict[str, Any]] = []
    for place, item in enumerate(given or ()):
        kind = item.get("type") or "message"
        made.append({**item, "id": item.get("id") or f"item_{id}_{place}", "type": kind})
        if kind == "message" and isinstance(item.get("content"), str):
            part = "output_text" if item.get("role") == "assistant" else "input_text"
            made[-1]["content"] = [{"type": part, "text": item["content"]}]
    return _encode(made)
