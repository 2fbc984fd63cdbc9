"""One line of a batch, served as the same request of its client would be, but nobody waits at the other end.

Rules: the same checks, the same limits of the client key, the same pipeline, recorded as surface "batch". It never
waits in the queue, where interactive requests would have to wait behind it. What only time puts right is no answer:
the line is to be asked again.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from typing import Any

import msgspec

from potluck.errors import (
    ClientLimited,
    DeadlinePassed,
    Exhausted,
    Interrupted,
    Invalid,
    PotluckError,
    Unauthorized,
)
from potluck.quota.ledger import Short
from potluck.server.chat import Chat, _sum
from potluck.server.limits import check_model
from potluck.store.keys import ClientKey
from potluck.surfaces.batch_lines import compact
from potluck.surfaces.surface import About, Asked, Surface
from potluck.types import UNSENT, Reply, Request, Trace

NAME = "batch"
TRIES = 3  # failures that were not the line's own fault, before one of them is its answer
QUOTA, TROUBLE = 5.0, 15.0  # seconds until it is asked again where nobody said when
LONGEST = 60.0

# Targets that may serve the request, () for any; None while there is no room to spare.
Room = Callable[[Request], tuple[str, ...] | None]

_log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """An answer, or (`again` in seconds) none yet. `tried`: something was sent and failed."""

    status: int = 0
    body: str = ""
    request: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    again: float | None = None
    tried: bool = False


class Lines:
    """Uses the parts of `chat`: what it is given, a line is served with."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._prefix, self._count = os.urandom(4).hex(), itertools.count(1)

    async def answer(
        self, surface: Surface, asked: Asked, key: ClientKey | None, tries: int, room: Room
    ) -> Outcome:
        """What became of one line; raises nothing but a cancellation."""
        trace = Trace(id=f"{self._prefix}{next(self._count):08x}")
        try:
            if key is None:
                raise Unauthorized("The client key that asked for this batch works no more.")
            return await self._serve(surface, asked, key, trace, room)
        except PotluckError as error:
            again = _again(error, trace, tries)
            if again is not None:
                return again
            body = compact(surface.error(error))
            return Outcome(error.status, body, trace.id)
        except Exception:
            _log.exception("a line of a batch failed in a way it must not")
            ours = PotluckError("Potluck failed on this request; the fault is ours. Its log has the details.")
            return Outcome(500, compact(surface.error(ours)), trace.id)

    async def _serve(
        self, surface: Surface, asked: Asked, key: ClientKey, trace: Trace, room: Room
    ) -> Outcome:
        chat = self._chat
        began, at = chat._clock.monotonic(), chat._clock.now()
        request = surface.parse(asked, trace)
        if request.stream:
            raise Invalid("A line of a batch cannot be streamed: leave 'stream' out.", param="stream")
        check_model(key, request.model)
        request = request.replace(
            tenant=key.id, deadline=began + chat._total, allowed=key.limits.models, priority="low", wait_until=began,
        )  # fmt: skip
        if request.kept is not None and request.kept.previous and chat._memory is not None:
            request = await chat._memory.recalled(request)
        if chat._tokens is not None:
            request = request.replace(tokens_in=chat._tokens(request))
        targets = room(request)
        if targets is None:
            return Outcome(again=QUOTA)
        if targets:
            request = request.replace(allowed=targets)
        return await self._work(surface, About(trace.id, request.model, at, request, began, chat._clock), key)

    async def _work(self, surface: Surface, about: About, key: ClientKey) -> Outcome:
        """From admission to record."""
        chat, request = self._chat, about.request
        try:
            ticket = chat._limiter.admit(key, request.tokens_in, request.tokens_out)
        except Short:
            ticket = await chat._limiter.admit_async(key, request.tokens_in, request.tokens_out)
        if ticket.afford is not None:
            request = request.replace(afford=ticket.afford)
            about = msgspec.structs.replace(about, request=request)
        status, reply, body = 499, None, ""
        try:
            reply = await chat._handler(request)
            body = await _whole(chat, surface, about, reply)
            status = 200
        except PotluckError as error:
            status = error.status
            raise
        finally:
            if reply is not None:
                reply.close()
            usage, cost = _sum(request.trace)
            if status == 200 or _sent(request.trace):
                if request.trace.savings and chat._spared is not None:
                    chat._spared(request.trace.savings)
                ticket.done(usage, cost)
                chat._write(NAME, about, status, about.began, usage, cost)
            else:  # a line that found no room is asked again, and counts when it is
                ticket.release()
        return Outcome(status, body, about.id, usage.input, usage.output)


async def _whole(chat: Chat, surface: Surface, about: About, reply: Reply) -> str:
    """The body that an interactive client would have had. Raises Interrupted for what is no JSON."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await chat._whole(surface, about, reply, send, (), None)
    try:
        return compact(b"".join(message.get("body", b"") for message in sent))
    except msgspec.DecodeError as error:
        raise Interrupted(f"The provider's answer is not JSON: {error}.") from None


def _again(error: PotluckError, trace: Trace, tries: int) -> Outcome | None:
    """When to ask once more; None if the error is the line's answer."""
    if isinstance(error, ClientLimited) or (
        isinstance(error, Exhausted) and (error.status == 429 or not _sent(trace))
    ):
        return Outcome(again=min(LONGEST, max(0.5, error.retry_after or QUOTA)))
    if isinstance(error, Exhausted | DeadlinePassed | Interrupted) and tries + 1 < TRIES:
        return Outcome(again=min(LONGEST, error.retry_after or TROUBLE), tried=True)
    return None


def _sent(trace: Trace) -> bool:
    return any(attempt.outcome not in UNSENT for attempt in trace.attempts)
