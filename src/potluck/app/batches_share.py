"""How many lines of a batch may start now: what interactive requests are not expected to need. Pure.

Rules: amounts are in one unit, that of the quota; moments are epoch seconds, inf is never. While anybody interactive
waits, nothing starts; while one is served, one line at a time. Before the reset only the surplus is spent; as the
deadline nears, the part kept for interactive requests shrinks, until it is nothing when the time left is what the
lines need.
"""

from __future__ import annotations

import math

import msgspec

RESERVE = 0.1  # of a quota is kept for a whole window ahead, also where nobody asked anything lately
EARLY = 0.25  # of its time is the most that a batch is thought to need, or it would keep nothing from its beginning


class Standing(msgspec.Struct, frozen=True):
    """One quota. `left` is free now, `rate` what interactive requests spend a second, `each` what a line costs."""

    left: float
    rate: float
    returns_at: float
    each: float = 1.0


def places(*, busy: int, waiting: int, kept: float, most: int) -> int:
    """How many lines may be in flight. `busy`: interactive requests that are served; `waiting`: for room."""
    if waiting:
        return 0
    return 1 + int((1.0 - kept) * (most - 1)) if busy else most


def start_now(standings: tuple[Standing, ...], *, now: float, lines: int, kept: float) -> int:
    """0 to `lines`. `kept` is the part of interactive demand to leave; no standings: nothing is limited."""
    rooms = [surplus(one, now, kept) // one.each for one in standings if one.each > 0]
    return int(max(0, min([float(lines), *rooms])))


def kept_share(*, now: float, needs: float, deadline: float) -> float:
    """The part of interactive demand that is still kept: 1 with twice the needed time left or more, 0 with none."""
    if needs <= 0:
        return 1.0
    return min(1.0, max(0.0, (deadline - now - needs) / needs))


def needs(*, lines: int, each: float, most: int, speed: float, window: float) -> float:
    """Seconds that the open lines take: `each` seconds a line, `most` at once, `speed` lines a second by the quotas.

    At most EARLY of the whole `window`, at least a twentieth of that: a guess is no reason to begin too late.
    """
    longest = EARLY * window
    by_quota = lines / speed if speed > 0 else longest
    return min(longest, max(lines * each / most, by_quota, longest / 20))


def surplus(one: Standing, now: float, kept: float) -> float:
    """Units beyond what interactive requests will want until the quota returns."""
    ahead = max(0.0, one.returns_at - now)
    if one.rate <= 0 or not kept:  # also keeps 0 times inf out
        return one.left
    wanted = one.rate * ahead * kept
    return 0.0 if math.isinf(wanted) else one.left - wanted
