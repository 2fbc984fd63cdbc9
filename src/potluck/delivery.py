"""One attempt on the wire: send it, find the commit point, relay the rest, and settle whatever happens.

A `Delivery` owns the exchange and the hold of one attempt. It is closed exactly once, by the reply that owns
it or by the failure that ends it, and closing settles: usage as reported, else what was seen of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import msgspec

from potluck.dialects import DIALECTS, Dialect, StreamReader, flaws
from potluck.dialects.openai import wants_usage, with_usage
from potluck.errors import Interrupted, TargetFailed, Unavailable
from potluck.estimate import Estimates
from potluck.health import Health
from potluck.pacing import Ending
from potluck.quota import money
from potluck.quota.ledger import Ledger
from potluck.types import Attempt, Chunk, Clock, Event, Reply, Request, Target, Usage
from potluck.upstream import Call, Exchange, Origin, Timeouts, Upstream, header_lines

ERROR_BODY = 256 * 1024  # bytes of an error that we read
ANSWER_BODY = 64 * 1024 * 1024  # bytes of a JSON answer that we accept
BYTES_PER_OUTPUT_TOKEN = 3.0  # of relayed stream text, when the provider never said
OVERSHOOT = 8  # tokens a provider may have generated before it noticed that nobody listens
GRACE = 0.05  # seconds for the last bytes after the terminator, so that the connection can be used again


class Patience(msgspec.Struct, frozen=True):
    """Seconds. `answer` is how long a JSON answer may take, `first` how long a stream's first byte."""

    connect: float = 5.0
    first: float = 30.0
    first_local: float = 120.0  # a model on this machine is slow, but it does not get lost
    answer: float = 120.0
    stall: float = 30.0
    total: float = 600.0


Onward = Callable[["Delivery", list[Chunk], Interrupted], AsyncIterator[Chunk]]


class Delivery:
    """One attempt: what is sent where, what is held for it, and what came of it."""

    __slots__ = (
        "_clock",
        "_estimates",
        "_health",
        "_ledger",
        "after",
        "attempt",
        "exchange",
        "hold",
        "onward",
        "reader",
        "request",
        "spare",
        "target",
        "text_bytes",
    )

    def __init__(
        self,
        request: Request,
        target: Target,
        hold: Ending,
        attempt: Attempt,
        ledger: Ledger,
        health: Health,
        clock: Clock,
        estimates: Estimates | None = None,
        spare: bool = False,
    ) -> None:
        self._estimates = estimates
        self.request, self.target, self.hold, self.attempt = request, target, hold, attempt
        self._ledger, self._health, self._clock = ledger, health, clock
        self.spare = spare  # whether another target could be tried, so that a flawed answer need not be taken
        self.exchange: Exchange | None = None
        self.reader: StreamReader | None = None
        self.text_bytes = 0
        self.onward: Onward | None = None  # goes on where the stream breaks off, if that is honest
        self.after: Reply | None = None  # the reply that goes on

    def arrived(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.attempt.status = exchange.status

    def committed(self) -> None:
        """The answer has begun: no failover from here on."""
        attempt = self.attempt
        attempt.outcome, attempt.first = "ok", self._clock.monotonic()
        self._health.succeeded(self.target.id, attempt.first - attempt.started)
        exchange = self.exchange
        if exchange is not None and self.target.behaviour.rate_headers:
            self._ledger.observe(self.target, exchange.headers)
        if self.target.quotas:
            room = self._ledger.room(self.target)
            if room.scarcest is not None:
                self.request.trace.left = f"{room.left} {room.scarcest.label or room.scarcest.unit}"

    def settled(self, usage: Usage, *, cut: bool = False) -> None:
        target, attempt = self.target, self.attempt
        attempt.usage = usage
        if target.paid:
            attempt.cost = money.cost(target, usage.input, usage.output)
        attempt.ended = self._clock.monotonic()
        self.hold.settle(usage, cut=cut)
        if self._estimates is not None and not usage.estimated:
            self._estimates.learn(target.name, self.request.tokens_in, usage.input, usage.output)

    def broke(self, failure: TargetFailed) -> None:
        """The stream failed after the commit point."""
        self.attempt.outcome, self.attempt.detail = "interrupted", str(failure)
        self._health.failed(self.target.id, self._clock.monotonic())

    def close(self) -> None:
        """Gives the socket back (or cuts it) and settles the hold. Idempotent."""
        exchange, reader = self.exchange, self.reader
        if self.after is not None:
            self.after.close()
        if exchange is not None:
            if reader is not None and reader.done and not exchange.complete:
                asyncio.get_running_loop().call_later(GRACE, exchange.close)
            else:
                exchange.close()
        if self.attempt.ended:
            return
        cut = reader is not None and not reader.finished
        if cut and self.attempt.outcome == "ok":
            self.attempt.outcome = "cancelled"  # the client left before the answer ended
        self.settled(self.seen(), cut=cut)

    def seen(self) -> Usage:
        """Usage as reported, or what a provider that never said must have counted by now."""
        reader = self.reader
        if self.target.paid and (reader is None or reader.usage is None or not reader.finished):
            # Money: what may have been billed by now is the most that was asked for.
            return Usage(self.request.tokens_in, self.request.tokens_out, estimated=True)
        if reader is not None and reader.usage is not None:
            return reader.usage
        output = 0
        if reader is not None:
            output = max(reader.events, int(self.text_bytes / BYTES_PER_OUTPUT_TOKEN / 8)) + OVERSHOOT
        return Usage(self._prompt_tokens(), output, estimated=True)

    def _prompt_tokens(self) -> int:
        """What was held for the prompt, where the provider never said what it counted."""
        measured = self.request.tokens_in
        known = self._estimates
        return measured if known is None else known.tokens_in(self.target.name, measured)


class Sender:
    """Turns a delivery into a reply through the one client that opens sockets."""

    def __init__(self, upstream: Upstream, patience: Patience) -> None:
        self._upstream, self._patience = upstream, patience
        self._routes: dict[tuple[str, str, bool], tuple[Target, Origin, str, bytes, Dialect]] = {}

    async def send(self, delivery: Delivery) -> Reply:
        """The reply of this target. Raises TargetFailed; the delivery is then closed on the wire."""
        request, target = delivery.request, delivery.target
        origin, path, headers, dialect = self._route(target, request.kind, request.stream)
        call = Call(
            origin, path, headers, dialect.encode(request, target), timeouts=self._timeouts(request, target)
        )
        exchange = await self._upstream.send(call)
        delivery.arrived(exchange)
        try:
            if exchange.status != 200:
                body = await exchange.body(ERROR_BODY)
                raise dialect.blame(exchange.status, exchange.headers, body, target.behaviour)
            if request.stream:
                return await self._stream(delivery, exchange, dialect)
            return await self._whole(delivery, exchange, dialect)
        except BaseException:
            exchange.close()
            raise

    async def _whole(self, delivery: Delivery, exchange: Exchange, dialect: Dialect) -> Reply:
        raw = await exchange.body(ANSWER_BODY)
        chunk, usage = dialect.whole(raw, delivery.request.kind)
        exchange.close()
        if delivery.spare and (flaw := flaws.of_whole(chunk, delivery.request, usage)) is not None:
            raise flaw
        delivery.committed()
        if usage is None:
            request, paid = delivery.request, delivery.target.paid
            said = len(raw) // 4 if request.kind == "chat" else 0
            usage = Usage(request.tokens_in, request.tokens_out if paid else said, estimated=True)
            request.trace.notes["usage"] = "estimated"
            chunk = with_usage(chunk, usage) if request.kind == "chat" else chunk
        delivery.settled(usage)
        return Reply(None, whole=chunk)

    async def _stream(self, delivery: Delivery, exchange: Exchange, dialect: Dialect) -> Reply:
        reader = delivery.reader = dialect.reader(delivery.request)
        opening: list[Chunk] = []
        while not reader.meaningful:
            data = await exchange.read()
            chunk = reader.feed(data) if data else reader.end()
            if chunk is not None:
                opening.append(chunk)
            if not data and not reader.meaningful:
                raise Unavailable("the provider's stream ended without a single word in it", status=200)
        if delivery.spare and reader.finished and not reader.events:
            flaw = flaws.of_ending(reader.finish, said=False, usage=reader.usage)
            if flaw is not None:
                raise flaw
        delivery.committed()
        return Reply(_relay(delivery, exchange, reader, opening), delivery.close)

    def _route(self, target: Target, kind: str, stream: bool) -> tuple[Origin, str, bytes, Dialect]:
        """What is the same for every request to a target, computed once."""
        kept = self._routes.get((target.id, kind, stream))
        if kept is not None and kept[0] is target:
            return kept[1:]
        dialect = DIALECTS[target.behaviour.dialect]
        origin, prefix = Origin.of(target.base_url), urlsplit(target.base_url).path.rstrip("/")
        lines = [("content-type", "application/json"), *target.behaviour.headers]
        if target.key:
            name, scheme = ("authorization", "Bearer ") if target.auth == "bearer" else (target.auth, "")
            lines.append((name, scheme + target.key.reveal()))
        route = (target, origin, prefix + dialect.path(target, kind, stream), header_lines(lines), dialect)
        self._routes[target.id, kind, stream] = route
        return route[1:]

    def _timeouts(self, request: Request, target: Target) -> Timeouts:
        patience = self._patience
        first = patience.first_local if target.local else patience.first
        head = first if request.stream else max(first, patience.answer)
        return Timeouts(patience.connect, head, head, max(patience.stall, first), patience.total)


async def _relay(
    delivery: Delivery, exchange: Exchange, reader: StreamReader, opening: list[Chunk]
) -> AsyncIterator[Chunk]:
    """The rest of a committed stream. Raises Interrupted if it breaks and nobody can go on."""
    shown = None if delivery.onward is None else opening
    try:
        for chunk in opening:
            yield chunk
        while True:
            data = await exchange.read()
            chunk_or_none = reader.feed(data) if data else reader.end()
            if chunk_or_none is not None:
                delivery.text_bytes += len(chunk_or_none.raw)
                if shown is not None:
                    shown.append(chunk_or_none)
                yield chunk_or_none
            if not data or reader.done:
                if reader.usage is None and wants_usage(delivery.request):
                    yield Chunk.of(Event(usage=delivery.seen()))
                return
    except TargetFailed as failure:
        delivery.broke(failure)
        broken = Interrupted(
            f"{delivery.target.id} broke off in the middle of its answer ({failure}). What arrived is not the "
            "whole answer; ask again."
        )
        broken.__cause__ = failure
    if delivery.onward is None or shown is None:
        raise broken
    delivery.close()  # what is over is settled before somebody else goes on
    async for chunk in delivery.onward(delivery, shown, broken):
        yield chunk
