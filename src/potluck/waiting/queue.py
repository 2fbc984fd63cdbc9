"""A bounded queue, fair between clients, whose requests are served one walk at a time.

Rules: who found nothing but full quotas may wait, at most until its `wait_until`. Nothing is polled: a line is
tried when its earliest opening has come, or when a hold at one of its providers ended. One waiting request
walks at a time; the next one walks once it holds its quotas or was refused, so an opening wakes as many as
there is room for, and no herd. Who is refused again keeps its place. Fairness is start-time fair queueing
(Goyal, Vin and Cheng, SIGCOMM 1996): each client has a tag, the lowest tag is next, and a request that is
served moves its client's tag by 1 / weight. Time and timers are arguments.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

import msgspec

from potluck.errors import Exhausted
from potluck.pipeline import Handler
from potluck.types import UNSENT, Clock, Reply, Request
from potluck.waiting import refusal
from potluck.waiting.line import SLACK, Key, Line, Waiter, key_of


class Timer(Protocol):
    def cancel(self) -> object: ...


Later = Callable[[float, Callable[[], None]], Timer]  # in so many seconds, do that
Watch = Callable[[Callable[[str], None] | None], None]  # tells us the provider of every hold that ends


class Bounds(msgspec.Struct, frozen=True):
    """How many may wait in this worker, in all and of one client; `implicit` seconds wait all who said nothing."""

    total: int = 512
    each: int = 128
    implicit: float = 0.0


def on_the_loop(seconds: float, act: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, act)


class Queue:
    """The requests of one worker that wait. `busy` says whether there are any, `len()` how many."""

    def __init__(
        self, clock: Clock, watch: Watch, bounds: Bounds | None = None, later: Later = on_the_loop
    ) -> None:
        self._now, self._watch, self._bounds, self._later = clock.monotonic, watch, bounds or Bounds(), later
        self.busy = self._closed = False
        self._lines: dict[Key, Line] = {}
        self._count: dict[str, int] = {}  # of each client
        self._tags: dict[str, float] = {}
        self._virtual, self._number = 0.0, 0
        self._walking: Waiter | None = None
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return sum(self._count.values())

    def close(self) -> None:
        """The gateway ends: whoever waits is refused now, and nobody waits any more."""
        self._closed = True
        for line in self._lines.values():
            for waiter in line.waiters:
                if not waiter.opened.done():
                    waiter.opened.set_result(False)

    async def join(self, request: Request, walk: Handler) -> Reply:
        """A newcomer while others wait: it goes behind those who want the same. Raises Exhausted."""
        line, now = self._lines.get(key_of(request)), self._now()
        if line is not None and not line.fits(request.tokens_in + request.tokens_out, now):
            error = refusal.taken(request.model, len(line.waiters), max(0.0, line.opens - now))
            return await self.wait(request, error, walk, walked=False)
        passing = request.replace(admitted=line.served if line is not None else _nothing)
        try:
            return await walk(passing)
        except Exhausted as error:
            return await self.wait(request, error, walk)

    async def wait(self, request: Request, error: Exhausted, walk: Handler, *, walked: bool = True) -> Reply:
        """Walk again when there is room. Raises Exhausted at once if waiting is unwanted, pointless, or not
        allowed; later, if it was in vain.
        """
        waiter = self._enter(request, error, walked)
        attempts = request.trace.attempts
        try:
            if request.on_wait is not None:
                request.on_wait()
            while await waiter.opened:
                attempts[:] = [attempt for attempt in attempts if attempt.outcome not in UNSENT]
                try:
                    return await walk(waiter.request)
                except Exhausted as refused:
                    self._refused(waiter, refused)
            if waiter.line is not None:
                error.retry_after = max(0.0, waiter.line.opens - self._now())
            raise self._in_vain(error, waiter)
        finally:
            self._leave(waiter)

    def _enter(self, request: Request, error: Exhausted, walked: bool) -> Waiter:
        now, bounds = self._now(), self._bounds
        until = min(request.wait_until or now + bounds.implicit, request.deadline or math.inf)
        if self._closed or not refusal.passes(request, error):
            raise error
        seconds = error.retry_after or 0.0
        if now + max(seconds, SLACK) > until:
            raise refusal.too_late(error, until - now) if request.wait_until > now else error
        if len(self) >= bounds.total:
            raise refusal.no_place(error, f"{bounds.total} requests wait already")
        if self._count.get(request.tenant, 0) >= bounds.each:
            raise refusal.no_place(error, f"{bounds.each} requests of this client wait already")
        self._number += 1
        waiter = Waiter(request, until, self._number)
        waiter.request = request.replace(admitted=lambda: self._admitted(waiter))
        line = self._place(waiter)
        if walked:
            line.refuse(waiter, now, seconds, tried=False)
        self._arm()
        return waiter

    def _place(self, waiter: Waiter) -> Line:
        request = waiter.request
        key, tenant = key_of(request), request.tenant
        line = waiter.line = self._lines.setdefault(key, Line(key))
        line.waiters.append(waiter)
        waiter.since = self._now()
        if tenant not in self._count:
            self._tags[tenant] = max(self._tags.get(tenant, 0.0), self._virtual)
        self._count[tenant] = self._count.get(tenant, 0) + 1
        if not self.busy:
            self.busy = True
            self._watch(self._heard)
        return line

    def _take_out(self, waiter: Waiter, line: Line) -> None:
        request, waiter.line = waiter.request, None
        request.trace.waited += self._now() - waiter.since
        line.remove(waiter)
        if not line.waiters:
            del self._lines[line.key]
        self._count[request.tenant] -= 1
        if not self._count[request.tenant]:
            del self._count[request.tenant]
        if not self._count:  # nobody waits: nobody was treated unfairly
            self.busy = False
            self._watch(None)
            self._tags.clear()
            self._virtual = 0.0

    def _leave(self, waiter: Waiter) -> None:
        """Its wait is over, however it ended. If it was its turn, the turn goes to the next."""
        if waiter.line is not None:
            self._take_out(waiter, waiter.line)
        if self._walking is waiter:
            self._walking = None
        self._arm()

    def _admitted(self, waiter: Waiter) -> None:
        """Its quotas are held: it has left the queue, and the next one may walk."""
        line, tenant = waiter.line, waiter.request.tenant
        if line is None:
            return  # a second hold, after a failover
        self._virtual = max(self._virtual, self._tags[tenant])
        self._tags[tenant] += 1.0 / waiter.weight
        self._take_out(waiter, line)
        line.served()
        self._walking = None
        self._arm()

    def _refused(self, waiter: Waiter, error: Exhausted) -> None:
        """It walked and found nothing. Raises Exhausted when waiting on is pointless."""
        if not refusal.passes(waiter.request, error):
            raise error
        now, seconds = self._now(), error.retry_after or 0.0
        if self._closed or now + seconds > waiter.until:
            raise self._in_vain(error, waiter)
        # A provider may refuse what we had admitted: then it goes back to its place.
        line = waiter.line or self._place(waiter)
        line.refuse(waiter, now, seconds, tried=True)
        waiter.wait()
        if self._walking is waiter:
            self._walking = None
        self._arm()

    def _in_vain(self, error: Exhausted, waiter: Waiter) -> Exhausted:
        now, line = self._now(), waiter.line
        waited = waiter.request.trace.waited + (now - waiter.since if line is not None else 0.0)
        return refusal.in_vain(error, waited)

    def _heard(self, provider: str) -> None:
        now = self._now()
        sooner = [line.heard(provider, now) for line in self._lines.values()]  # every line hears it
        if any(sooner):
            self._arm()

    def _arm(self) -> None:
        """Set the one timer to when something may happen next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, due = self._now(), math.inf
        for line in self._lines.values():
            due = min([due, *[waiter.until for waiter in line.waiters if not waiter.opened.done()]])
            if self._walking is None:
                due = min(due, now if line.ready(now) else max(line.next, now + SLACK))
        if due < math.inf:
            self._timer = self._later(due - now + SLACK if due > now else 0.0, self._turn)

    def _turn(self) -> None:
        """End the waits that lasted too long, and let the next one walk."""
        self._timer = None
        now = self._now()
        for line in self._lines.values():
            for waiter in line.waiters:
                if waiter.until <= now and not waiter.opened.done():
                    waiter.opened.set_result(False)
        if self._walking is None:
            ready = [waiter for line in self._lines.values() for waiter in line.ready(now)]
            if ready:
                self._walking = min(ready, key=self._order)
                self._walking.opened.set_result(True)
        self._arm()

    def _order(self, waiter: Waiter) -> tuple[float, float, int]:
        return self._tags[waiter.request.tenant], -waiter.weight, waiter.number


def _nothing() -> None:
    """Nobody waits for what this one wants, so there is nobody to tell."""
