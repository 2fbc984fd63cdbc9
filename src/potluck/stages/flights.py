"""Identical requests in flight: one goes, the others wait for its answer.

Rules: a follower waits for the whole answer, also for a stream, because half an answer may never become whole. When
the one that went fails or hangs up, one follower takes over; after `TAKEOVERS` in a row nobody waits any more, or a
failing provider would be asked one by one. Of this process only: two workers may each send one.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from potluck.store.answers import Entry

TAKEOVERS = 2
LONGEST = 120.0  # seconds a follower waits at most: a leader that reads slowly holds nobody up for ever

Outcome = Entry | Literal["failed", "alone"]


class Flight:
    """One request on its way. `land` with what came of it; only the first time counts."""

    __slots__ = ("_flights", "_key", "_landed", "how")

    def __init__(self, flights: Flights, key: bytes) -> None:
        self._flights, self._key = flights, key
        self._landed: asyncio.Future[Outcome] | None = None
        self.how = "hit"  # what followers say that they got

    def land(self, outcome: Outcome, how: str = "hit") -> None:
        """The answer; "failed" lets one follower try, "alone" lets each: there is no answer to be shared."""
        self._flights.landed(self._key, self)
        if self._landed is not None and not self._landed.done():
            self.how = how
            self._landed.set_result(outcome)

    async def joined(self, seconds: float) -> Outcome:
        """What came of it; "alone" when that takes longer than `seconds`."""
        if self._landed is None:
            self._landed = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((self._landed,), timeout=max(0.0, min(seconds, LONGEST)))
        return self._landed.result() if done else "alone"


class Flights:
    """Those of one cache, by key."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, key: bytes) -> Flight | None:
        return self._by_key.get(key)

    def begin(self, key: bytes) -> Flight:
        """The caller goes, and whoever asks the same from now on follows him."""
        flight = self._by_key[key] = Flight(self, key)
        return flight

    def landed(self, key: bytes, flight: Flight) -> None:
        if self._by_key.get(key) is flight:
            del self._by_key[key]
