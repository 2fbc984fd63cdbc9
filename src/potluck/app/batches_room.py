"""Where a line of a batch may go now: the targets whose quotas have more left than interactive requests will want.

Rules: only what is free, unless nothing free fits; never the toy on this machine in place of a model that will have
room again. What interactive requests spend is the quota's pace less the part that batches had in it, which the
records of all workers tell. One place of what counts requests in flight, and half of a paced account's burst, stay
free for whoever comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from potluck import router
from potluck.app.batches_share import RESERVE, Standing, start_now
from potluck.errors import UnknownModel
from potluck.health import Health
from potluck.pacing import Pacing
from potluck.quota import windows
from potluck.quota.counter import Counter
from potluck.quota.forecast import HALF_LIFE
from potluck.quota.ledger import Ledger
from potluck.quota.pace import Paces
from potluck.router import Pool
from potluck.store.reports import Demand
from potluck.types import Clock, Request, Target

LIFE = 0.25  # seconds that an answer is used again: looking at every quota of every target is not free
KEPT = 256  # answers kept
MANY = 1_000_000  # lines: no limit


class Room(msgspec.Struct):
    """`targets` have room for `lines` in all; `speed` is how many lines a second the quotas of the quickest allow.

    `known` False: nothing fits, and why is for dispatch to say.
    """

    targets: tuple[str, ...]
    lines: int
    speed: float
    known: bool = True
    until: float = 0.0


class Rooms:
    """One worker's view. `learn` is told the demand from time to time; without it all pace counts as interactive."""

    def __init__(
        self,
        pool: Callable[[], Pool],
        ledger: Ledger,
        paces: Paces,
        health: Health,
        pacing: Pacing,
        clock: Clock,
    ) -> None:
        self._pool, self._ledger, self._paces = pool, ledger, paces
        self._health, self._pacing, self._clock = health, pacing, clock
        self._shares: Mapping[str, float] = {}
        self._found: dict[object, Room] = {}

    def quotas(self) -> dict[str, tuple[float, tuple[str, ...]]]:
        """Every counter's window in seconds, and the ids of the targets that fall under it."""
        found: dict[str, tuple[float, list[str]]] = {}
        for target in self._pool().targets:
            for counter in self._ledger.lane(target).counters:
                length = windows.length(counter.rule.window)
                found.setdefault(counter.id, (length, []))[1].append(target.id)
        return {id: (length, tuple(targets)) for id, (length, targets) in found.items()}

    def learn(self, shares: Mapping[str, float]) -> None:
        """Which part of each quota's pace was batches' own, by counter."""
        self._shares = shares

    def find(self, request: Request, kept: float) -> Room:
        """Room for requests of this shape."""
        key = (
            request.model, request.kind, request.needs, request.tokens_in.bit_length(), request.tokens_out,
            request.allowed, round(kept, 2),
        )  # fmt: skip
        now = self._clock.monotonic()
        found = self._found.get(key)
        if found is None or found.until <= now:
            if len(self._found) >= KEPT:
                self._found.clear()
            found = self._found[key] = self._look(request, kept)
            found.until = now + LIFE
        return found

    def _look(self, request: Request, kept: float) -> Room:
        try:
            fit = self._fit(request)
        except UnknownModel:
            fit = []
        if not fit:
            return Room((), MANY, float(MANY), known=False)
        rooms = {target.id: self._lines(target, request, kept) for target in fit}
        open_ones = tuple(id for id, lines in rooms.items() if lines > 0)
        speed = max(self._speed(target, request) for target in fit)
        return Room(open_ones, max(rooms.values()), speed)

    def _fit(self, request: Request) -> list[Target]:
        pool = self._pool()
        wish = pool.wish(request.model)
        globs = pool.binding(request.allowed)
        fit = [
            target
            for target in pool.candidates(wish, request.kind)
            if not router.unfit(target, request, wish) and (not globs or router.permitted(target, globs))
        ]
        fit = [target for target in fit if not target.paid] or fit
        return [target for target in fit if not router.toy(target)] or fit

    def _lines(self, target: Target, request: Request, kept: float) -> int:
        mono, now = self._clock.monotonic(), self._ledger.time()
        if self._health.of(target.id).until > mono:
            return 0
        account = self._pacing.of(target)
        if account is not None:
            paced = account.describe(mono)
            crowded = paced.concurrent and paced.flying >= max(1, paced.concurrent // 2)
            if paced.wait or crowded or paced.open <= paced.burst // 2:
                return 0
        lane = self._ledger.lane(target)
        if lane.closed > now:
            return 0
        needs = lane.needs(request.tokens_in, request.tokens_out)
        standings = [
            self._standing(counter, float(need), now, kept)
            for counter, need in zip(lane.counters, needs, strict=True)
        ]
        return start_now(tuple(standings), now=now, lines=MANY, kept=kept)

    def _standing(self, counter: Counter, need: float, now: float, kept: float) -> Standing:
        rule = counter.rule
        left = float(counter.available(now, self._ledger.worker))
        if rule.concurrent:
            return Standing(left - 1 if counter.allowed > 1 else left, 0.0, now, need)
        if rule.window.kind == "once":  # spent, it never comes back: only a deadline is worth it
            return Standing(left if not kept else 0.0, 0.0, now, need)
        seen = self._paces.forecast(counter)
        length = windows.length(rule.window) or 1.0
        # What refills by the second is back in full a window from now at the latest.
        back = min(seen.returns_at, now + length) if seen.returns_at > now else now + length
        profile = self._paces.profile
        busy = profile.between(now, back) / (back - now)
        rate = seen.rate * busy * (1.0 - self._shares.get(counter.id, 0.0))
        return Standing(left, max(rate, RESERVE * counter.allowed / length), back, need)

    def _speed(self, target: Target, request: Request) -> float:
        lane = self._ledger.lane(target)
        needs = lane.needs(request.tokens_in, request.tokens_out)
        speeds = [
            counter.allowed / windows.length(counter.rule.window) / need
            for counter, need in zip(lane.counters, needs, strict=True)
            if need and 0.0 < windows.length(counter.rule.window) < math.inf
        ]
        return min(speeds, default=float(MANY))


def shares(quotas: Mapping[str, tuple[float, Sequence[str]]], demand: Iterable[Demand]) -> dict[str, float]:
    """The part of each quota's recent requests that were lines of batches, the older the less it counts. Pure."""
    by_target: dict[str, list[Demand]] = {}
    for one in demand:
        by_target.setdefault(one.target, []).append(one)
    found = {}
    for id, (length, targets) in quotas.items():
        half = min(HALF_LIFE, length) or HALF_LIFE
        ours = whole = 0.0
        for target in targets:
            for one in by_target.get(target, ()):
                weight = one.requests * 0.5 ** (one.minutes * 60.0 / half)
                whole += weight
                ours += weight if one.batch else 0.0
        if ours:
            found[id] = ours / whole
    return found
