"""A day in virtual time: a clock that jumps, and providers that count exactly and answer after a plausible while.

Rules: the providers' counting is the pretend providers' (`sim/counters.py`), which shares no line with the
ledger's: what they refuse is a limit the ledger broke. A request is counted when it arrives, tokens as what was
reserved, corrected when the answer ends. Nothing sleeps, nothing is random.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

from potluck.delivery import Delivery
from potluck.errors import RateLimited
from potluck.quota import windows
from potluck.sim.counters import Counter, Entry, counter
from potluck.types import Quota, Reply, Request, Target, Usage

FIRST = 0.6  # seconds to the first token: what free tiers take on average when they are not busy
READING, WRITING = 5_000.0, 60.0  # tokens a second
LOCAL_READING, LOCAL_WRITING = 300.0, 12.0  # a small model on two cores
_FLOAT = 1e-6  # of a unit: neurons and credits have fractions


class VirtualClock:
    """Epoch seconds that stand still until they are moved."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Providers:
    """Everybody's till and everybody's answering, as a `Sends`. `overruns` counts refusals by quota."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._tills: dict[str, Counter] = {}
        self._costs: dict[str, tuple[tuple[Counter, Quota], ...]] = {}
        self._answering: list[tuple[float, int, Delivery, Usage, list[tuple[Counter, Quota, Entry]]]] = []
        self._count = 0
        self.overruns: defaultdict[str, int] = defaultdict(int)

    async def send(self, delivery: Delivery) -> Reply:
        """An answer that has begun. Raises RateLimited where this request would break a limit."""
        request, target, now = delivery.request, delivery.target, self._clock.at
        truth = usage(request)
        reserved = Usage(request.tokens_in, min(request.tokens_out, target.max_output or request.tokens_out))
        tills = self.tills(target)
        for till, quota in tills:
            if not till.fits(now, cost(target, quota, reserved) - _FLOAT):
                self.overruns[f"{quota.scope}: {quota.label or quota.unit}"] += 1
                raise RateLimited(f"{quota.label} is gone", retry_after=max(1.0, till.wait(now, 1)))
        taken = [(till, quota, till.add(now, cost(target, quota, reserved))) for till, quota in tills]
        delivery.committed()
        ends = now + seconds(target, truth)
        self._count += 1
        heapq.heappush(self._answering, (ends, self._count, delivery, truth, taken))
        return Reply(None)

    def advance(self, to: float) -> None:
        """Let time pass until `to`: answers end on the way, each at its moment."""
        while self._answering and self._answering[0][0] <= to:
            ends, _, delivery, truth, taken = heapq.heappop(self._answering)
            self._clock.at = max(self._clock.at, ends)
            for till, quota, entry in taken:
                amount = 0.0 if quota.unit == "concurrent" else cost(delivery.target, quota, truth)
                if amount != entry.amount:
                    till.correct(self._clock.at, entry, amount)
            delivery.settled(truth)
        self._clock.at = max(self._clock.at, to)

    def tills(self, target: Target) -> tuple[tuple[Counter, Quota], ...]:
        """The exact counters of one target's quotas, shared with whoever falls under the same."""
        found = self._costs.get(target.id)
        if found is None:
            for quota in target.quotas:
                self._tills.setdefault(quota.id, till_of(quota))
            found = self._costs[target.id] = tuple((self._tills[quota.id], quota) for quota in target.quotas)
        return found


def till_of(quota: Quota) -> Counter:
    """The exact counter of one quota. What is not published is rolling, the strictest reading."""
    window = quota.window
    kind = window.kind
    if quota.unit == "concurrent" or kind == "concurrent":
        return counter("flight", quota.amount)
    if kind in ("day", "month"):
        return counter(f"{kind}:{window.zone}", quota.amount)
    if kind == "refill":
        return counter(f"bucket:{window.seconds}", quota.amount)
    if kind == "once":
        return counter("once", quota.amount)
    return counter(f"rolling:{window.seconds or windows.MONTH}", quota.amount)


def cost(target: Target, quota: Quota, usage: Usage) -> float:
    """What a request takes from one quota, in the quota's own unit (credits: micro-USD)."""
    unit = quota.unit
    if unit == "tokens":
        return usage.total
    if unit == "input_tokens":
        return usage.input
    if unit == "output_tokens":
        return usage.output
    if unit == "neurons":
        return (usage.input * target.neurons_in + usage.output * target.neurons_out) / 1e6
    if unit == "credits":
        return usage.input * target.price_in + usage.output * target.price_out
    return 1.0


def usage(request: Request) -> Usage:
    """The truth about a request of `simulate`: it carries it in its trace, where no stage looks."""
    return Usage(request.tokens_in, int(request.trace.notes.get("answer", request.tokens_out)))


def seconds(target: Target, truth: Usage) -> float:
    """How long an answer takes, in all."""
    reading, writing = (LOCAL_READING, LOCAL_WRITING) if target.local else (READING, WRITING)
    return FIRST + truth.input / reading + truth.output / writing
