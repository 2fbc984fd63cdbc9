"""The only attempt loop: a request becomes a plan, and the plan is worked off until one target answers.

Rules: nothing is sent before its quotas are held; failover is free until the first meaningful chunk (the
commit point) and impossible after it; nothing is sent twice that was answered; no retry where a retry cannot
help. Only this module catches `TargetFailed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from potluck import router
from potluck.continuation import further, joined, may_go_on, said
from potluck.delivery import Delivery
from potluck.errors import (
    ContextExceeded,
    DeadlinePassed,
    Exhausted,
    Interrupted,
    Invalid,
    Malformed,
    NotUnderstood,
    PotluckError,
    TargetFailed,
    TimedOut,
    Unavailable,
)
from potluck.estimate import Estimates
from potluck.health import Health
from potluck.pacing import UNPACED, Ending, Pacing
from potluck.progress import Progress, at_least, nothing_left, pointless, sent
from potluck.quota import money
from potluck.quota.ledger import Full, Hold, Ledger, Short
from potluck.quota.pace import Paces
from potluck.router import Outlook, Pool
from potluck.types import Attempt, Chunk, Clock, Plan, Reply, Request, Target, Usage
from potluck.waiting import Queue

PLAN_LIFE = 0.1  # seconds a plan is reused for requests of the same shape: scoring every target is not free
PLANS_KEPT = 512
PACED = "a short pause, so that this account is not hammered; see [pacing]"
SICK = (Unavailable, TimedOut, Malformed)  # failures that count against the target's health


class Sends(Protocol):
    """What carries one attempt out: `delivery.Sender`, or a pretend one in virtual time."""

    async def send(self, delivery: Delivery) -> Reply: ...


class Dispatch:
    """The last handler of the pipeline. `paces` prices what is scarce; without it one of its own is made."""

    def __init__(
        self,
        pool: Callable[[], Pool],
        ledger: Ledger,
        sender: Sends,
        health: Health,
        clock: Clock,
        paces: Paces | None = None,
        queue: Queue | None = None,
        pacing: Pacing = UNPACED,
        estimates: Estimates | None = None,
        *,
        continue_streams: bool = True,
    ) -> None:
        self._pool, self._ledger, self._sender = pool, ledger, sender
        self._paces = paces or Paces(clock, worker=ledger.worker)
        self._health, self._clock = health, clock
        self._queue = Queue(clock, ledger.watch) if queue is None else queue
        self._pacing, self._estimates = pacing, estimates or Estimates()
        self._continue = continue_streams
        self._plans: dict[object, tuple[float, Pool, Plan]] = {}

    async def __call__(self, request: Request) -> Reply:
        """The reply of the first target that answers.

        Raises UnknownModel, Unsupported, Invalid (the request is at fault), DeadlinePassed, or Exhausted.
        """
        if self._queue.busy and request.admitted is None:
            return await self._queue.join(request, self)
        return await self._walk(request, Progress())

    async def _walk(self, request: Request, progress: Progress) -> Reply:
        """Works off one plan."""
        targets = self._plan(request).targets
        for target in targets:
            if sent(request) >= request.budget:
                break
            if pointless(target, request, progress):
                continue
            if request.deadline and self._clock.monotonic() >= request.deadline:
                raise DeadlinePassed("The deadline of this request passed before any target had answered.")
            asked = money.bounded(request, target) if target.paid else request
            if target.paid and not await _afforded(asked, target, progress):
                continue
            try:
                hold = self._hold(asked, target, progress)
            except Short:
                hold = await self._hold_awaited(asked, target, progress)
            if hold is None:
                continue
            reply = await self._try(asked, target, hold, progress, spare=target is not targets[-1])
            if reply is not None:
                return reply
        error = nothing_left(request, progress, self._clock.now())
        if request.admitted is None and isinstance(error, Exhausted) and not progress.avoid:
            return await self._queue.wait(request, error, self)
        raise error

    def _plan(self, request: Request) -> Plan:
        pool, now = self._pool(), self._clock.monotonic()
        key = (request.model, request.kind, request.needs, request.tokens_in.bit_length(), request.allowed)
        kept = self._plans.get(key)
        if kept is not None and kept[0] > now and kept[1] is pool:
            return kept[2]
        plan = router.plan(request, pool, lambda target: self._outlook(target, request))
        if len(self._plans) >= PLANS_KEPT:
            self._plans.clear()
        self._plans[key] = (now + PLAN_LIFE, pool, plan)
        return plan

    def _outlook(self, target: Target, request: Request) -> Outlook:
        pulse, room = self._health.of(target.id), self._ledger.room(target)
        full = room.opens_at > 0.0
        risk = 0.0
        if target.quotas and not full:  # what has no room needs no price
            risk = self._paces.bid(self._ledger.lane(target), request.tokens_in, request.tokens_out)
        return Outlook(room.share, pulse.first_s, pulse.flakiness, risk, full)

    def _hold(self, request: Request, target: Target, progress: Progress) -> Ending | None:
        """A hold on every quota of the target, or None with the reason in the trace."""
        now = self._clock.monotonic()
        account = self._pacing.of(target)
        if account is not None and (opens := account.opens(now)) > now:
            progress.opens = min(progress.opens, self._clock.now() + opens - now)
            request.trace.attempts.append(Attempt(target.id, "paced", PACED, started=now))
            return None
        if not self._health.admits(target.id, now):
            progress.only_quota = False
            wait = self._health.opens_at(target.id) - now
            progress.opens = min(progress.opens, self._clock.now() + max(0.0, wait))
            request.trace.attempts.append(
                Attempt(target.id, "resting", "failed lately; a probe follows", started=now)
            )
            return None
        try:
            hold = self._ledger.reserve(target, *self._size(request, target))
        except Full as full:
            self._full(request, target, progress, full, now)
            return None
        return self._held(request, target, hold, now)

    async def _hold_awaited(self, request: Request, target: Target, progress: Progress) -> Ending | None:
        """The same where the store is across a network and the leases are short."""
        now = self._clock.monotonic()
        try:
            hold = await self._ledger.reserve_async(target, *self._size(request, target))
        except Full as full:
            self._full(request, target, progress, full, now)
            return None
        except BaseException:
            self._health.released(target.id)
            raise
        return self._held(request, target, hold, now)

    def _size(self, request: Request, target: Target) -> tuple[int, int]:
        """Tokens to hold. With money nothing is guessed: the most that may be billed is held."""
        if target.paid:
            return request.tokens_in, request.tokens_out
        known, out = self._estimates, request.tokens_out
        if not request.limited:
            out = known.tokens_out(target.name, out)
        return known.tokens_in(target.name, request.tokens_in), min(out, target.max_output or out)

    def _full(self, request: Request, target: Target, progress: Progress, full: Full, now: float) -> None:
        self._health.released(target.id)
        progress.opens = min(progress.opens, full.retry_at)
        request.trace.attempts.append(Attempt(target.id, "full", str(full), started=now))

    def _held(self, request: Request, target: Target, hold: Hold, now: float) -> Ending:
        account = self._pacing.of(target)
        if request.admitted is not None:
            request.admitted()
        return hold if account is None else account.take(hold, now)

    async def _try(
        self, request: Request, target: Target, hold: Ending, progress: Progress, spare: bool
    ) -> Reply | None:
        attempt = Attempt(target.id, started=self._clock.monotonic())
        request.trace.attempts.append(attempt)
        delivery = Delivery(
            request, target, hold, attempt, self._ledger, self._health, self._clock, self._estimates, spare
        )
        if self._continue and may_go_on(request) and not progress.avoid:
            delivery.onward = self._go_on
        try:
            return await self._sender.send(delivery)
        except TargetFailed as failure:
            self._failed(delivery, failure, progress)
            return None
        except BaseException:  # the client left or we are shutting down: what was sent stays counted
            attempt.outcome = "cancelled"
            attempt.cost = money.cost(target, request.tokens_in, request.tokens_out)
            hold.doubt()
            self._health.released(target.id)
            raise

    async def _go_on(
        self, delivery: Delivery, shown: list[Chunk], broken: Interrupted
    ) -> AsyncIterator[Chunk]:
        """The rest of a broken answer from the next target. Raises `broken` if nobody can go on with it."""
        text, request = said(shown), delivery.request
        if not text:
            raise broken
        try:
            progress = Progress(avoid=delivery.target.id)
            reply = delivery.after = await self._walk(further(request, text), progress)
            by = request.trace.attempts[-1].target
            async for chunk in joined(text, reply, f"chatcmpl-{request.trace.id}", by):
                yield chunk
        except PotluckError as error:
            raise broken from error

    def _failed(self, delivery: Delivery, failure: TargetFailed, progress: Progress) -> None:
        target, attempt, hold = delivery.target, delivery.attempt, delivery.hold
        request = delivery.request
        attempt.outcome, attempt.detail, attempt.status = failure.outcome, str(failure), failure.status
        attempt.ended = self._clock.monotonic()
        if not failure.sent:
            hold.release()
        elif failure.usage is not None:
            delivery.settled(at_least(failure.usage, request))
        elif isinstance(failure, SICK):
            attempt.cost = money.cost(target, request.tokens_in, request.tokens_out)
            hold.doubt()
        elif target.behaviour.failed_requests_count:
            hold.settle(Usage())
        else:
            hold.release()
        if isinstance(failure, SICK):
            self._health.failed(target.id, attempt.ended)
        else:
            self._health.released(target.id)
        progress.only_quota &= failure.outcome in ("rate_limited", "too_large")
        if isinstance(failure, NotUnderstood):
            self._misread(failure, target, progress)
        elif isinstance(failure, ContextExceeded):
            progress.overflow = max(progress.overflow, target.context, 1)
        else:
            size = sum(self._size(request, target))  # what a 413 was too large with
            progress.opens = min(progress.opens, self._ledger.refused(target, failure, size))

    def _misread(self, failure: NotUnderstood, target: Target, progress: Progress) -> None:
        if progress.misread is not None:
            raise Invalid(f"Two providers refused this request; the first said: {progress.misread}")
        progress.misread, progress.misread_by = failure, target.provider


async def _afforded(request: Request, target: Target, progress: Progress) -> bool:
    """Whether the client's own money is enough for the most this may cost; if so, that is held."""
    afford = request.afford
    if afford is None:
        return True
    opens = await afford(money.cost(target, request.tokens_in, request.tokens_out))
    if opens:
        progress.opens = min(progress.opens, opens)
        request.trace.attempts.append(Attempt(target.id, "full", "the client key's money for today"))
    return not opens
