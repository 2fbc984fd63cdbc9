"""One chat or embeddings request from body to record: parse, admit, hand over, relay, write down.

Rules: the reply is closed and the record written on every path, also when the client leaves in the middle. A
stream that broke ends in an error event and never in the terminator.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from potluck import errors
from potluck.pipeline import Handler
from potluck.quota.room import Short
from potluck.server.answer import JSON
from potluck.server.keepalive import EVENTS, KeepAlive, comments
from potluck.server.limits import ClientLimiter, Pass, check_model
from potluck.server.memory import Memory
from potluck.server.meters import Meters
from potluck.server.willing import Willing
from potluck.store.keys import ClientKey
from potluck.store.records import Record, Recorder
from potluck.surfaces.surface import About, Asked, Surface
from potluck.types import Clock, Reply, Request, Saving, Trace, Usage

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Extra = tuple[tuple[bytes, bytes], ...]
Sent = Mapping[bytes, bytes]

_NO_STORE = (b"cache-control", b"no-store")


class ClientLeft(Exception):
    """The client went away before its request was whole: there is nobody to answer."""


class Chat:
    """Serves what costs quota. One instance a worker."""

    def __init__(
        self,
        handler: Handler,
        limiter: ClientLimiter,
        recorder: Recorder,
        meters: Meters,
        clock: Clock,
        willing: Willing | None = None,
        *,
        record_prompts: bool = False,
        total_seconds: float = 600.0,
        memory: Memory | None = None,
        spared: Callable[[Sequence[Saving]], object] | None = None,
        count: Callable[[Request], int] | None = None,
    ) -> None:
        self._handler, self._limiter, self._recorder = handler, limiter, recorder
        self._meters, self._clock, self._willing = meters, clock, willing or Willing()
        self._record_prompts, self._total, self._memory = record_prompts, total_seconds, memory
        self._spared = spared  # told what stages spared a request
        self._tokens = count  # of a prompt, better than its bytes tell
        self._prefix = os.urandom(4).hex()
        self._count = itertools.count(1)

    async def serve(
        self,
        surface: Surface,
        scope: Scope,
        key: ClientKey,
        receive: Receive,
        send: Send,
        extra: Extra,
        sent: Sent,
    ) -> None:
        """`sent`: the request's headers. Raises PotluckError for the caller to render, if nothing was sent."""
        self._limiter.refuse_early(key)
        try:
            body = await read_body(receive)
        except ClientLeft:
            return
        trace = Trace(id=f"{self._prefix}{next(self._count):08x}")
        began, at = self._clock.monotonic(), self._clock.now()
        request = surface.parse(Asked(body, scope["path"], scope["query_string"]), trace)
        check_model(key, request.model)
        request = request.replace(tenant=key.id, deadline=began + self._total, allowed=key.limits.models)
        caching = sent.get(b"x-potluck-cache") or sent.get(b"cache-control", b"")
        if caching or b"x-potluck-cache-tags" in sent:
            request = request.replace(caching=caching.decode("latin-1").lower(), tags=_tags(sent))
        if request.kept is not None and request.kept.previous and self._memory is not None:
            request = await self._memory.recalled(request)
        if self._tokens is not None:
            request = request.replace(tokens_in=self._tokens(request))
        request = self._willing.of(request, sent, key, began)
        try:
            ticket = self._limiter.admit(key, request.tokens_in, request.tokens_out)
        except Short:
            ticket = await self._limiter.admit_async(key, request.tokens_in, request.tokens_out)
        if ticket.afford is not None:
            request = request.replace(afford=ticket.afford)
        about = About(trace.id, request.model, at, request, began, self._clock)
        await self._work(surface, about, ticket, began, send, extra)

    async def _work(
        self, surface: Surface, about: About, ticket: Pass, began: float, send: Send, extra: Extra
    ) -> None:
        """From admission to record."""
        request = about.request
        self._meters.open += 1
        status, reply, early = 499, None, None
        try:
            if request.stream and request.wait_until and surface.stream_type.startswith(EVENTS):
                early = self._early(surface, about, send, extra)
                request = request.replace(on_wait=early.begin)
            reply = await self._handler(request)
            send_it = self._stream if request.stream else self._whole
            status = await send_it(surface, about, reply, send, extra, early)
        except errors.PotluckError as error:
            status = error.status
            if early is None or not await early.failed(error):
                raise
        finally:
            if early is not None:
                early.stop()
            if reply is not None:
                reply.close()
            self._done(surface, about, ticket, status, began)

    def _early(self, surface: Surface, about: About, send: Send, extra: Extra) -> KeepAlive:
        head = [(b"content-type", surface.stream_type), _NO_STORE, *_headers(about.request, extra)]
        return KeepAlive(send, head, self._willing.keep_alive, surface.writer(about))

    def _done(self, surface: Surface, about: About, ticket: Pass, status: int, began: float) -> None:
        """Whatever became of it: count it, charge it, write it down."""
        self._meters.open -= 1
        trace = about.request.trace
        if trace.savings and self._spared is not None:
            self._spared(trace.savings)
        usage, cost = _sum(trace)
        if trace.attempts:
            ticket.done(usage, cost)
        else:
            ticket.release()
        self._write(surface.name, about, status, began, usage, cost)

    async def _whole(
        self, surface: Surface, about: About, reply: Reply, send: Send, extra: Extra, early: KeepAlive | None
    ) -> int:
        whole = reply.whole
        if whole is not None and whole.dialect == surface.dialect:
            body = whole.raw
        else:
            body = surface.whole([event async for chunk in reply for event in chunk.events], about)
        if about.request.kept is not None and self._memory is not None:
            await self._memory.keep(about)
        head = [(b"content-type", JSON), (b"content-length", b"%d" % len(body))]
        headers = [*head, *_headers(about.request, extra)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return 200

    async def _stream(
        self, surface: Surface, about: About, reply: Reply, send: Send, extra: Extra, early: KeepAlive | None
    ) -> int:
        headers = _headers(about.request, extra)
        writer = surface.writer(about)
        if early is None or not await early.sent_already():
            head = [(b"content-type", surface.stream_type), _NO_STORE, *headers]
            await send({"type": "http.response.start", "status": 200, "headers": head})
        else:  # the head went out before anything was known: what it could not say is a comment
            await send({"type": "http.response.body", "body": comments(headers), "more_body": True})
        try:
            take = writer.take
            async for chunk in reply:
                await send({"type": "http.response.body", "body": take(chunk), "more_body": True})
        except errors.PotluckError as error:
            await send({"type": "http.response.body", "body": writer.broke(error)})
            return error.status
        ending = writer.ending()
        if about.request.kept is not None and self._memory is not None:
            await self._memory.keep(about)  # before its end is sent: the next request may already ask for it
        await send({"type": "http.response.body", "body": ending})
        return 200

    def _write(self, surface: str, about: About, status: int, began: float, usage: Usage, cost: int) -> None:
        request, ended = about.request, self._clock.monotonic()
        trace = request.trace
        attempts = trace.attempts
        last = attempts[-1] if attempts else None
        self._meters.answered(surface, str(status), ended - began)
        for attempt in attempts:
            self._meters.attempt(attempt)
        if trace.waited:
            self._meters.waited(trace.waited)
        self._recorder.record(
            Record(
                id=trace.id,
                at=about.at,
                tenant=request.tenant,
                wish=request.model,
                target=last.target if last else "",
                outcome=last.outcome if last else "rejected" if status >= 400 else "stored",
                status=status,
                attempts=attempts,
                tokens_in=usage.input,
                tokens_out=usage.output,
                estimated=usage.estimated,
                cost=cost,
                ms_first=(last.first - began) * 1e3 if last and last.first else 0.0,
                ms=(ended - began) * 1e3,
                surface=surface,
                prompt=_prompt(request) if self._record_prompts else None,
            )
        )


async def read_body(receive: Receive) -> bytes:
    """The whole body; its size and pace are the door's business (`protocol.py`). Raises ClientLeft."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientLeft
    if not message.get("more_body"):
        return bytes(message["body"])
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeft
        parts.append(message["body"])
    return b"".join(parts)


def _tags(sent: Sent) -> tuple[str, ...]:
    """Names under which the client wants this answer stored, to drop it by later."""
    said = sent.get(b"x-potluck-cache-tags", b"").decode("latin-1").split(",")
    return tuple(tag for each in said if (tag := each.strip()[:64]))[:16]


def _headers(request: Request, extra: Extra) -> list[tuple[bytes, bytes]]:
    """Who served it, what was tried, what is left."""
    trace = request.trace
    attempts = trace.attempts
    headers = [(b"x-potluck-request", trace.id.encode())]
    if attempts:
        headers.append((b"x-potluck-target", attempts[-1].target.encode("latin-1", "replace")))
        if len(attempts) > 1:
            tried = ", ".join(f"{attempt.target}={attempt.outcome}" for attempt in attempts[:-1])
            headers.append((b"x-potluck-tried", tried.encode("latin-1", "replace")[:1000]))
    if trace.waited:
        headers.append((b"x-potluck-waited", b"%.2f" % trace.waited))
    if trace.left:
        headers.append((b"x-potluck-left", trace.left.encode("latin-1", "replace")))
    for name, note in trace.notes.items():
        headers.append((b"x-potluck-" + name.encode(), note.encode("latin-1", "replace")[:500]))
    headers.extend(extra)
    return headers


def _sum(trace: Trace) -> tuple[Usage, int]:
    """What the whole request used and cost, over all its attempts."""
    attempts = trace.attempts
    if len(attempts) == 1:
        return attempts[0].usage or Usage(), attempts[0].cost
    used = [attempt.usage for attempt in attempts if attempt.usage is not None]
    usage = Usage(
        sum(one.input for one in used),
        sum(one.output for one in used),
        sum(one.cached for one in used),
        any(one.estimated for one in used),
    )
    return usage, sum(attempt.cost for attempt in attempts)


def _prompt(request: Request) -> str:
    raw = request.body.get("messages") or request.body.get("input") or b""
    return bytes(raw).decode("utf-8", "replace")
