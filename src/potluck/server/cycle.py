"""One request and its answer on a connection, in ASGI's words: the whole body in one message, few writes out.

Measured with `make bench`: an event object, two regular expressions per header, a write of its own for the head
and a timer per answer are together a tenth of a proxied request, so none of them is here. What is sent is what
uvicorn's own cycle would send, byte for byte.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

LAST_CHUNK = b"0\r\n\r\n"
App = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger(__name__)


class Line(Protocol):
    """What a cycle needs of the connection it is on."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    def on_response_complete(self) -> None: ...


class Cycle:
    """`disconnected`: nobody reads any more. `keep_alive`: whether the connection outlives the answer."""

    response_started = response_complete = disconnected = False
    more_body, chunked = True, False
    _held: dict[str, Any] | None = None
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, line: Line, scope: dict[str, Any], keep_alive: bool, expects_continue: bool) -> None:
        self.line, self.scope, self.keep_alive = line, scope, keep_alive
        self.expects_continue = expects_continue
        self.parts: list[bytes] = []

    async def run(self, app: App) -> None:
        """The application renders its own errors; what escapes it all the same ends the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            _log.exception("the application failed")
        if not self.response_complete and not self.disconnected:
            self.line.transport.close()

    def whole(self) -> None:
        """The body is here to its end."""
        self.more_body = False
        self.wake()

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def receive(self) -> dict[str, Any]:
        """The whole body at once, whose size the door has bounded; after it, only that the client has left."""
        if self.expects_continue and not self.line.transport.is_closing():
            self.line.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects_continue = False
        while (self.more_body or self.parts is _READ) and not (self.disconnected or self.response_complete):
            self._waiter = self.line.loop.create_future()
            await self._waiter
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        parts, self.parts = self.parts, _READ
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        line = self.line
        if line.flow.write_paused and not self.disconnected:
            await line.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.response_started, self.expects_continue = True, False
            self._held = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._held is None and self.chunked and more and body:  # the usual event of a stream
            line.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
            return
        parts: list[bytes] = []
        if self._held is not None:
            parts.append(self._head(self._held))
            self._held = None
        if not self.chunked:
            if self.scope["method"] != "HEAD":
                parts.append(body)
        else:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                parts.append(LAST_CHUNK)
        line.transport.write(b"".join(parts))
        if not more:
            self._finish()

    def _finish(self) -> None:
        self.response_complete = True
        self.wake()
        if not self.keep_alive:
            self.line.transport.close()
        self.line.on_response_complete()

    def _head(self, start: dict[str, Any]) -> bytes:
        """Raises RuntimeError if a header holds a line break: it would become a header of its own."""
        status: int = start["status"]
        lines: list[bytes] = []
        sized = status in (204, 304)
        for name, value in (*self.line.server_state.default_headers, *start["headers"]):
            lines.append(name + b": " + value)
            sized = sized or name == b"content-length"
        if not self.keep_alive:
            lines.append(b"connection: close")
        self.chunked = not sized
        if not sized:
            lines.append(b"transfer-encoding: chunked")
        block = b"\r\n".join(lines)
        if block.count(b"\n") != len(lines) - 1 or block.count(b"\r") != len(lines) - 1:
            raise RuntimeError("a response header holds a line break")
        return STATUS_LINE[status] + block + b"\r\n\r\n"


_READ: list[bytes] = []  # stands for a body that was handed out
