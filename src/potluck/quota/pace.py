"""Every quota's pace as this worker sees it, and how likely it runs out: a memory, read by plan.

Rules: a quota is looked at when somebody asks, at most SHARP times in its window, so an idle gateway does nothing
and a simulated clock works as well as a real one. A quota nobody touched has no price and costs one comparison.
Nothing here awaits or does I/O.
"""

from __future__ import annotations

import msgspec

from potluck import price
from potluck.quota import forecast, windows
from potluck.quota.counter import Counter
from potluck.quota.forecast import Forecast, Pace, Profile
from potluck.quota.lane import Lane
from potluck.quota.state import settled
from potluck.types import Clock

SHARP = 200  # a forecast is believed for this part of its window while little was spent,
LOOK = 60.0  # and for so many seconds at most
MOVED = 0.02  # of the limit: more spent than this, and it is made again
LEARN = 0.05  # weight of the newest request in the size of a typical one


class Prospect(msgspec.Struct):
    """One quota: its pace, the forecast made from it, and units of a typical request."""

    pace: Pace
    typical: float
    forecast: Forecast
    until: float = 0.0  # when to look again
    left: float = 0.0


class Paces:
    """The prospects of all quotas of one ledger; `worker` is the ledger's."""

    def __init__(self, clock: Clock, *, worker: str, profile: Profile | None = None) -> None:
        self.profile = profile or Profile()
        self._now, self._worker = clock.now, worker
        self._known: dict[str, Prospect] = {}

    def bid(self, lane: Lane, tokens_in: int, tokens_out: int) -> float:
        """The risk a request of this size puts on this target's quotas; see `price.bid`."""
        now, highest = self._now(), 0.0
        for counter in lane.ones:
            if counter.remaining + counter.free >= counter.allowed:
                continue
            highest = max(highest, self._of(counter, 1.0, now).forecast.risk)
        for counter, a, b in lane.sized:
            if counter.remaining + counter.free >= counter.allowed:
                continue
            need = a * tokens_in + b * tokens_out
            found = self._of(counter, need, now)
            if found.forecast.risk:
                highest = max(highest, price.bid(found.forecast.risk, need, found.typical))
            found.typical += LEARN * (need - found.typical)
        return highest

    def forecast(self, counter: Counter) -> Forecast:
        """What to expect of one quota, as of now."""
        return self._of(counter, 0.0, self._now()).forecast

    def _of(self, counter: Counter, need: float, now: float) -> Prospect:
        known = self._known.get(counter.id)
        left = counter.remaining + counter.free
        if known is not None and now < known.until and abs(known.left - left) <= MOVED * counter.allowed:
            return known
        available = counter.available(now, self._worker)
        used = (
            settled(counter.state, counter.rule, now) + counter.spent + sum([n for _, n in counter.pending])
        )
        state, rule = counter.state, counter.rule
        pace = forecast.look(known.pace if known else Pace(), state, rule, used, self.profile, now)
        typical = (known.typical if known else 0.0) or need or float(rule.scale)
        made = forecast.forecast(pace, state, rule, available, self.profile, now, typical)
        until = now + min(LOOK, windows.length(rule.window) / SHARP)
        known = Prospect(pace, typical, made, until, counter.remaining + counter.free)
        self._known[counter.id] = known
        return known
