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
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from potluck.errors import Invalid, PotluckError, Rejected, TooLarge
from potluck.server.cycle import Cycle

SWEEP = 0.5  # seconds between looks at the deadlines
LINGER = 2.0  # seconds an idle connection outlives the order to drain
PIPELINED = 8  # requests that may wait on one connection behind the one that runs; clients hardly ever do it


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
        self.leaving = False  # no connection outlives its next answer
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
            protocol.overdue()
        if self.waiting:
            loop.call_later(SWEEP, self._sweep, loop)
        else:
            self._sweeping = False


class GuardedProtocol(HttpToolsProtocol):
    """One client connection. `deadline` is when what we wait for must have arrived (loop time).

    The callbacks of the parser and the end of an answer are our own: uvicorn's build what we do not use (a parsed
    URL, an event, a timer per answer), which `make bench` sees.
    """

    door: Door
    cycle: Cycle | None  # type: ignore[assignment]
    deadline = math.inf
    _head_bytes = 0
    _body_bytes = 0
    _in_head = True
    _between = False  # whether the last request is here to its end and no byte of the next one
    _refused = False
    _counted = ""
    _running: Cycle | None = None  # with pipelining, not the newest
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
        self.connections.discard(self)
        self.parser = None  # type: ignore[assignment]  # it holds us, and we it
        cycle, task, self.cycle = self._running, self._task, None
        self.pipeline.clear()
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.wake()
            if task is not None and not task.done():
                cycle.scope["potluck.gone"] = True
                task.cancel()
        self.flow.resume_writing()

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
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._between = False
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        limits = self.door.limits
        self._in_head = False
        self.deadline = self.loop.time() + limits.body_seconds
        for name, value in self.headers:
            if name == b"content-length" and int(value) > limits.body_bytes:
                self._too_large()
                return
        before = self.cycle
        if before is None or before.response_complete:
            self._body_bytes = 0  # else the bodies that wait count together
        version = self.parser.get_http_version()
        keep_alive = version != "1.0" and self.parser.should_keep_alive() and not self.door.leaving
        cycle = self.cycle = Cycle(self, self._scope(version), keep_alive, self.expect_100_continue)
        if before is None or before.response_complete:
            self._start(cycle)
        elif len(self.pipeline) < PIPELINED:
            # It waits for the answer before it. Reading goes on, or we would not see the client leave.
            self.pipeline.appendleft((cast(Any, cycle), self.app))
        else:
            self._refused = True
            self.transport.close()

    def _scope(self, version: str) -> dict[str, Any]:
        """The request line and headers in ASGI's form. Raises what the parser turns into a refusal."""
        url = self.url
        path, _, query = url.partition(b"?")
        if not path.startswith(b"/") or b"#" in url:  # absolute-form, or nonsense
            parsed = httptools.parse_url(url)
            path, query = parsed.path or b"", parsed.query or b""
        text = path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": "",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.door.limits.body_bytes:
            self._too_large()
            return
        # No waking and no pausing per packet: the application wants the whole body, whose size is bounded here.
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.parts.append(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self._between, self.deadline = True, math.inf
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._rest()
        else:
            self.door.waiting.discard(self)
            cycle.whole()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start(cast(Cycle, self.pipeline.pop()[0]))
        elif self._between:
            self._rest()

    def shutdown(self) -> None:
        """We drain. An idle connection stays open for a moment: what its client is sending just now is answered, with
        `Connection: close` (RFC 9112 §9.6), where closing at once would lose it.
        """
        self.door.leaving = True
        cycle = self._running
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
        elif self._between or not self._head_bytes:
            self._between, self.deadline = True, self.loop.time() + LINGER
            self.door.watch(self)

    def overdue(self) -> None:
        """The deadline has passed: an idle connection is closed, a dawdling client is told why."""
        if self._between:
            self.deadline = math.inf
            self.door.waiting.discard(self)
            self.transport.close()
        else:
            self.refuse(Slow("The request was not received in time. Send headers and body without pauses."))

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

    def _rest(self) -> None:
        self.deadline = self.loop.time() + self.timeout_keep_alive
        self.door.watch(self)

    def _start(self, cycle: Cycle) -> None:
        task = self.loop.create_task(cycle.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._running, self._task = cycle, task


def _response(error: PotluckError, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {error.status} {error.code}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
