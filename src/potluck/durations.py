"""Reads the ways providers write "how long" and "until when".

Sources: facts of 2026-11-23 — Go durations ("2m59.56s", "194ms", "6m 11.52s"), plain and fractional seconds,
epoch seconds and milliseconds, HTTP-date (RFC 9110 §5.6.7), protobuf durations ("23s", "17.5s").
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")
_WHOLE = re.compile(rf"^\s*(?:{_PART.pattern})+$")
_NUMBER = re.compile(r"^\s*\d+(?:\.\d+)?\s*$")


def duration(text: str) -> float | None:
    """Seconds of "1h23m45.6s", "6m 11.52s", "194ms" or "26.28"; None if it is none of these."""
    if _NUMBER.match(text):
        return float(text)
    if not _WHOLE.match(text):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))


def retry_after(text: str, now: float) -> float | None:
    """Seconds of a Retry-After header: delay-seconds or an HTTP-date. `now` is epoch seconds."""
    seconds = duration(text)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
