"""The door: uvicorn's HTTP/1.1 protocol with limits, so that a flood is refused before it costs anything.

What uvicorn leaves to a reverse proxy and a gateway on a laptop must do itself: a cap on connections in all
and per address, a deadline for the head (slowloris) and for the body, a cap on head and body bytes, refusals
in the API's own error shape, and telling the application at once when a client leaves. One sweep a second
looks at all connections; no timer is armed per request.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from potluck.errors import Invalid, PotluckError, Rejected, TooLarge
from potluck.server.cycle import Cycle

SWEEP = 0.5  # seconds between looks at the deadlines


class Busy(Rejected):
    status, code, type = 503, "too_many_connections", "api_error"


class Slow(Rejected):
    status, code, type = 408, "request_timeout", "invalid_request_error"


class HeadTooLarge(Rejected):
    status, code = 431, "headers_too_large"


class DoorLimits(msgspec.Struct, frozen=True):
    """Bytes, counts and seconds. `per_address` counts connections of one peer address."""

    head_bytes: int = 32 * 1024
    body_bytes: int = 32 * 1024 * 1024
    connections: int = 4096
    per_address: int = 1024
    head_seconds: float = 10.0
    body_seconds: float = 30.0


class Door:
    """What the connections of one process share: the limits, the counts, the sweep."""

    def __init__(self, limits: DoorLimits, render: Callable[[PotluckError], bytes]) -> None:
        self.limits, self.render = limits, render
        self.per_address: Counter[str] = Counter()
        self.open = 0
        self.refused: Counter[str] = Counter()
        self.waiting: set[GuardedProtocol] = set()
        self._sweeping = False

    def protocol(self) -> type[GuardedProtocol]:
        """A protocol class bound to this door, in the form uvicorn's `http=` option takes."""
        return cast("type[GuardedProtocol]", type("DoorProtocol", (GuardedProtocol,), {"door": self}))

    def watch(self, protocol: GuardedProtocol) -> None:
        self.waiting.add(protocol)
        if not self._sweeping:
            self._sweeping = True
            protocol.loop.call_later(SWEEP, self._sweep, protocol.loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for protocol in [one for one in self.waiting if one.deadline < now]:
            protocol.refuse(
                Slow("The request was not received in time. Send headers and body without pauses.")
            )
        if self.waiting:
            loop.call_later(SWEEP, self._sweep, loop)
        else:
            self._sweeping = False


class GuardedProtocol(HttpToolsProtocol):
    """One client connection. `deadline` is when what we wait for must have arrived (loop time)."""

    door: Door
    deadline = math.inf
    _head_bytes = 0
    _body_bytes = 0
    _in_head = True
    _refused = False
    _counted = ""
    _task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        door, limits = self.door, self.door.limits
        address = self.client[0] if self.client else "unix"
        if door.open >= limits.connections or door.per_address[address] >= limits.per_address:
            self.refuse(Busy("Too many connections from here. Close some, or reuse them (keep-alive)."))
            return
        self._counted = address
        door.open += 1
        door.per_address[address] += 1
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        door = self.door
        if self._counted:
            door.open -= 1
            door.per_address[self._counted] -= 1
            if not door.per_address[self._counted]:
                del door.per_address[self._counted]
        door.waiting.discard(self)
        cycle, task = self.cycle, self._task
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete and task is not None and not task.done():
            cast("dict[str, Any]", cycle.scope)["potluck.gone"] = True
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.door.limits.head_bytes and not self._refused:
            self.refuse(
                HeadTooLarge(f"The headers are larger than {self.door.limits.head_bytes} bytes. Send fewer.")
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        limits = self.door.limits
        self._in_head, self._body_bytes = False, 0
        self.deadline = self.loop.time() + limits.body_seconds
        for name, value in self.headers:
            if name == b"content-length" and int(value) > limits.body_bytes:
                self._too_large()
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.door.limits.body_bytes:
            self._too_large()
            return
        # No waking and no pausing per packet: the application wants the whole body, whose size is bounded here.
        if not self.cycle.response_complete:
            self.cycle.body += body

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self.deadline = math.inf
        self.door.waiting.discard(self)
        super().on_message_complete()

    def refuse(self, error: PotluckError) -> None:
        """Answers in the API's error shape and closes; whatever still comes in is ignored."""
        if self._refused:
            return
        self._refused, self.deadline = True, math.inf
        door = self.door
        door.refused[error.code] += 1
        door.waiting.discard(self)
        cycle = self.cycle
        if cycle is None or not cycle.response_started:
            self.transport.write(_response(error, door.render(error)))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self.refuse(Invalid("This is not a valid HTTP/1.1 request. Speak HTTP to this port."))

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self.deadline = self.loop.time() + self.door.limits.head_seconds
        self.door.watch(self)

    def _too_large(self) -> None:
        limit = self.door.limits.body_bytes
        self.refuse(TooLarge(f"The body is larger than {limit} bytes. Send less, or raise max_body_bytes."))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.__class__ = Cycle  # uvicorn offers no way to name another class
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._task = task


def _response(error: PotluckError, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {error.status} {error.code}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
