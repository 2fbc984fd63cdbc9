"""A reservation across all quotas of a target.

Rules: ending a hold is plain code without I/O, so it works in a `finally` block of a task that is being
cancelled. The first ending wins; later ones do nothing. A hold that is never ended stays in flight, and so
counted.
"""

from __future__ import annotations

from collections.abc import Callable

from potluck.quota.lane import LINGER, Lane
from potluck.types import Usage


class Hold:
    __slots__ = ("_lane", "_time", "_tokens_in", "_tokens_out")

    def __init__(self, time: Callable[[], float], lane: Lane, tokens_in: int, tokens_out: int) -> None:
        self._time, self._tokens_in, self._tokens_out = time, tokens_in, tokens_out
        self._lane: Lane | None = lane

    def settle(self, usage: Usage, *, cut: bool = False) -> None:
        """Replace the estimate by the truth. `cut`: we hung up, and the provider may work on for a moment."""
        lane = self._lane
        if lane is not None:
            self._close(lane, usage.input, usage.output, cut)
            if usage.input or usage.output:  # a refusal that counted used nothing, and is a strike
                lane.strikes = 0

    def doubt(self, *, cut: bool = True) -> None:
        """It was sent and nobody said what it cost: the estimate stands. `cut` as in `settle`."""
        if self._lane is not None:
            self._close(self._lane, self._tokens_in, self._tokens_out, cut)

    def release(self) -> None:
        """It never left: give everything back."""
        lane, self._lane = self._lane, None
        if lane is None:
            return
        for counter, need in zip(lane.counters, lane.needs(self._tokens_in, self._tokens_out), strict=True):
            counter.held -= need
            counter.free += need
        if lane.freed is not None:
            lane.freed(lane.target.provider)

    def _close(self, lane: Lane, tokens_in: int, tokens_out: int, cut: bool) -> None:
        self._lane = None
        now = self._time()
        for counter in lane.ones:
            counter.held -= 1
            if now >= counter.last:
                counter.turn(now)
            counter.spent += 1
        for counter, a, b in lane.sized:
            need, truth = a * self._tokens_in + b * self._tokens_out, a * tokens_in + b * tokens_out
            counter.held -= need
            counter.free += need - truth  # negative: more than was leased; the next step makes up for it
            if now >= counter.last:
                counter.turn(now)
            counter.spent += truth
        if cut and lane.gates:
            lane.lingering.append(now + LINGER)
            return
        for counter in lane.gates:
            counter.held -= 1
            counter.free += 1
        if lane.freed is not None:
            lane.freed(lane.target.provider)
