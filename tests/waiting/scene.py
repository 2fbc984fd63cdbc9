"""A queue with time that stands still until told, before a counter with so many places: what its tests share."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable

from potluck.errors import Exhausted
from potluck.types import Attempt, Priority, Reply, Request, Trace
from potluck.waiting import Bounds, Queue, Timer


class Hands:
    """A clock and its timers: `move` runs what is due, in order, and lets the event loop come to rest."""

    def __init__(self) -> None:
        self.at = 1000.0
        self._timers: list[tuple[float, int, Alarm]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def later(self, seconds: float, act: Callable[[], None]) -> Timer:
        alarm = Alarm(act)
        heapq.heappush(self._timers, (self.at + seconds, next(self._number), alarm))
        return alarm

    def pending(self, by: float = 0.0) -> int:
        """Timers that will ring within `by` seconds."""
        return sum(alarm.act is not None and at <= self.at + by for at, _, alarm in self._timers)

    def ring(self) -> None:
        """The next timer that is due now rings, and nothing else runs yet."""
        while self._timers and self._timers[0][0] <= self.at:
            alarm = heapq.heappop(self._timers)[2]
            if alarm.act is not None:
                alarm.act()
                return
        raise AssertionError("no timer is due")

    async def move(self, seconds: float) -> int:
        """How many timers rang."""
        rang, until = 0, self.at + seconds
        await rest()
        while self._timers and self._timers[0][0] <= until:
            at, _, alarm = heapq.heappop(self._timers)
            if alarm.act is not None:
                self.at = max(self.at, at)
                alarm.act()
                rang += 1
                await rest()
        self.at = until
        return rang


class Alarm:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


async def rest() -> None:
    """Until every task of the loop waits for something."""
    for _ in range(12):
        await asyncio.sleep(0)


class Counter:
    """`free` tokens of one provider. A request takes its `tokens_in` and keeps them until `end`."""

    def __init__(self, hands: Hands, free: int, bounds: Bounds | None = None) -> None:
        self.hands, self.free, self.opens = hands, free, math.inf
        self.served: list[str] = []
        self.flying: dict[str, int] = {}
        self.walks = 0
        self.listener: Callable[[str], None] | None = None
        self.queue = Queue(hands, self._watch, bounds, hands.later)

    def _watch(self, listener: Callable[[str], None] | None) -> None:
        self.listener = listener

    async def walk(self, request: Request) -> Reply:
        """Dispatch in small: to the queue if others wait, else a hold or Exhausted."""
        if self.queue.busy and request.admitted is None:
            return await self.queue.join(request, self.walk)
        self.walks += 1
        trace = request.trace
        if self.free < request.tokens_in:
            trace.attempts.append(Attempt("acme/m", "full"))
            seconds = self.opens - self.hands.at
            error = Exhausted(
                "full", retry_after=max(0.25, seconds) if seconds < math.inf else 0.25, quota=True
            )
            if request.admitted is None:
                return await self.queue.wait(request, error, self.walk)
            raise error
        self.free -= request.tokens_in
        self.flying[trace.id] = request.tokens_in
        self.served.append(trace.id)
        if request.admitted is not None:
            request.admitted()
        trace.attempts.append(Attempt("acme/m", "ok"))
        return Reply(None)

    def end(self, id: str) -> None:
        """An answer has ended: its tokens are free again."""
        self.free += self.flying.pop(id)
        self.hear("acme")

    def hear(self, provider: str) -> None:
        """A hold at `provider` has ended."""
        if self.listener is not None:
            self.listener(provider)

    def refill(self, tokens: int) -> None:
        """What a window gives back: nobody tells the queue, its timer must know."""
        self.free += tokens


def ask(
    id: str,
    *,
    tenant: str = "a",
    wait: float = 60.0,
    now: float = 1000.0,
    tokens: int = 1,
    priority: Priority = "normal",
    model: str = "auto",
) -> Request:
    return Request(
        model=model,
        body={},
        tenant=tenant,
        tokens_in=tokens,
        priority=priority,
        wait_until=now + wait,
        trace=Trace(id=id),
    )
