"""One chat or embeddings request from body to record: parse, admit, hand over, relay, write down.

Rules: the reply is closed and the record written on every path, also when the client leaves in the middle. A
stream that broke ends in an error event and never in the terminator.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from potluck import errors
from potluck.pipeline import Handler
from potluck.server.answer import JSON
from potluck.server.keepalive import KeepAlive, comments
from potluck.server.limits import ClientLimiter, Pass, check_model
from potluck.server.meters import Meters
from potluck.server.willing import Willing
from potluck.store.keys import ClientKey
from potluck.store.records import Record, Recorder
from potluck.surfaces import openai
from potluck.types import Chunk, Clock, Reply, Request, Trace, Usage

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Extra = tuple[tuple[bytes, bytes], ...]
Sent = Mapping[bytes, bytes]

_OPENING = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"))
_PARSE = {"chat": openai.parse_chat, "embeddings": openai.parse_embeddings}


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
    ) -> None:
        self._handler, self._limiter, self._recorder = handler, limiter, recorder
        self._meters, self._clock, self._willing = meters, clock, willing or Willing()
        self._record_prompts, self._total = record_prompts, total_seconds
        self._prefix = os.urandom(4).hex()
        self._count = itertools.count(1)

    async def serve(
        self, kind: str, key: ClientKey, receive: Receive, send: Send, extra: Extra, sent: Sent
    ) -> None:
        """`sent`: the request's headers. Raises PotluckError for the caller to render, if nothing was sent."""
        self._limiter.refuse_early(key)
        try:
            body = await _body(receive)
        except ClientLeft:
            return
        trace = Trace(id=f"{self._prefix}{next(self._count):08x}")
        began, at = self._clock.monotonic(), self._clock.now()
        request = _PARSE[kind](body, trace=trace)
        check_model(key, request.model)
        request = request.replace(tenant=key.id, deadline=began + self._total)
        request = self._willing.of(request, sent, key, began)
        ticket = self._limiter.admit(key, request.tokens_in, request.tokens_out)
        self._meters.open += 1
        status, reply, early = 499, None, None
        try:
            if request.stream and request.wait_until:
                early = KeepAlive(send, [*_OPENING, *_headers(request, extra)], self._willing.keep_alive)
                request = request.replace(on_wait=early.begin)
            reply = await self._handler(request)
            send_it = self._stream if request.stream else self._whole
            status = await send_it(request, reply, send, extra, early)
        except errors.PotluckError as error:
            status = error.status
            if early is None or not await early.failed(error):
                raise
        finally:
            if early is not None:
                early.stop()
            if reply is not None:
                reply.close()
            self._done(request, ticket, status, began, at)

    def _done(self, request: Request, ticket: Pass, status: int, began: float, at: float) -> None:
        """Whatever became of it: count it, charge it, write it down."""
        self._meters.open -= 1
        usage, cost = _sum(request.trace)
        if request.trace.attempts:
            ticket.done(usage, cost)
        else:
            ticket.release()
        self._write(request, status, began, at, usage, cost)

    async def _whole(
        self, request: Request, reply: Reply, send: Send, extra: Extra, early: KeepAlive | None
    ) -> int:
        whole = reply.whole
        if whole is not None and whole.dialect == "openai":
            body = whole.raw
        else:
            events = [event async for chunk in reply for event in chunk.events]
            body = openai.render_whole(
                events, id=_answer_id(request), model=request.model, created=int(self._clock.now())
            )
        head = [(b"content-type", JSON), (b"content-length", b"%d" % len(body))]
        await send(
            {"type": "http.response.start", "status": 200, "headers": [*head, *_headers(request, extra)]}
        )
        await send({"type": "http.response.body", "body": body})
        return 200

    async def _stream(
        self, request: Request, reply: Reply, send: Send, extra: Extra, early: KeepAlive | None
    ) -> int:
        headers = _headers(request, extra)
        if early is None or not await early.sent_already():
            head = [*_OPENING, *headers]
            await send({"type": "http.response.start", "status": 200, "headers": head})
        else:  # the head went out before anything was known: what it could not say is a comment
            await send({"type": "http.response.body", "body": comments(headers), "more_body": True})
        try:
            async for chunk in reply:
                raw = (
                    chunk.raw
                    if chunk.dialect == "openai" and not chunk.whole
                    else self._rendered(request, chunk)
                )
                await send({"type": "http.response.body", "body": raw, "more_body": True})
        except errors.PotluckError as error:
            await send({"type": "http.response.body", "body": openai.render_error_event(error)})
            return error.status
        await send({"type": "http.response.body", "body": openai.DONE})
        return 200

    def _rendered(self, request: Request, chunk: Chunk) -> bytes:
        return openai.render_events(
            chunk.events, id=_answer_id(request), model=request.model, created=int(self._clock.now())
        )

    def _write(self, request: Request, status: int, began: float, at: float, usage: Usage, cost: int) -> None:
        trace, ended = request.trace, self._clock.monotonic()
        attempts = trace.attempts
        last = attempts[-1] if attempts else None
        self._meters.answered("openai", str(status), ended - began)
        for attempt in attempts:
            self._meters.attempt(attempt)
        if trace.waited:
            self._meters.waited(trace.waited)
        self._recorder.record(
            Record(
                id=trace.id,
                at=at,
                tenant=request.tenant,
                wish=request.model,
                target=last.target if last else "",
                outcome=last.outcome if last else "rejected",
                status=status,
                attempts=attempts,
                tokens_in=usage.input,
                tokens_out=usage.output,
                estimated=usage.estimated,
                cost=cost,
                ms_first=(last.first - began) * 1e3 if last and last.first else 0.0,
                ms=(ended - began) * 1e3,
                surface="openai",
                prompt=_prompt(request) if self._record_prompts else None,
            )
        )


async def _body(receive: Receive) -> bytes:
    """The whole body; its size and pace are the door's business (`protocol.py`)."""
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


def _answer_id(request: Request) -> str:
    return f"chatcmpl-{request.trace.id}"


def _prompt(request: Request) -> str:
    raw = request.body.get("messages") or request.body.get("input") or b""
    return bytes(raw).decode("utf-8", "replace")
