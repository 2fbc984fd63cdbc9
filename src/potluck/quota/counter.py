"""One worker's side of one quota, and of one target: what a reservation touches, all in memory.

Rules: a unit is in exactly one place: `free` (leased, unspent), `held` (in flight), or `spent`/`pending`
(settled, not yet told to the store). The store's lease row never shows less than the three together, so a
crash is over-counted and never under. `free` is negative when a request cost more than was leased for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from potluck.quota.room import QuotaState
from potluck.quota.state import LIFETIME, Rule, State, left, opens_at, settled, tidy
from potluck.quota.windows import next_reset
from potluck.types import Quota

Fact = Callable[[State, Rule, float], None]  # something learned, applied to the shared state inside a step


class Counter:
    """A quota as this worker sees it. `remaining` is what nobody had at the last look, `allowed` the limit
    then.
    """

    __slots__ = (
        "_full", "allowed", "closed", "crowded", "expires", "facts", "free", "held", "id", "key", "last",
        "next_event", "pending", "remaining", "retry_at", "rule", "spent", "state", "used",
    )  # fmt: skip

    def __init__(self, quota: Quota) -> None:
        self.id, self.rule = quota.id, Rule(quota)
        self.free = self.held = self.spent = 0
        self.used = 0  # settled since the latest slice was leased
        self.key = self.last = -math.inf
        self.pending: list[tuple[float, int]] = []
        self.facts: list[Fact] = []
        self.expires = 0.0  # the lease must not be spent from then on
        self.closed = self.retry_at = 0.0
        self.crowded = False  # whether something else was in flight when the latest hold began
        self.state, self.next_event = State(), math.inf
        self.remaining = self.allowed = self.rule.limit
        self._full = (-1, 0, 0)

    def turn(self, now: float) -> None:
        """What is `spent` from `now` on stops counting at another moment than what was spent before."""
        self.fold()
        self.key, self.last = self.rule.span(max(now, self.state.seen) if self.rule.periodic else now)

    def fold(self) -> None:
        if self.spent:
            self.pending.append((self.key, self.spent))
            self.used += self.spent
            self.spent = 0

    def look(self, state: State, now: float) -> None:
        """Adopt what the store says as this worker's view."""
        self.state, self.closed = state, state.closed
        self.rule.size = max(self.rule.limit, state.limit)
        self.allowed = allowed = self.rule.allowed(state, now)
        self.remaining = left(state, self.rule, now)
        event = state.untils[0] if state.untils else math.inf
        if self.rule.refill and state.full > now:
            event = min(event, now + self.rule.window.seconds / max(1, allowed))
        if len(state.leases) > 1:
            event = min(event, now + LIFETIME)
        self.next_event = event

    def available(self, now: float, worker: str) -> int:
        """Scaled units this worker could get, as far as it knows."""
        if now >= self.next_event:
            tidy(self.state, self.rule, now, worker)
            self.look(self.state, now)
        return max(0, self.remaining + self.free)

    def opens_at(self, need: int, now: float) -> float:
        return opens_at(self.state, self.rule, need, now)

    def refuse(self, need: int, version: int, retry_at: float) -> None:
        self._full, self.retry_at = (version, need, self.free), retry_at

    def still_full(self, need: int, version: int, now: float) -> bool:
        """Whether the store would say no again: nothing changed, came back here, or expired."""
        known, refused, free = self._full
        if version != known or need < refused or free != self.free:
            return False
        if now >= min(self.next_event, self.retry_at):
            return False
        return self.closed > now or need > self.remaining + self.free

    def describe(self, now: float, worker: str) -> QuotaState:
        available, rule, quota = self.available(now, worker), self.rule, self.rule.quota
        closed = self.closed > now
        others = sum([lease.held for name, lease in self.state.leases.items() if name != worker])
        pending = self.spent + sum([n for _, n in self.pending])
        return QuotaState(
            scope=quota.scope, label=quota.label, unit=quota.unit,
            amount=self.allowed // rule.scale, published=quota.amount,
            used=(settled(self.state, rule, now) + pending) // rule.scale,
            held=(self.held + others) // rule.scale,
            left=available // rule.scale, resets_at=self.resets_at(now),
            closed_until=self.closed if closed else 0.0, why=self.state.why if closed else "",
            basis=quota.basis, source=quota.source, learned=bool(self.state.limit),
        )  # fmt: skip

    def resets_at(self, now: float) -> float:
        """When the count next goes down: at the reset, or for rolling windows with the last spend."""
        state = self.state
        if self.rule.refill:
            return max(now, state.full)
        if state.untils:
            return state.untils[-1]
        return next_reset(self.rule.window, now)
