"""Answers that were given before are given again: the same request, and, where a profile wants it, the same question.

Rules: a hit says so (`x-potluck-cache`) and is never what was not whole. Only the leader of identical requests is
sent on. Whatever goes wrong in here is a miss: a request never fails because of its cache, except when it wants a
stored answer or none (`only-if-cached`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from potluck.errors import NotCached, PotluckError
from potluck.pipeline import Handler
from potluck.stages import cache_key, cache_policy, folding
from potluck.stages.cache_policy import Wishes
from potluck.stages.flights import LONGEST, TAKEOVERS, Flight, Flights
from potluck.stages.keeping import kept
from potluck.stages.meaning import Meaning, Sought
from potluck.store.answers import Answers, Entry
from potluck.techniques import Cache as Said
from potluck.types import Attempt, Chunk, Clock, Reply, Request, Saving, Trace

TECHNIQUE = "cache"

_log = logging.getLogger("potluck.cache")


class Rules(msgspec.Struct, frozen=True):
    """Of one profile: what its user decided, and the fingerprint of the stages its answers come from."""

    said: Said
    below: bytes = b""


class Asked(msgspec.Struct, frozen=True):
    """One request as the cache sees it."""

    key: bytes
    fields: dict[str, Any]
    rules: Rules
    wish: Wishes


class Cache:
    """The stage. `rules` by profile; `default` for requests that name none."""

    def __init__(
        self,
        answers: Answers,
        clock: Clock,
        default: Rules,
        rules: Mapping[str, Rules] | None = None,
        *,
        meaning: Meaning | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.answers, self.meaning = answers, meaning
        self._clock, self._default, self._rules = clock, default, rules or {}
        self._flights, self._chance = Flights(), chance
        self._checks: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Request, next: Handler, /) -> Reply:
        """Raises NotCached, and what `next` raises."""
        asked = self._asked(request)
        if asked is None:
            return await self._past(request, next)
        if asked.wish.read:
            entry = await self.answers.get(asked.key, self._clock.now())
            if entry is not None and self._fresh(entry, asked.wish):
                return self._hit(request, entry, "hit")
        question = cache_key.question(asked.fields)
        life = cache_policy.lifetime(question, asked.rules.said, asked.wish)
        if not life and not asked.wish.only:
            return await self._past(request, next)
        return await self._missed(request, next, asked, question, life)

    async def idle(self) -> None:
        """Until every check that runs has ended; for tests."""
        await asyncio.gather(*self._checks)

    def close(self) -> None:
        for task in self._checks:
            task.cancel()
        if self.meaning is not None:
            self.meaning.close()
        self.answers.close()

    def _asked(self, request: Request) -> Asked | None:
        """None for what is none of a cache's business."""
        rules = self._rules.get(request.model, self._default)
        wish = cache_policy.wishes(request.caching) if request.caching else cache_policy.NONE
        if cache_policy.unfit(request, rules.said, wish):
            return None
        fields = cache_key.fields(request)
        if fields is None:
            return None
        key = cache_key.key(request, fields, shared=rules.said.shared, below=rules.below)
        return Asked(key, fields, rules, wish)

    async def _past(self, request: Request, next: Handler) -> Reply:
        if request.caching and cache_policy.wishes(request.caching).only:
            raise _nothing_stored()
        request.trace.notes[TECHNIQUE] = "bypass"
        self.answers.count("bypass")
        return await next(request)

    async def _missed(
        self, request: Request, next: Handler, asked: Asked, question: str, life: float
    ) -> Reply:
        """Follow whoever asks the same already; else look for the same meaning; else go."""
        if not asked.wish.read:
            if asked.wish.only:
                raise _nothing_stored()
            return await self._go(request, next, asked, life, None, Flight(self._flights, asked.key))
        for _ in range(TAKEOVERS):
            ahead = None if asked.wish.only else self._flights.of(asked.key)
            if ahead is None:
                break
            came = await ahead.joined(self._patience(request))
            if isinstance(came, Entry):
                return self._hit(request, came, ahead.how)
            if came == "alone":
                break
            entry = await self.answers.get(asked.key, self._clock.now())
            if entry is not None:  # whoever took over was done before we woke up
                return self._hit(request, entry, "hit")
        flight = self._flights.begin(asked.key)
        try:
            sought = await self._seek(request, asked, question, life)
            if sought is not None and sought.hit is not None:
                return self._meant(request, next, asked, sought, flight, life)
        except BaseException:
            flight.land("failed")
            raise
        if asked.wish.only:
            flight.land("alone")
            raise _nothing_stored()
        return await self._go(request, next, asked, life, sought, flight)

    async def _seek(self, request: Request, asked: Asked, question: str, life: float) -> Sought | None:
        """What is stored for a question of the same meaning. None: that is not wanted, or cannot be told."""
        said, meaning = asked.rules.said, self.meaning
        if (
            meaning is None
            or not said.semantic
            or not asked.wish.semantic
            or not life
            or request.kind != "chat"
        ):
            return None
        around = cache_key.context(request, asked.fields, shared=said.shared, below=asked.rules.below)
        now = self._clock.now()
        sought = await meaning.seek(question, around, said.error_rate, now)
        if sought is not None and sought.hit is not None and not self._fresh(sought.hit, asked.wish):
            return msgspec.structs.replace(sought, hit=None)
        return sought

    def _meant(
        self, request: Request, next: Handler, asked: Asked, sought: Sought, flight: Flight, life: float
    ) -> Reply:
        """A semantic hit; a share of them is asked again in the background, which spares nothing."""
        assert sought.hit is not None
        assert self.meaning is not None
        flight.land(sought.hit, "semantic")
        again = self._chance() < asked.rules.said.check_share
        if again:
            task = asyncio.get_running_loop().create_task(self._again(request, next, asked, sought, life))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)
        else:
            self.meaning.given(sought)
        return self._hit(request, sought.hit, "semantic", spared=not again)

    async def _again(
        self, request: Request, next: Handler, asked: Asked, sought: Sought, life: float
    ) -> None:
        """What the model says itself; stored, and compared with what was given."""
        body = {name: raw for name, raw in request.body.items() if name not in ("stream", "stream_options")}
        alone = Request(
            request.model,
            body,
            tenant=request.tenant,
            allowed=request.allowed,
            tokens_in=request.tokens_in,
            tokens_out=request.tokens_out,
            limited=request.limited,
            needs=request.needs,
            priority="low",
            tags=request.tags,
            trace=Trace(id=request.trace.id),
        )
        try:
            reply = await self._go(
                alone, next, asked, life, sought, Flight(self._flights, asked.key), "check"
            )
            reply.close()
        except PotluckError as error:  # no room, or the provider fails: this one is not checked
            _log.debug("a hit could not be checked: %s", error)

    def _hit(self, request: Request, entry: Entry, how: str, *, spared: bool = True) -> Reply:
        trace = request.trace
        trace.notes[TECHNIQUE] = how
        trace.notes["age"] = str(max(0, int(self._clock.now() - entry.made)))
        if spared:
            trace.savings.append(
                Saving(TECHNIQUE, entry.requests, entry.tokens_in, entry.tokens_out, entry.target)
            )
        self.answers.count(how)
        return folding.given(entry.answer, request.kind, stream=request.stream)

    async def _go(
        self,
        request: Request,
        next: Handler,
        asked: Asked,
        life: float,
        sought: Sought | None,
        flight: Flight,
        why: str = "miss",
    ) -> Reply:
        """The answer of the stages below, stored when it has become whole."""
        request.trace.notes[TECHNIQUE] = why
        self.answers.count(why)
        began, before = self._clock.now(), len(request.trace.attempts)
        try:
            reply = await next(request)
        except BaseException:
            flight.land("failed")
            raise

        def store(chunks: list[Chunk] | None) -> None:
            """`chunks` None: what came is not whole, or longer than may be stored."""
            entry = None
            try:
                if chunks is not None and asked.wish.write:
                    entry = self._entry(request, asked, chunks, request.trace.attempts[before:], began, life)
                if entry is not None:
                    entry = self._stored(entry, sought)
            finally:
                flight.land("alone" if entry is None else entry)

        return kept(reply, asked.rules.said.max_entry_bytes, store, lambda: flight.land("failed"))

    def _stored(self, entry: Entry, sought: Sought | None) -> Entry:
        if sought is not None and self.meaning is not None:
            entry = self.meaning.learned(entry, sought)
        self.answers.put(entry, self._clock.now())
        return entry

    def _entry(
        self,
        request: Request,
        asked: Asked,
        chunks: list[Chunk],
        attempts: list[Attempt],
        began: float,
        life: float,
    ) -> Entry | None:
        target = attempts[-1].target if attempts else ""
        found = folding.folded(
            chunks, request.kind, id=f"chatcmpl-{request.trace.id}", model=target, created=int(began)
        )
        if found is None or len(found.answer) > asked.rules.said.max_entry_bytes:
            return None
        used = [attempt.usage for attempt in attempts if attempt.usage is not None]
        return Entry(
            key=asked.key,
            tenant="" if asked.rules.said.shared else request.tenant,
            model=request.model,
            target=target,
            made=began,
            expires=began + life,
            answer=found.answer,
            tokens_in=sum(one.input for one in used),
            tokens_out=sum(one.output for one in used),
            requests=max(1, sum(attempt.outcome == "ok" for attempt in attempts)),
            tags=request.tags,
        )

    def _fresh(self, entry: Entry, wish: Wishes) -> bool:
        return wish.max_age is None or self._clock.now() - entry.made <= wish.max_age

    def _patience(self, request: Request) -> float:
        """Seconds: no follower waits beyond its own deadline."""
        return request.deadline - self._clock.monotonic() if request.deadline else LONGEST


def _nothing_stored() -> NotCached:
    return NotCached(
        "No stored answer to this request, and it asked for a stored one or none (only-if-cached). Leave that out of "
        "X-Potluck-Cache or Cache-Control to have it answered."
    )
