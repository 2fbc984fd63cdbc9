"""When a spend stops counting: pure arithmetic over every kind of window there is.

Rules: seconds are epoch seconds, nothing reads a clock, and every doubt is decided towards counting too long.
A spend made at `t` counts *until* a moment that depends on `t` alone, so a window's count is the sum of the
spends whose moment has not come; only `refill` is different (it drains by the second, see `state.py`).

- rolling, interval: until `t + seconds`. Up to EXACT units every spend keeps its own moment, beyond that
  spends share a bucket of a 128th of the window and all count as made at the bucket's END (costs 0.4% of the
  yield on average).
- fixed, day, month: until the next reset. The provider's clock and ours differ and a request travels, so SKEW
  seconds before and after a reset belong to both sides.
- signup_month: providers say "the day you signed up", not the time. From that day's midnight spends count in
  the new month, but the old month only ends at the sign-up's time of day. No anchor known: any 31 days.
- once: for ever. concurrent: spends nothing, only what is in flight counts.
"""

from __future__ import annotations

import math
from calendar import monthrange
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from potluck.types import Window

EXACT = 1000
BUCKETS = 128
SKEW = 1.0
TICK = 0.001  # a spend exactly `seconds` old still counts: no provider's clock is finer than its milliseconds
DAY = 86_400.0
MONTH = 31 * DAY
_MIDNIGHT = time(0)


def span(window: Window, amount: float, at: float) -> tuple[float, float]:
    """`(until, last)`: a spend at `at` counts while now < `until`, and so does every other in `[at, last)`.

    `refill` and `concurrent` do not expire entry by entry: their `until` is `at` itself.
    """
    kind = window.kind
    if kind == "once":
        return math.inf, math.inf
    if kind in ("refill", "concurrent"):
        return at, at
    if kind in ("rolling", "interval"):
        return _rolling(window.seconds, amount, at)
    if kind == "signup_month" and not window.anchor:
        return _rolling(MONTH, amount, at)
    skew = min(SKEW, window.seconds / BUCKETS) if kind == "fixed" else SKEW
    edge = next_reset(window, at + skew)
    return edge + _time_of_day(window) + skew, edge - skew


def next_reset(window: Window, at: float) -> float:
    """The first boundary after `at`; inf where the window has none. For `signup_month` the midnight before
    it.
    """
    kind = window.kind
    if kind == "fixed":
        return _fixed(window, at)
    if kind == "day":
        return _midnight(_date(window.zone, at) + timedelta(days=1), window.zone)
    if kind == "month":
        day = _date(window.zone, at)
        return _midnight(date(day.year + day.month // 12, day.month % 12 + 1, 1), window.zone)
    if kind == "signup_month" and window.anchor:
        return _signup(window, at)
    return math.inf


def length(window: Window) -> float:
    """Roughly how long one window is, in seconds: what tells a minute-refusal from a day-refusal."""
    if window.kind == "day":
        return DAY
    if window.kind in ("month", "signup_month"):
        return MONTH
    if window.kind == "once":
        return math.inf
    return window.seconds


def _rolling(seconds: float, amount: float, at: float) -> tuple[float, float]:
    if amount <= EXACT:
        return at + seconds + TICK, at
    width = seconds / BUCKETS
    end = (math.floor(at / width) + 1) * width
    return end + seconds + TICK, end


def _fixed(window: Window, at: float) -> float:
    """Periods count from local midnight, and midnight starts over; whole days count from a Monday."""
    day = _date(window.zone, at)
    if window.seconds > DAY:
        days = max(1, round(window.seconds / DAY))
        ordinal = (day.toordinal() - 1) // days * days + days + 1
        return _midnight(date.fromordinal(ordinal), window.zone)
    start, end = _midnight(day, window.zone), _midnight(day + timedelta(days=1), window.zone)
    edge = start + (math.floor((at - start) / window.seconds) + 1) * window.seconds
    if edge <= at:
        edge += window.seconds
    return min(edge, end)


def _signup(window: Window, at: float) -> float:
    wanted = _date(window.zone, window.anchor).day
    day = _date(window.zone, at)
    year, month = day.year, day.month
    while True:
        candidate = date(year, month, min(wanted, monthrange(year, month)[1]))
        edge = _midnight(candidate, window.zone)
        if edge > at:
            return edge
        year, month = year + month // 12, month % 12 + 1


def _time_of_day(window: Window) -> float:
    if window.kind != "signup_month":
        return 0.0
    return window.anchor - _midnight(_date(window.zone, window.anchor), window.zone)


def _date(zone: str, at: float) -> date:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).date()


def _midnight(day: date, zone: str) -> float:
    """The first moment of a local day. Where clocks skip midnight, Python reads it with the old offset: the
    same moment.
    """
    return datetime.combine(day, _MIDNIGHT, ZoneInfo(zone)).timestamp()
