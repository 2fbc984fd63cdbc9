"""Why a request does not wait, or waited in vain: sentences, each with a true `retry_after`."""

from __future__ import annotations

import math

from potluck.errors import Exhausted
from potluck.types import Request

_OPENS = frozenset({"full", "paced", "rate_limited"})  # outcomes that time alone puts right


def passes(request: Request, error: Exhausted) -> bool:
    """Whether room will open by itself: a quota stood in the way, and it is known when it comes back."""
    if error.retry_after is None:
        return False
    return error.status == 429 or any(attempt.outcome in _OPENS for attempt in request.trace.attempts)


def taken(model: str, before: int, seconds: float) -> Exhausted:
    return Exhausted(
        f"No target can serve {model!r} now, and {before} requests wait for it already.",
        retry_after=seconds,
        quota=True,
    )


def too_late(error: Exhausted, patience: float) -> Exhausted:
    return _but(
        error, f"It was to wait {math.ceil(patience)} s at most, and nothing is expected to open by then."
    )


def no_place(error: Exhausted, why: str) -> Exhausted:
    return _but(
        error, f"It cannot wait for that: {why}. Try again later, or raise [waiting] in potluck.toml."
    )


def in_vain(error: Exhausted, waited: float) -> Exhausted:
    return _but(error, f"It waited {waited:.1f} s in vain.")


def _but(error: Exhausted, why: str) -> Exhausted:
    return Exhausted(f"{error} {why}", retry_after=error.retry_after, quota=error.status == 429)
