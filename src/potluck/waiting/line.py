"""Those who wait for the same: when to try again, and who of them may try.

Rules: no clock and no timer in here; times are passed in and monotonic. A request that does not fit yet may be
passed by smaller ones, `PASSES` times and no more, then the line is barred until it was served.
"""

from __future__ import annotations

import asyncio
import math

from potluck.types import Request

WEIGHTS = {"high": 4.0, "normal": 2.0, "low": 1.0}
AGAIN = 0.05  # seconds at least between two tries that both failed
LOOK = 5.0  # seconds between tries when nothing was heard: another worker's holds end without telling us
PASSES = 8
SLACK = 0.001  # seconds: how coarse timers are

Key = tuple[str, str, frozenset[str], tuple[str, ...]]


def key_of(request: Request) -> Key:
    """What makes two requests want the same: the wish, the kind, what a target must be able to do, and where
    their client keys may go.
    """
    return request.model, request.kind, request.needs, request.allowed


class Waiter:
    """One request that waits. `line` is None while it is not in the queue: admitted, or gone."""

    __slots__ = ("line", "need", "number", "opened", "passed", "request", "since", "until", "weight")

    def __init__(self, request: Request, until: float, number: int) -> None:
        self.request, self.until, self.number = request, until, number
        self.need = request.tokens_in + request.tokens_out
        self.weight = WEIGHTS[request.priority]
        self.since, self.passed = 0.0, 0
        self.line: Line | None = None
        self.wait()

    def wait(self) -> None:
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Line:
    """`refused` is the smallest request (tokens) that did not fit, `opens` when it may, `next` when to try.

    `blocker` is who was refused first and still waits.
    """

    __slots__ = ("_failed", "_providers", "blocker", "key", "next", "opens", "refused", "waiters")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.waiters: list[Waiter] = []
        self.opens = self.next = self.refused = math.inf
        self.blocker: Waiter | None = None
        self._failed = -math.inf  # when a try failed last, since one succeeded
        self._providers: frozenset[str] = frozenset()

    @property
    def barred(self) -> bool:
        return self.blocker is not None and self.blocker.passed >= PASSES

    def fits(self, need: int, now: float) -> bool:
        """Whether a request of `need` tokens is worth a try although others wait."""
        return need < self.refused and now < self.next and not self.barred

    def ready(self, now: float) -> list[Waiter]:
        """Who may try now. Whoever's wait is over already is not among them."""
        among = self.waiters
        if self.barred and self.blocker is not None:
            among = [self.blocker] if self.next <= now else []
        elif self.next > now:
            among = [waiter for waiter in among if waiter.need < self.refused]
        return [waiter for waiter in among if not waiter.opened.done()]

    def refuse(self, waiter: Waiter, now: float, seconds: float, *, tried: bool) -> None:
        """`waiter` found no room, and some may open in `seconds`. `tried`: it was in the line already."""
        floor = AGAIN if tried and now - self._failed < LOOK else SLACK
        opens = now + max(floor, seconds)
        if tried:
            self._failed = now
        late = self.next <= now  # what was known before is out of date
        self.opens = opens if late else min(self.opens, opens)
        self.refused = waiter.need if late else min(self.refused, waiter.need)
        self.next = min(self.opens, now + LOOK)
        self.blocker = self.blocker or waiter
        asked = waiter.request.trace.attempts
        self._providers |= {attempt.target.partition("/")[0] for attempt in asked}

    def heard(self, provider: str, now: float) -> bool:
        """A hold at `provider` ended: what was refused may fit now. Whether that brings the next try forward."""
        soon = max(now, self._failed + AGAIN)
        if provider not in self._providers or self.next <= soon:
            return False
        self.next = soon
        return True

    def served(self) -> None:
        """A request got what those in this line want."""
        self._failed = -math.inf
        if self.blocker is not None:
            self.blocker.passed += 1

    def remove(self, waiter: Waiter) -> None:
        self.waiters.remove(waiter)
        if self.blocker is waiter:
            self.blocker = None
