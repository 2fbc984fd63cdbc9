"""Exact quota counters: each keeps what was booked and says how much is used, and when more will fit.

Rules: strict and slow rather than clever, because the gateway's own arithmetic is measured against these.
Times are epoch seconds, given by the caller; amounts are in the limit's unit. A window whose kind the
provider does not publish is rolling, the strictest reading: whoever obeys it obeys the others too.
An entry booked at `t` leaves a rolling window of `s` seconds exactly at `t + s`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

NEVER = math.inf
TINY = 1e-9  # the only rounding allowed: floats of a refilling bucket


@dataclass(slots=True, eq=False)
class Entry:
    """One booking; `amount` may be corrected once the real use is known, while it is `counted`."""

    at: float
    amount: float
    counted: bool = True


class Counter:
    """What every window shares. `peak` is the most that was ever counted at one moment."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.peak = 0.0
        self.entries: deque[Entry] = deque()
        self.total = 0.0

    def resize(self, capacity: float) -> None:
        """Another limit from now on; what was used stays used."""
        self.capacity = capacity

    def roll(self, now: float) -> None:
        """Forget what no longer counts at `now`."""

    def used(self, now: float) -> float:
        self.roll(now)
        return self.total

    def remaining(self, now: float) -> float:
        return max(0.0, self.capacity - self.used(now))

    def fits(self, now: float, amount: float) -> bool:
        return self.used(now) + amount <= self.capacity + TINY

    def add(self, now: float, amount: float) -> Entry:
        self.roll(now)
        entry = Entry(now, amount)
        self.entries.append(entry)
        self.total += amount
        self.peak = max(self.peak, self.total)
        return entry

    def correct(self, now: float, entry: Entry, amount: float) -> None:
        """Replace an estimate by the truth, if the entry still counts."""
        self.roll(now)
        if entry.counted:
            self.total += amount - entry.amount
            entry.amount = amount
            self.peak = max(self.peak, self.total)

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` fits; `NEVER` if it cannot."""
        if self.fits(now, amount):
            return 0.0
        return self.full(now) if amount <= self.capacity else NEVER

    def full(self, now: float) -> float:
        """Seconds until nothing is used any more."""
        return NEVER


class Rolling(Counter):
    """Any `seconds` in a row hold at most `capacity`."""

    def __init__(self, capacity: float, seconds: float) -> None:
        super().__init__(capacity)
        self.seconds = seconds

    def roll(self, now: float) -> None:
        while self.entries and now - self.entries[0].at >= self.seconds:
            entry = self.entries.popleft()
            entry.counted = False
            self.total -= entry.amount

    def wait(self, now: float, amount: float) -> float:
        excess = self.used(now) + amount - self.capacity
        if excess <= TINY:
            return 0.0
        for entry in self.entries:
            excess -= entry.amount
            if excess <= TINY:
                return max(0.0, entry.at + self.seconds - now)
        return NEVER

    def full(self, now: float) -> float:
        self.roll(now)
        return self.entries[-1].at + self.seconds - now if self.entries else 0.0


class Calendar(Counter):
    """Starts over at midnight in `zone`, every day or on the 1st of the month; daylight saving included."""

    def __init__(self, capacity: float, period: str, zone: str) -> None:
        super().__init__(capacity)
        self.period, self.zone = period, ZoneInfo(zone)
        self._ends = -math.inf

    def roll(self, now: float) -> None:
        if now >= self._ends:
            for entry in self.entries:
                entry.counted = False
            self.entries.clear()
            self.total = 0.0
            self._ends = self.next_start(now)

    def next_start(self, now: float) -> float:
        """The next midnight (of the next day or month) in the zone, as epoch seconds."""
        local = datetime.fromtimestamp(now, self.zone)
        date = local.date()
        following = (date.replace(day=1) + timedelta(days=32)).replace(day=1)
        if self.period == "day":
            following = date + timedelta(days=1)
        return datetime(following.year, following.month, following.day, tzinfo=self.zone).timestamp()

    def full(self, now: float) -> float:
        self.roll(now)
        return self._ends - now


class Bucket(Counter):
    """Refills continuously: an empty bucket is full again after `seconds`. Keeps a level, not entries."""

    def __init__(self, capacity: float, seconds: float) -> None:
        super().__init__(capacity)
        self.seconds = seconds
        self.rate = capacity / seconds
        self._at = -math.inf

    def resize(self, capacity: float) -> None:
        self.capacity, self.rate = capacity, capacity / self.seconds

    def roll(self, now: float) -> None:
        if now > self._at:
            self.total = max(0.0, self.total - self.rate * (now - self._at)) if self.total else 0.0
            self._at = now

    def add(self, now: float, amount: float) -> Entry:
        self.roll(now)
        self.total += amount
        self.peak = max(self.peak, self.total)
        return Entry(now, amount)

    def correct(self, now: float, entry: Entry, amount: float) -> None:
        self.roll(now)
        self.total = max(0.0, self.total + amount - entry.amount)
        entry.amount = amount
        self.peak = max(self.peak, self.total)

    def wait(self, now: float, amount: float) -> float:
        if amount > self.capacity:
            return NEVER
        return max(0.0, (self.used(now) + amount - self.capacity) / self.rate) if self.rate else NEVER

    def full(self, now: float) -> float:
        return self.used(now) / self.rate if self.rate else NEVER


class Once(Counter):
    """Never comes back."""


class InFlight(Counter):
    """Counts what is being answered: an entry corrected to 0 has left."""

    def correct(self, now: float, entry: Entry, amount: float) -> None:
        super().correct(now, entry, amount)
        if amount == 0 and entry.counted:
            entry.counted = False
            self.entries.remove(entry)

    def full(self, now: float) -> float:
        return 1.0


def counter(window: str, capacity: float) -> Counter:
    """Build from a table's text: rolling:60, bucket:60, day:UTC, month:UTC, once, flight.

    Raises ValueError for any other text.
    """
    kind, _, detail = window.partition(":")
    if kind == "rolling":
        return Rolling(capacity, float(detail))
    if kind == "bucket":
        return Bucket(capacity, float(detail))
    if kind in ("day", "month"):
        return Calendar(capacity, kind, detail or "UTC")
    if kind == "once":
        return Once(capacity)
    if kind == "flight":
        return InFlight(capacity)
    raise ValueError(f"unknown window {window!r} in a pretend provider's table")
