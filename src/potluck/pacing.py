"""Keeps one account's use looking like a person's: bursts are shaped before anything is sent.

Rules: these are Potluck's own manners, never a provider's number; the ledger knows those. A paced account costs a
request nothing when there is another target: it is refused for a moment, as a full quota is, and the walk goes on.
Rates are the generic cell rate algorithm (virtual scheduling, ITU-T I.371 annex A; RFC 2697 calls its two numbers
rate and burst): one number per account, no queue and no timer. Times are monotonic seconds, passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from potluck.types import Secret, Target, Usage
from potluck.upstream import Origin

ROUNDING = 1e-6  # seconds: sums of floats are not exact
FLIGHT = 0.25  # seconds: when a request in flight ends, nobody knows


class Pace(msgspec.Struct, frozen=True):
    """`gap` seconds between requests in the long run, `burst` at once after a pause, `concurrent` in flight.

    `per_host`: requests a second to one host, over all its accounts and models. 0 = no limit for each.
    """

    gap: float = 0.0
    burst: int = 1
    concurrent: int = 0
    per_host: float = 0.0

    def shared_by(self, workers: int) -> Pace:
        """One worker's part, so that all of them together keep the pace without talking to each other."""
        if workers == 1:
            return self
        return Pace(
            self.gap * workers,
            max(1, self.burst // workers),
            max(1, self.concurrent // workers) if self.concurrent else 0,
            self.per_host / workers,
        )


class Paced(msgspec.Struct, frozen=True):
    """One account as people see it: `open` of `burst` requests may go at once. Seconds: `wait` until the next may,
    `whole` until a whole burst may.
    """

    provider: str
    open: int
    burst: int
    flying: int
    concurrent: int
    wait: float
    whole: float


class Ending(Protocol):
    """What ends a hold; see `quota.hold`."""

    def settle(self, usage: Usage, *, cut: bool = False) -> None: ...
    def doubt(self) -> None: ...
    def release(self) -> None: ...


class Rate:
    """The generic cell rate algorithm: `due` is when the next request would come if all kept the gap."""

    __slots__ = ("_burst", "_due", "_gap")

    def __init__(self, gap: float, burst: int) -> None:
        self._gap, self._burst, self._due = gap, burst, 0.0

    def opens(self) -> float:
        return self._due - self._gap * (self._burst - 1) - ROUNDING

    def take(self, now: float) -> None:
        self._due = max(now, self._due) + self._gap

    def whole(self, now: float) -> float:
        """Seconds until a whole burst may go."""
        return max(0.0, self._due - now)

    def left(self, now: float) -> int:
        """How many may go at once now."""
        if not self._gap:
            return self._burst
        behind = max(0.0, self._due - now) / self._gap
        return max(0, int(self._burst - behind + 1e-9))


class Account:
    """One account at one host. Consult `opens`, then `take` for each request that is sent."""

    __slots__ = ("_host", "_pace", "_provider", "_rate", "flying")

    def __init__(self, provider: str, pace: Pace, host: Rate) -> None:
        self._provider, self._pace, self._host = provider, pace, host
        self._rate, self.flying = Rate(pace.gap, pace.burst), 0

    def opens(self, now: float) -> float:
        """When a request may go, `now` or earlier if it may."""
        if self._pace.concurrent and self.flying >= self._pace.concurrent:
            return now + FLIGHT
        return max(self._rate.opens(), self._host.opens())

    def take(self, hold: Ending, now: float) -> Ending:
        """A request goes: a hold that also says when it has ended."""
        self._rate.take(now)
        self._host.take(now)
        self.flying += 1
        return _Flight(self, hold)

    def describe(self, now: float) -> Paced:
        pace = self._pace
        wait = max(0.0, self.opens(now) - now)
        left, whole = self._rate.left(now), self._rate.whole(now)
        return Paced(self._provider, left, pace.burst, self.flying, pace.concurrent, wait, whole)


class _Flight:
    """A hold whose first ending also frees the account's place; later endings do nothing."""

    __slots__ = ("_account", "_hold")

    def __init__(self, account: Account, hold: Ending) -> None:
        self._account: Account | None = account
        self._hold = hold

    def settle(self, usage: Usage, *, cut: bool = False) -> None:
        self._land()
        self._hold.settle(usage, cut=cut)

    def doubt(self) -> None:
        self._land()
        self._hold.doubt()

    def release(self) -> None:
        self._land()
        self._hold.release()

    def _land(self) -> None:
        account, self._account = self._account, None
        if account is not None:
            account.flying -= 1


class Pacing:
    """The accounts of one worker. `rule` says how a target's account is paced; None = not at all."""

    def __init__(self, rule: Callable[[Target], Pace | None]) -> None:
        self._rule = rule
        self._known: dict[str, tuple[Target, Account | None]] = {}
        self._accounts: dict[tuple[str, Secret, Origin], tuple[Pace, Account]] = {}
        self._hosts: dict[Origin, Rate] = {}

    def of(self, target: Target) -> Account | None:
        known = self._known.get(target.id)
        if known is not None and known[0] is target:
            return known[1]
        account = self._find(target)
        self._known[target.id] = (target, account)
        return account

    def accounts(self, now: float) -> Iterator[Paced]:
        """Those that were asked about so far."""
        for _, account in self._accounts.values():
            yield account.describe(now)

    def _find(self, target: Target) -> Account | None:
        pace = self._rule(target)
        if pace is None:
            return None
        origin = Origin.of(target.base_url)
        key = (target.provider, target.key, origin)
        found = self._accounts.get(key)
        if found is None or found[0] != pace:
            host = self._hosts.get(origin)
            if host is None:
                each = 1.0 / pace.per_host if pace.per_host else 0.0
                host = self._hosts[origin] = Rate(each, max(1, round(pace.per_host)))
            found = self._accounts[key] = (pace, Account(target.provider, pace, host))
        return found[1]


UNPACED = Pacing(lambda target: None)
