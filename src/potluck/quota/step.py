"""One atomic step between a worker and the shared states: report, then take what is short, everything or
nothing.

Rules: `step` runs inside a store's transaction and touches only the states it is given, so a store that lost
a race may run it again. `apply` brings the outcome back into the worker's memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from potluck.quota.counter import Counter
from potluck.quota.state import GRACE, LIFETIME, Lease, State, left, opens_at, share, spend, tidy

SPARE = 2048  # part of a limit that a worker may have leased without having used as much lately


class Draft:
    """What one step tells the store about one counter, and what it asks for; a step may be run again with it.

    `keep` False: this worker is done here, take everything unspent back.
    """

    __slots__ = ("facts", "free", "held", "keep", "need", "pending", "rule", "used")

    def __init__(self, counter: Counter, need: int, keep: bool = True) -> None:
        counter.fold()
        self.rule, self.need, self.keep, self.used = counter.rule, need, keep, counter.used
        self.held, self.free = counter.held, counter.free
        self.pending, self.facts = tuple(counter.pending), tuple(counter.facts)


class Outcome:
    """What a step decided: how each worker's free units changed, and why nothing was granted, if so."""

    __slots__ = ("blocked", "deltas", "retry_at", "states", "times")

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self.deltas: list[int] = []
        self.times: list[float] = []  # what time it is for each state: a shared clock never runs back
        self.blocked = -1
        self.retry_at = 0.0


def report(state: State, draft: Draft, worker: str, now: float, exclusive: bool) -> float:
    """Bring the shared state up to date with one worker; returns the time that holds.

    A worker whose lease others settled (it stalled) loses what it had free and keeps what is in flight:
    counted twice, on the safe side. If more is out than the limit has (the provider counts more than we do),
    the unspent part of the lease is given up.
    """
    now = tidy(state, draft.rule, now, worker)
    mine = state.leases.get(worker)
    free = max(0, draft.free) if mine is not None else 0
    for until, n in draft.pending:
        spend(state, draft.rule, until, n)
    state.leases[worker] = Lease(draft.held, free if draft.keep else 0, now + LIFETIME)
    for fact in draft.facts:
        fact(state, draft.rule, now)
    lease, rest = state.leases[worker], left(state, draft.rule, now)
    if rest < 0:
        lease.free = max(0, lease.free + rest)
    elif not draft.need and not exclusive:
        limit = draft.rule.allowed(state, now)
        lease.free = min(lease.free, _slice(draft, rest + lease.free, limit, len(state.leases)))
    return now


def _slice(draft: Draft, left_over: int, limit: int, workers: int) -> int:
    """How much more than its need a worker may lease: what it lately used and a little, so that a crash loses little.

    What it used of its last slice, twice, and what it has in flight: a burst doubles its slice with each step until
    the share of a plentiful quota is reached, and whoever uses little gives back at each flush. The little is for a
    store that is lost for a while.
    """
    return min(share(left_over, limit, workers), max(limit // SPARE, 2 * draft.used + draft.held))


def step(states: list[State], drafts: Sequence[Draft], worker: str, now: float, exclusive: bool) -> Outcome:
    """All drafts reported, then every need granted or none."""
    outcome = Outcome(states)
    for index, (state, draft) in enumerate(zip(states, drafts, strict=True)):
        at = report(state, draft, worker, now, exclusive)
        outcome.times.append(at)
        short = draft.need - state.leases[worker].free
        if draft.need and (state.closed > at or short > max(0, left(state, draft.rule, at))):
            retry_at = state.closed
            if short > max(0, left(state, draft.rule, at)):
                retry_at = max(retry_at, opens_at(state, draft.rule, draft.need, at))
            if outcome.blocked < 0 or retry_at > outcome.retry_at:
                outcome.blocked, outcome.retry_at = index, retry_at
    for state, draft, at in zip(states, drafts, outcome.times, strict=True):
        lease = state.leases[worker]
        short = draft.need - lease.free
        if outcome.blocked < 0 and short > 0:
            rest, limit = left(state, draft.rule, at) - short, draft.rule.allowed(state, at)
            lease.free += short + (rest if exclusive else _slice(draft, rest, limit, len(state.leases)))
        outcome.deltas.append(lease.free - draft.free)
        if not lease.held and not lease.free and not draft.need and not draft.keep:
            del state.leases[worker]
    return outcome


def apply(counters: Sequence[Counter], drafts: Sequence[Draft], outcome: Outcome, now: float) -> None:
    """Take over what a step decided, by differences: holds may have moved while an awaited step ran."""
    for counter, draft, state, delta in zip(counters, drafts, outcome.states, outcome.deltas, strict=True):
        counter.free += delta
        if draft.need and delta > 0:
            counter.used = 0  # a new slice
        del counter.pending[: len(draft.pending)], counter.facts[: len(draft.facts)]
        counter.expires = now + LIFETIME - GRACE
        counter.look(state, now)
        if counter.closed > now:
            counter.expires = 0.0
