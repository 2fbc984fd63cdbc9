"""Replays days in virtual time through the real ledger, router and dispatch: what would be served, and what not.

Rules: only clock, providers and workload are pretended; every decision is taken by the code that serves. The
same targets, workload and start give the same report, to the last request. Who waits for room is asked again
when the first quota opens, in place of the queue, whose timers belong to a real event loop.
"""

from __future__ import annotations

import heapq
from collections import Counter as Tally
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from potluck.app.virtual import Providers, VirtualClock
from potluck.app.workload import HOUR, Ask
from potluck.dispatch import Dispatch
from potluck.errors import PotluckError
from potluck.health import Health
from potluck.pacing import UNPACED, Pacing
from potluck.quota import windows
from potluck.quota.counter import Counter
from potluck.quota.ledger import Ledger
from potluck.quota.memory import MemoryStore
from potluck.quota.pace import Paces
from potluck.router import Pool, Profile, Wish
from potluck.types import UNSENT, Quota, Request, Target, Trace

SETTLE = 900.0  # seconds after the last request: its answer may still come
FLUSH = 600.0  # virtual seconds between flushes; a lease runs out long before and is asked for again
ROOM = 1.25  # an answer is reserved this much longer than it turns out: clients do not know it before
FULL = " is full"  # how `quota.room.Full` ends
AGAIN = 0.25  # seconds: nobody is asked again sooner

T = TypeVar("T")
Progress = Callable[[int], object]


class Stock(msgspec.Struct, frozen=True):
    """One quota after the days. Amounts in its unit; `ran_out_at` seconds from the start, -1 = never did."""

    scope: str
    label: str
    unit: str
    amount: int
    left: int
    ran_out_at: float
    used: float
    long: bool  # of an hour or more: what is left of a minute says nothing


class Hourly(msgspec.Struct):
    """One hour: requests by what became of them."""

    served: int = 0
    refused: int = 0


class Report(msgspec.Struct, frozen=True):
    """What became of a workload. `quality` is the mean tier of those that served."""

    asked: int
    served: int
    refused: int
    quality: float
    targets: dict[str, int]
    hours: list[Hourly]
    stocks: list[Stock]
    blocked: dict[str, int]  # by what was full when a request was refused, most often first
    first_refusal: float  # seconds from the start, -1 = none
    never: int  # of the refused: no target could ever have served them
    overruns: dict[str, int]  # refused by a provider although the ledger had said yes: there must be none
    tokens_in: int
    tokens_out: int
    waited: int  # requests that had to wait for room, served in the end or not
    missed: list[tuple[int, int, int]]  # (tokens in, tokens out, lowest tier) of the refused

    @property
    def bottleneck(self) -> str:
        """What stood in the way most often; "" if nothing did."""
        return next(iter(self.blocked), "")

    @property
    def first_out(self) -> Stock | None:
        """The quota of an hour or more that ran out first."""
        ran = [stock for stock in self.stocks if stock.long and stock.ran_out_at >= 0]
        return min(ran, key=lambda stock: stock.ran_out_at, default=None)


class House:
    """The parts that are real, over a store that forgets."""

    def __init__(
        self, targets: Iterable[Target], start: float, dispatch: type[Dispatch], pacing: Pacing
    ) -> None:
        self.clock = VirtualClock(start)
        self.pool = Pool(targets, {f"at-least-{n}": Profile(Wish(min_quality=n)) for n in range(1, 6)})
        self.ledger = Ledger(MemoryStore(), self.clock, worker="simulate", jitter=lambda: 0.5)
        self.providers = Providers(self.clock)
        self.paces = Paces(self.clock, worker=self.ledger.worker)
        self.dispatch = dispatch(
            lambda: self.pool, self.ledger, self.providers, Health(), self.clock, self.paces, None, pacing
        )


class Play:
    """One replay, filled in as it goes."""

    def __init__(self, house: House, start: float, hours: int, wait: float) -> None:
        self.house, self.start, self.wait = house, start, wait
        self.waiting: list[tuple[float, int, Ask]] = []  # a heap: when to ask again, number, who
        self.waited: set[int] = set()
        self.hours = [Hourly() for _ in range(hours)]
        self.targets: Tally[str] = Tally()
        self.blocked: Tally[str] = Tally()
        self.ran_out: dict[str, float] = {}
        self.quality = self.tokens_in = self.tokens_out = self.never = 0
        self.missed: list[tuple[int, int, int]] = []
        self.first_refusal = -1.0
        self._flushed = start

    def ask(self, ask: Ask, number: int) -> None:
        """One request at its moment, after those that waited for an earlier one."""
        self.until(ask.at)
        self._try(ask, ask.at, number)

    def until(self, at: float) -> None:
        """Let those who wait be asked whose turn comes before `at`."""
        while self.waiting and self.waiting[0][0] <= at:
            moment, number, ask = heapq.heappop(self.waiting)
            self._try(ask, moment, number)

    def _try(self, ask: Ask, at: float, number: int) -> None:
        house, now = self.house, self.start + at
        house.providers.advance(now)
        if now - self._flushed >= FLUSH:
            self._flushed = now
            house.ledger.flush()
        request = _request(ask)
        hour = self.hours[min(len(self.hours) - 1, int(ask.at // HOUR))]
        try:
            drive(house.dispatch(request))
        except PotluckError as error:
            again = at + max(AGAIN, error.retry_after or 0.0)
            if error.retry_after is not None and again <= ask.at + self.wait:
                heapq.heappush(self.waiting, (again, number, ask))
                self.waited.add(number)
                return
            hour.refused += 1
            self._refused(ask, request)
        else:
            hour.served += 1
            self._served(ask, request)
        for attempt in request.trace.attempts:
            if attempt.outcome == "full":
                self.ran_out.setdefault(attempt.detail.removesuffix(FULL), ask.at)

    def _served(self, ask: Ask, request: Request) -> None:
        target = self.house.pool.by_id[request.trace.attempts[-1].target]
        self.targets[target.id] += 1
        self.quality += target.quality
        self.tokens_in += ask.tokens_in
        self.tokens_out += ask.tokens_out
        for counter in self.house.ledger.lane(target).counters:
            if counter.remaining + counter.free < counter.rule.scale:
                self.ran_out.setdefault(name_of(counter.rule.quota), ask.at)

    def _refused(self, ask: Ask, request: Request) -> None:
        self.missed.append((ask.tokens_in, ask.tokens_out, ask.quality))
        if self.first_refusal < 0:
            self.first_refusal = ask.at
        full = {attempt.detail for attempt in request.trace.attempts if attempt.outcome in UNSENT}
        for detail in full:
            self.blocked[detail.removesuffix(FULL)] += 1
        self.never += not full

    def report(self) -> Report:
        house = self.house
        house.ledger.flush()
        served = self.targets.total()
        stocks: dict[str, Stock] = {}
        for target in house.pool.targets:
            for counter in house.ledger.lane(target).counters:
                if not counter.rule.concurrent and counter.id not in stocks:
                    stocks[counter.id] = self._stock(counter)
        return Report(
            served + len(self.missed), served, len(self.missed), self.quality / served if served else 0.0,
            dict(self.targets.most_common()), self.hours, list(stocks.values()),
            dict(self.blocked.most_common()), self.first_refusal, self.never, dict(house.providers.overruns),
            self.tokens_in, self.tokens_out, len(self.waited), self.missed,
        )  # fmt: skip

    def _stock(self, counter: Counter) -> Stock:
        seen = counter.describe(self.house.clock.now(), self.house.ledger.worker)
        long = windows.length(counter.rule.window) >= HOUR
        ran_out = self.ran_out.get(name_of(counter.rule.quota), -1.0)
        return Stock(
            seen.scope,
            seen.label,
            seen.unit,
            seen.amount,
            seen.left,
            ran_out,
            seen.used,
            long,
        )


def run(
    targets: Iterable[Target],
    workload: Sequence[Ask],
    start: float,
    progress: Progress | None = None,
    *,
    wait: float = 0.0,
    pacing: Pacing = UNPACED,
    dispatch: type[Dispatch] = Dispatch,
) -> Report:
    """What becomes of a workload (in order of time) that begins at `start`, in epoch seconds.

    `progress` is told now and then how many requests are done. A request without room is asked again for `wait`
    seconds; `pacing` is the gateway's manners, `dispatch` what a benchmark compares with.
    Raises ConfigError for targets that clash.
    """
    last = workload[-1].at if workload else 0.0
    hours = max(24, int(last // HOUR) + 1)
    play = Play(House(targets, start, dispatch, pacing), start, hours, wait)
    for number, ask in enumerate(workload):
        play.ask(ask, number)
        if progress is not None and not number % 256:
            progress(number)
    play.until(last + wait + AGAIN)
    clock = play.house.clock
    play.house.providers.advance(min(clock.at + SETTLE, max(clock.at, start + hours * HOUR - 1)))
    return play.report()


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that waits for nothing returns: in virtual time everything is ready at once."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a simulated request waited for the real world")


def name_of(quota: Quota) -> str:
    """As `Full` calls it."""
    return f"{quota.scope}: {quota.label or quota.unit}"


def _request(ask: Ask) -> Request:
    # The answer's real length travels beside the request; what is reserved is what a client would allow for.
    trace = Trace(notes={"answer": str(ask.tokens_out)})
    return Request(
        f"at-least-{ask.quality}" if ask.quality else "auto",
        {},
        ask.kind,
        tokens_in=ask.tokens_in,
        tokens_out=int(ask.tokens_out * ROOM) + 1 if ask.kind == "chat" else 0,
        needs=ask.needs,
        trace=trace,
        admitted=_nothing,  # says to dispatch that waiting is somebody else's business
    )


def _nothing() -> None:
    pass
