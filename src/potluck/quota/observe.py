"""What a provider's headers and refusals teach: pure readings, without opinion about what to do with them.

Rules: a header we cannot read is no header. Names, units and windows of headers are facts of the catalog
(`Behaviour.rate_headers`); formats seen in the wild are listed in `reset_seconds`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime

import msgspec

from potluck.errors import Busy, Denied, Gone, NeverFits, OutOfCredit, RateLimited, TargetFailed
from potluck.quota.windows import DAY, MONTH, length
from potluck.types import Quota, RateHeader

SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": DAY, "month": MONTH}
HOUR = 3600.0
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|µs|ns|d|h|m|s)\s*", re.ASCII)
_UNITS = {"d": DAY, "h": HOUR, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


class Reading(msgspec.Struct):
    """What one answer said about one quota; -1 = nothing. `resets_at` is in epoch seconds, 0 = nothing."""

    unit: str
    window: str
    limit: int = -1
    remaining: int = -1
    resets_at: float = 0.0


class Verdict(msgspec.Struct, frozen=True):
    """What a refusal closes. `means` "" = the target itself, for `seconds`; else a quota of that window and
    `unit`.

    `seconds` 0 = nobody said. `key` = every target of the same key is concerned. `size`: only requests this
    big.
    """

    means: str = ""
    unit: str = ""
    seconds: float = 0.0
    why: str = ""
    key: bool = False
    size: bool = False


def reset_seconds(text: str, format: str, now: float) -> float | None:
    """Seconds from `now` until a reset, never negative; None if it cannot be read.

    `format`: seconds ("26.284") | duration ("2m59.56s", "6m 11.52s", "194ms", protobuf's "23s") | epoch |
    epoch_ms | http_date. Providers change these without notice, so a number too big for a delay is read as an
    epoch, a unit is honoured where plain seconds were announced, and `Retry-After` may always be a date (RFC
    9110, 10.2.3).
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        value = float(text)
        if format == "epoch_ms" or value > 1e11:
            return max(0.0, value / 1000 - now)
        if format == "epoch" or value > 1e9:
            return max(0.0, value - now)
        return value
    if parts := _PART.findall(text):
        whole = "".join(f"{number}{unit}" for number, unit in parts)
        if whole == re.sub(r"\s", "", text):
            return math.fsum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None


def count(text: str) -> int:
    """A limit or remaining value: "20", "20.0", "20, 20;w=60" (RFC 9331's draft form); -1 if it cannot be
    read.
    """
    found = _NUMBER.match(text.strip())
    return int(float(found.group())) if found and len(found.group()) < 19 else -1


def readings(
    rules: Mapping[bytes, RateHeader], headers: Iterable[tuple[bytes, bytes]], now: float
) -> Sequence[Reading]:
    """Everything the headers of one answer say, one reading per unit and window. `rules` is by lower-case
    name.
    """
    found: dict[tuple[str, str], Reading] = {}
    for name, value in headers:
        rule = rules.get(name) or rules.get(name.lower())
        if rule is None or rule.field not in ("limit", "remaining", "reset"):
            continue
        key = (rule.unit, rule.window)
        reading = found.get(key)
        if reading is None:
            reading = found[key] = Reading(rule.unit, rule.window)
        text = value.decode("latin-1")
        if rule.field == "limit":
            reading.limit = count(text)
        elif rule.field == "remaining":
            reading.remaining = count(text)
        elif (seconds := reset_seconds(text, rule.format, now)) is not None:
            reading.resets_at = now + seconds
    return list(found.values())


def matches(quota: Quota, unit: str, window: str) -> bool:
    """Whether a header or refusal about (unit, window) speaks of this quota; "" fits any unit."""
    if unit and quota.unit != unit:
        return False
    if window == "once" or quota.window.kind == "once":
        return window == quota.window.kind
    seconds, wanted = length(quota.window), SECONDS.get(window, 60.0)
    return wanted / 2 <= seconds <= wanted * 2


def verdict(failure: TargetFailed, strikes: int, jitter: float) -> Verdict | None:
    """What a refusal means for later requests; None if nothing (an outage is the breaker's business, not the
    ledger's).

    `strikes`: refusals in a row before this one, for the backoff where nobody says how long. `jitter`: 0..1.
    """
    wait = failure.retry_after or 0.0
    why = str(failure) or failure.outcome
    if isinstance(failure, RateLimited):
        if failure.means in ("minute", "day", "month", "once"):
            return Verdict(failure.means, failure.unit, wait, why)
        return Verdict("", "", wait or min(HOUR, 5.0 * 2.0**strikes) * (1 + jitter / 4), why)
    if isinstance(failure, NeverFits):
        return (
            Verdict(size=True, seconds=DAY, why=why) if failure.status == 413 else Verdict("", "", DAY, why)
        )
    if isinstance(failure, OutOfCredit):
        return Verdict("", "", max(wait, HOUR), why)
    if isinstance(failure, Denied):  # 401 is about the key, 403 may be about this one model
        return Verdict("", "", HOUR, why, key=failure.status == 401)
    if isinstance(failure, Gone):
        return Verdict("", "", DAY, why)
    if isinstance(failure, Busy):
        return Verdict("", "", wait or 5.0 * (1 + jitter), why)
    return None
