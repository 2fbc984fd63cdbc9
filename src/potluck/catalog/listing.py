"""What a host's `GET /models` says: ids, kinds, windows, and which rows it gives away. Pure.

Rules: what is not understood is left out. A row is free only when the host says so in numbers (both prices are
there and zero) or by an id that its catalog file vouches for; every other row is taken as paid. Prices above
zero are not read: hosts state them per token, per thousand or per million without saying which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Kind = Literal["chat", "embeddings", "other"]

MOST = 2000  # rows that become targets; the longest list known (OpenRouter, facts of 2026-11) has some 400
_CONTEXT = ("context_length", "context_window", "max_model_len", "max_context_length")
_PRICES = (("prompt", "completion"), ("input", "output"), ("input_price", "output_price"))
# `type` of a row, where a host states it (Together's list does), and names that say it without.
_TYPES: Mapping[str, Kind] = {
    "": "chat",
    "model": "chat",
    "chat": "chat",
    "language": "chat",
    "embedding": "embeddings",
    "embeddings": "embeddings",
}
_OTHER = re.compile(
    r"whisper|tts|dall-?e|image|moderation|rerank|realtime|transcribe|audio|speech|flux|sora|veo-|guard|"
    r"stable-diffusion|davinci|babbage",
    re.IGNORECASE,
)


class Listed(msgspec.Struct, frozen=True):
    """One row. `context` in tokens, 0 = not said. `free`: the host itself says that it costs nothing."""

    id: str
    context: int = 0
    kind: Kind = "chat"
    free: bool = False


def listed(body: bytes) -> list[Listed]:
    """The rows of an answer: `{"data": […]}` as OpenAI has it, or the bare array that some hosts send."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    rows = answer.get("data", answer.get("models")) if isinstance(answer, dict) else answer
    found = [_row(row) for row in (rows if isinstance(rows, list) else [])[:MOST] if isinstance(row, dict)]
    return [row for row in found if row.id]


def _row(row: dict[str, Any]) -> Listed:
    id = row.get("id")
    if not isinstance(id, str) or not id.isprintable() or len(id) > 200:
        return Listed("")
    stated = row.get("type")
    kind: Kind = _TYPES.get(stated if isinstance(stated, str) else "", "other")
    if kind == "chat" and _OTHER.search(id):
        kind = "other"
    contexts = (row.get(name) for name in _CONTEXT)
    context = next((n for n in contexts if type(n) is int and n > 0), 0)
    return Listed(id, context, kind, _free(row))


def _free(row: dict[str, Any]) -> bool:
    """Whether both prices are stated, and they and every price beside them are zero; what cannot be read is not."""
    stated = row.get("pricing")
    table = stated if isinstance(stated, dict) else row
    prices = [table[name] for pair in _PRICES if set(pair) <= table.keys() for name in pair]
    beside = table.values() if table is stated else ()  # per request, per image, per hour
    return bool(prices) and all(_zero(price) for price in (*prices, *beside))


def _zero(price: object) -> bool:
    if isinstance(price, bool) or not isinstance(price, int | float | str):
        return False
    try:
        return float(price) == 0.0
    except ValueError:
        return False
