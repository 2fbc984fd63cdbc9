"""How many lines of a batch may start now: what interactive requests are not expected to need. Pure.

Rules: amounts are in one unit, that of the quota; moments are epoch seconds, inf is never. While anybody
interactive is served or waits, nothing starts. Before the reset only the surplus is spent; as the deadline nears,
the part kept for interactive requests shrinks, until it is nothing when the time left is what the lines need.
"""

from __future__ import annotations

import math

import msgspec


class Standing(msgspec.Struct, frozen=True):
    """One quota. `left` is free now, `rate` what interactive requests spend a second, `each` what a line costs."""

    left: float
    rate: float
    returns_at: float
    each: float = 1.0


def start_now(
    standings: tuple[Standing, ...], *, now: float, lines: int, needs: float, deadline: float, busy: int
) -> int:
    """0 to `lines`. `needs`: seconds that the open lines take at full speed; `busy`: interactive requests
    in flight or waiting. Lines past their deadline do not start; no standings mean that nothing is limited.
    """
    if busy or lines <= 0 or now >= deadline:
        return 0
    kept = kept_share(now=now, needs=needs, deadline=deadline)
    rooms = [_surplus(one, now, kept) // one.each for one in standings if one.each > 0]
    return int(max(0, min([float(lines), *rooms])))


def kept_share(*, now: float, needs: float, deadline: float) -> float:
    """The part of interactive demand that is still kept: 1 with twice the needed time left or more, 0 with none."""
    if needs <= 0:
        return 1.0
    return min(1.0, max(0.0, (deadline - now - needs) / needs))


def _surplus(one: Standing, now: float, kept: float) -> float:
    ahead = max(0.0, one.returns_at - now)
    if one.rate <= 0 or not kept:  # also keeps 0 times inf out
        return one.left
    wanted = one.rate * ahead * kept
    return 0.0 if math.isinf(wanted) else one.left - wanted
