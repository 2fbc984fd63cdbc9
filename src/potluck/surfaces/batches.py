"""OpenAI's Files and Batches as clients speak them: what a batch is asked for, and the objects that come back. Pure.

Source: OpenAI API reference and the types of its Python library (2026-11). Moments are whole epoch seconds, null
where they did not come.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from potluck.durations import duration
from potluck.errors import Invalid
from potluck.surfaces.openai import decode
from potluck.surfaces.routes import POSTS

ENDPOINTS = tuple(
    path
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
    if path in POSTS
)
PURPOSES = ("batch", "assistants", "fine-tune", "vision", "user_data", "evals")
SHORTEST, LONGEST = 60.0, 7 * 86_400.0  # seconds of a completion window; OpenAI has 24h alone
PAIRS, NAME, VALUE = 16, 64, 512  # of metadata: how many, and the longest, as OpenAI has it
SOONEST, LATEST = 3_600, 2_592_000  # seconds after which a file may be told to expire, as OpenAI has it


class Expiry(msgspec.Struct, frozen=True):
    anchor: str = "created_at"
    seconds: int = LATEST


class Create(msgspec.Struct, frozen=True):
    """A batch as it is asked for."""

    input_file_id: str
    endpoint: str
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    output_expires_after: Expiry | None = None

    @property
    def window(self) -> float:
        """Seconds."""
        return duration(self.completion_window) or 0.0


_create = msgspec.json.Decoder(Create)


def parse(body: bytes) -> Create:
    """Raises Invalid."""
    asked: Create = decode(_create, body)
    if asked.endpoint not in ENDPOINTS:
        raise Invalid(
            f"'endpoint' is {asked.endpoint[:80]!r}; batches are for {', '.join(ENDPOINTS)}.",
            param="endpoint",
        )
    if not SHORTEST <= asked.window <= LONGEST:
        raise Invalid(
            f"'completion_window' is {asked.completion_window[:40]!r}: write 24h, or any time from 1m to 7d.",
            param="completion_window",
        )
    pairs = asked.metadata or {}
    if len(pairs) > PAIRS or any(len(name) > NAME or len(value) > VALUE for name, value in pairs.items()):
        raise Invalid(
            f"'metadata' holds at most {PAIRS} pairs, names of {NAME} and values of {VALUE} characters.",
            param="metadata",
        )
    if asked.output_expires_after is not None:
        _expiry(asked.output_expires_after, "output_expires_after")
    return asked


def expiry(anchor: str | None, seconds: str | None) -> int:
    """Seconds that an upload is kept, by its `expires_after[…]` fields; 0 = nothing said. Raises Invalid."""
    if anchor is None and seconds is None:
        return 0
    digits = (seconds or "").strip()
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else 0
    return _expiry(Expiry(anchor or "", number), "expires_after")


def _expiry(said: Expiry, param: str) -> int:
    if said.anchor != "created_at" or not SOONEST <= said.seconds <= LATEST:
        raise Invalid(f"'{param}' has the anchor created_at and {SOONEST} to {LATEST} seconds.", param=param)
    return said.seconds


def moment(at: float) -> int | None:
    return math.floor(at) if at else None


def file_object(id: str, at: float, name: str, purpose: str, size: int, expires: float) -> dict[str, Any]:
    return {
        "id": id,
        "object": "file",
        "bytes": size,
        "created_at": math.floor(at),
        "expires_at": moment(expires),
        "filename": name,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }


def page(data: list[dict[str, Any]], more: bool) -> bytes:
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return msgspec.json.encode({"object": "list", "data": data, **ends, "has_more": more})


def never_asked(code: str, why: str) -> str:
    """The `error` of a line that was not asked, as JSON."""
    return msgspec.json.encode({"code": code, "message": why}).decode()


EXPIRED = never_asked(
    "batch_expired", "This request could not be executed before the completion window expired."
)
CANCELLED = never_asked("batch_cancelled", "The batch was cancelled before this request was executed.")
