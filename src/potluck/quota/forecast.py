"""When a quota runs out at today's pace, and when it returns. Pure: states and moments in, moments out.

Method: the pace is an exponentially weighted mean of what was spent, HALF_LIFE back, divided by how busy such
an hour usually is (`Profile`: the hours of the day, from what was recorded, shrunk towards an even day). Ahead,
the pace is multiplied by the profile again, so that at 9 in the morning the afternoon is expected to be busy
and the night quiet. Rolling windows give back what was spent a window ago; that is counted as supply.

Rules: moments are epoch seconds, inf is never; amounts are the rule's scaled units. Hours are UTC: an hour of
the day is only a label here. Too little evidence makes a pace uncertain, never zero by decree.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from potluck.price import risk
from potluck.quota import windows
from potluck.quota.state import Rule, State

HALF_LIFE = 3600.0  # seconds
HOUR, DAY = 3600.0, 86_400.0
ONCE_LASTS = 30 * DAY  # a one-time credit is spread over this long: it has no reset to wait for
WATCHED = 900.0  # seconds: a pace is not taken from less
BINS = 8  # moments at which a rolling window's returns are looked at
SHRINK = 48.0  # requests that an even day is worth against a recorded one: two an hour


class Profile:
    """How busy each hour of the (UTC) day is; 1.0 is the mean. `hours` has 24 weights, mean 1."""

    __slots__ = ("_sums", "hours")

    def __init__(self, hours: Sequence[float] = (1.0,) * 24) -> None:
        self.hours = tuple(hours)
        self._sums = (0.0, *accumulate(weight * HOUR for weight in self.hours))

    @classmethod
    def of(cls, counts: Sequence[float]) -> Profile:
        """From requests counted by hour, any number of days together."""
        total = sum(counts)
        return cls([24.0 * (n + SHRINK / 24) / (total + SHRINK) for n in counts])

    def weight(self, at: float) -> float:
        return self.hours[int(at % DAY // HOUR)]

    def between(self, start: float, end: float) -> float:
        """Seconds of average business between two moments."""
        return self._since(end) - self._since(start) if end < math.inf else math.inf

    def reach(self, start: float, seconds: float) -> float:
        """The moment at which `seconds` of average business have passed since `start`."""
        if seconds == math.inf:
            return math.inf
        goal = self._since(start) + seconds
        day, rest = divmod(goal, self._sums[24])
        hour = min(23, bisect_right(self._sums, rest) - 1)
        return day * DAY + hour * HOUR + (rest - self._sums[hour]) / self.hours[hour]

    def _since(self, at: float) -> float:
        day, second = divmod(at, DAY)
        hour = int(second // HOUR)
        return day * self._sums[24] + self._sums[hour] + (second - hour * HOUR) * self.hours[hour]


class Pace(msgspec.Struct):
    """What a quota is asked for: `spent` units within `mass` seconds of average business, both discounted by age."""

    spent: float = 0.0
    mass: float = 0.0
    at: float = 0.0  # when it was last looked at
    total: float = 0.0  # what the quota had counted then

    @property
    def rate(self) -> float:
        """Units per second of average business."""
        return self.spent / self.mass if self.mass > 0.0 else 0.0


class Forecast(msgspec.Struct, frozen=True):
    """`rate` is units per second at an average hour. `runs_out_at` inf: not before it returns by itself.

    `returns_at`: when it is whole (or usable) again. `risk`: probability that demand is left over, 0..1.
    """

    rate: float
    runs_out_at: float
    returns_at: float
    risk: float


def look(pace: Pace, state: State, rule: Rule, used: float, profile: Profile, now: float) -> Pace:
    """The pace with what happened since the last look. `used`: scaled units counted now, reported or not."""
    if rule.window.kind in ("rolling", "interval"):
        return _from_log(state, rule, used, profile, now)
    if not pace.at:
        start = _window_start(rule, now)
        mass = min(profile.between(start, now), HALF_LIFE / math.log(2)) if start > -math.inf else 0.0
        whole = profile.between(start, now) if start > -math.inf else math.inf
        return Pace(used * mass / whole if whole > 0.0 else 0.0, mass, now, used)
    gone = now - pace.at
    if gone <= 0.0:
        return pace
    drained = rule.limit * gone / rule.window.seconds if rule.refill and pace.total > 0 else 0.0
    fresh = used - max(0.0, pace.total - drained)
    if fresh < 0.0:  # it was reset: all there is was spent since
        fresh = used if not rule.refill else 0.0
    fade = 0.5 ** (gone / HALF_LIFE)
    mass = pace.mass * fade + profile.between(pace.at, now)
    return Pace(pace.spent * fade + fresh, mass, now, used)


def _from_log(state: State, rule: Rule, used: float, profile: Profile, now: float) -> Pace:
    """A rolling window keeps when each unit was spent: the mean can be had without having watched."""
    seconds = rule.window.seconds
    half = min(HALF_LIFE, seconds)
    spent, before = 0.0, now - 8 * half
    for until, n in zip(reversed(state.untils), reversed(state.counts), strict=True):
        at = until - seconds
        if at < before:
            break
        spent += n * 0.5 ** (max(0.0, now - at) / half)
    spent += max(0.0, used - state.total)  # not yet told to the store, so of just now
    # What was before the oldest spend is not known to have been quiet: a gateway that was just set up.
    oldest = state.untils[0] - seconds if state.untils else now
    watched = min(seconds, max(now - oldest, WATCHED))
    whole = half / math.log(2) * (1.0 - 0.5 ** (watched / half))
    return Pace(spent, whole * profile.weight(now), now, used)


def forecast(
    pace: Pace, state: State, rule: Rule, left: float, profile: Profile, now: float, size: float = 1.0
) -> Forecast:
    """What to expect of one quota. `left`: scaled units free now; `size`: units of a typical request."""
    rate, worst, out = pace.rate, 0.0, math.inf
    evidence = pace.spent / size if size else math.inf
    for at, supply in horizons(state, rule, left, now):
        expected = rate * profile.between(now, at)
        worst = max(worst, risk(expected, supply, size, evidence))
        if out == math.inf and expected > supply:
            out = profile.reach(now, max(0.0, supply) / rate)
    return Forecast(rate, now if left < rule.scale else out, returns(state, rule, now), worst)


def horizons(state: State, rule: Rule, left: float, now: float) -> Iterator[tuple[float, float]]:
    """(moment, units that can be had until then): just before each time something comes back."""
    window = rule.window
    if rule.concurrent:
        return
    if window.kind == "once":
        yield min(now + ONCE_LASTS, window.anchor or math.inf), left
    elif rule.refill:
        for part in (1 / BINS, 1.0):
            yield now + window.seconds * part, left + rule.limit * part
    elif rule.periodic:
        yield rule.span(now)[0], left
    else:
        length = windows.length(window) if window.seconds or window.kind == "signup_month" else DAY
        step, supply = max(1, len(state.untils) // BINS), left
        for first in range(0, len(state.untils), step):
            yield state.untils[first], supply
            supply += sum(state.counts[first : first + step])
        yield now + length, supply


def returns(state: State, rule: Rule, now: float) -> float:
    """When a quota is whole again if nothing more is spent; inf = never."""
    if rule.refill:
        return max(now, state.full)
    if state.untils:
        return state.untils[-1]
    return windows.next_reset(rule.window, now)


def _window_start(rule: Rule, now: float) -> float:
    """When the window that `now` is in began; -inf where nobody knows."""
    if not rule.periodic:
        return -math.inf
    return max(windows.next_reset(rule.window, now) - windows.length(rule.window), 0.0)
