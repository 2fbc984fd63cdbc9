"""What all workers share about one quota, and the pure steps that change it; a store only loads and saves it.

Rules: a `State` is changed inside one atomic step of a store and nowhere else. What counts against the limit
is

    settled spends that have not expired  +  what every worker holds in flight  +  what it leased and has not
    spent.

In-flight and leased units count as *now*, however long they take, and become a settled spend at the moment
they end. So wherever between `reserve` and `settle` the provider counts a request, we count it at that moment
too: a hold that spans a reset counts on both sides. A worker that stops renewing its lease (`kill -9`) has
everything it had out turned into a spend at the lease's expiry: later than any moment at which it could still
have sent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from potluck.quota import windows
from potluck.types import Quota

LIFETIME = 5.0  # seconds a worker's share stays its own without a sign of life
GRACE = 2.0  # of these, the last ones are not used by the owner: clocks of two hosts may differ by this much
STEP = 60.0  # seconds a clock may be stepped back while we just wait for it
FAR = 25 * 3600.0  # a clock this far behind was not stepped back: it had been wrong
SCALE = {"neurons": 1_000_000, "credits": 1_000_000}  # millionths, so that one token costs a whole number

R = TypeVar("R")


class Lease(msgspec.Struct, array_like=True):
    """One worker's share of one quota: in flight, and leased but unspent."""

    held: int = 0
    free: int = 0
    expires: float = 0.0


class State(msgspec.Struct, array_like=True, omit_defaults=True):
    """Amounts are in the rule's scaled unit. `untils` is sorted and runs beside `counts`."""

    seen: float = 0.0  # the latest time any worker acted: time never runs back behind it
    untils: list[float] = []
    counts: list[int] = []
    total: int = 0
    full: float = 0.0  # refill: when the bucket is whole again if nothing more is taken
    leases: dict[str, Lease] = {}
    closed: float = 0.0  # nothing goes before this, whatever the count says
    why: str = ""
    limit: int = 0  # learned from the provider; 0 = none
    learned: float = 0.0  # when
    lost: float = 0.0  # when the store was started over without knowing what had been spent; 0 = known
    distrust: float = 0.0  # its headers promised more than it kept: until then only believe bad news


class Rule:
    """A quota made ready for arithmetic: its limit in scaled units, and what kind of counting it needs."""

    __slots__ = ("concurrent", "limit", "periodic", "quota", "refill", "scale", "size", "window")

    def __init__(self, quota: Quota) -> None:
        self.quota, self.window = quota, quota.window
        self.scale = SCALE.get(quota.unit, 1)
        self.limit = self.size = quota.amount * self.scale  # `size`: the larger of this and a learned limit
        self.concurrent = quota.unit == "concurrent" or quota.window.kind == "concurrent"
        self.periodic = windows.next_reset(self.window, 0.0) < math.inf
        self.refill = quota.window.kind == "refill"

    def span(self, at: float) -> tuple[float, float]:
        return windows.span(self.window, self.size / self.scale, at)

    def allowed(self, state: State, now: float) -> int:
        """The limit as of now: the provider's own word first; an expired one-time credit is worth nothing."""
        if self.window.kind == "once" and self.window.anchor and now >= self.window.anchor:
            return 0
        return state.limit or self.limit


class StoreLost(Exception):
    """The shared store cannot be reached: scarce quota is refused, what is leased goes on until the lease
    ends.
    """


class Store(Protocol):
    """Where the states live. `step` is atomic over all its ids, across all workers. Both raise `StoreLost`."""

    exclusive: bool  # one worker only, and nothing outlives it: lease everything
    remote: bool  # a step must be awaited (`step_async`)

    def step(self, ids: Sequence[str], change: Callable[[list[State]], R]) -> R: ...

    def read(self, ids: Sequence[str]) -> list[State]: ...

    def version(self) -> int:
        """Differs when another worker may have changed something since it was last asked."""
        ...

    def close(self) -> None: ...


def tidy(state: State, rule: Rule, now: float, worker: str = "") -> float:
    """Expire what is over, settle what dead workers left; returns the time that holds.

    That is `now`, or the latest time anybody acted when the clock was stepped back: a step must not reopen a
    window. Where only durations matter, a long step moves everything along; a calendar waits, up to FAR.
    """
    if state.seen - now > (FAR if rule.periodic else STEP):
        _rebase(state, rule, now)
    now = state.seen = max(state.seen, now)
    if state.lost:
        _presume(state, rule)
    if state.untils and state.untils[0] <= now:
        cut = bisect_right(state.untils, now)
        state.total -= sum(state.counts[:cut])
        del state.untils[:cut], state.counts[:cut]
    dead = [name for name, lease in state.leases.items() if lease.expires <= now and name != worker]
    for name in dead:
        lease = state.leases.pop(name)
        spend(state, rule, rule.span(lease.expires)[0], lease.held + lease.free)
        if state.untils and state.untils[0] <= now:
            return tidy(state, rule, now, worker)
    return now


def spend(state: State, rule: Rule, until: float, n: int) -> None:
    """Count `n` settled units; `until` as `Rule.span` says (for a refill: the moment they were spent)."""
    if rule.concurrent or n <= 0:
        return
    if rule.refill:
        limit = state.limit or rule.limit
        state.full = max(state.full, until) + (n * rule.window.seconds / limit if limit else math.inf)
        return
    state.total += n
    untils, counts = state.untils, state.counts
    where = len(untils)
    if untils and untils[-1] > until:
        where = bisect_right(untils, until)
    if where and untils[where - 1] == until:
        counts[where - 1] += n
    else:
        untils.insert(where, until)
        counts.insert(where, n)


def forgive(state: State, rule: Rule, used: int, now: float) -> None:
    """The provider counts only `used`: drop what would have expired first, so the rest counts longest."""
    if rule.refill:
        limit = state.limit or rule.limit
        state.full = min(state.full, now + used * rule.window.seconds / limit if limit else state.full)
    while state.total > used and state.counts:
        drop = min(state.counts[0], state.total - used)
        state.total -= drop
        state.counts[0] -= drop
        if not state.counts[0]:
            del state.counts[0], state.untils[0]


def settled(state: State, rule: Rule, now: float) -> int:
    """Units spent for good that still count. A refill's count is rounded up, less what float seconds cannot
    resolve.
    """
    if not rule.refill or state.full <= now:
        return state.total
    limit = state.limit or rule.limit
    return math.ceil((state.full - now) * limit / rule.window.seconds - 1e-6)


def out(state: State) -> int:
    """Units every worker has out: in flight or leased."""
    return sum([lease.held + lease.free for lease in state.leases.values()])


def left(state: State, rule: Rule, now: float) -> int:
    """Units nobody has; negative when the provider's own count overtook ours."""
    return rule.allowed(state, now) - settled(state, rule, now) - out(state)


def opens_at(state: State, rule: Rule, need: int, now: float) -> float:
    """When `need` units may be had, at the earliest; inf = never, `now` + a little = when a lease comes back.

    Requests in flight will count for a whole window (they are taken as settling now); reserved tokens mostly
    come back.
    """
    limit = rule.allowed(state, now)
    if need > limit:
        return math.inf
    held = sum([lease.held for lease in state.leases.values()])
    sticky = held if rule.quota.unit in ("requests", "inputs") and not rule.concurrent else 0
    if rule.refill:
        excess = settled(state, rule, now) + sticky + need - limit
        return max(state.closed, now + max(0.25, excess * rule.window.seconds / limit))
    excess = state.total + sticky + need - limit
    if excess <= 0:
        return max(state.closed, now + 0.25)
    for until, n in zip(state.untils, state.counts, strict=True):
        excess -= n
        if excess <= 0:
            return max(state.closed, until)
    return max(state.closed, rule.span(now)[0])


def share(left_over: int, limit: int, workers: int) -> int:
    """How much more than its need a worker may lease: none of a scarce quota, under 1% of a plentiful one."""
    return max(0, min(left_over // (8 * workers), limit // 128))


def _rebase(state: State, rule: Rule, now: float) -> None:
    """The clock runs behind what was seen: what had yet to pass then has yet to pass now.

    A calendar's clock had been wrong by more than a day; all that still counts is counted as spent now.
    """
    gap, state.seen = state.seen - now, now
    if rule.periodic:
        total, state.untils, state.counts, state.total = state.total, [], [], 0
        spend(state, rule, rule.span(now)[0], total)
    else:
        state.untils = [until - gap for until in state.untils]
        state.full -= gap
    state.closed -= gap
    for lease in state.leases.values():
        lease.expires -= gap


def _presume(state: State, rule: Rule) -> None:
    """The store was lost and nobody knows what had been spent: what to believe instead.

    Windows of up to two hours count as spent: that costs minutes. A day's or month's quota counts as half
    spent: all of it would close every scarce target until midnight for a fault of ours, none of it would
    overrun most days. Half is what a day's even use has spent on average; where it is too little the
    provider's refusal closes the quota until its reset, and where it is too much, its own `remaining` raises
    it (see `learn.py`). A one-time credit: half, within a month.
    """
    lost, state.lost = state.lost, 0.0
    short = windows.length(rule.window) <= 7200.0
    if rule.window.kind == "once" and state.seen - lost > windows.MONTH:
        return
    until = lost if rule.refill else rule.span(lost)[0]
    if until > state.seen or rule.refill:
        spend(state, rule, until, rule.limit if short else rule.limit // 2)
