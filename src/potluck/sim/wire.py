"""HTTP/1.1 for pretend providers: parses requests, and lets a handler write anything, rude things included.

Rules: one exchange at a time per connection; the handler is a plain callable and answers now or later from
timers, so a stream costs no task. Nothing here knows what a provider is. The socket is exposed on purpose:
faults need to cut it, to stall it, and to send what no HTTP library would agree to send.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import httptools

REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required"}
REASONS |= {403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 410: "Gone"}
REASONS |= {413: "Payload Too Large", 422: "Unprocessable Entity", 429: "Too Many Requests"}
REASONS |= {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
Headers = Mapping[str, str]
NO_HEADERS: Headers = {}


class Incoming:
    """One request, whole: `headers` has lower-case names."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path")

    def __init__(self) -> None:
        self.method, self.path, self.body, self.keep_alive = "", "", b"", True
        self.headers: dict[str, str] = {}


class Exchange:
    """One answer being written. `gone` turns true when the client hung up; `on_close` is then called once."""

    __slots__ = ("_protocol", "chunked", "done", "gone", "incoming", "loop", "on_close")

    def __init__(self, protocol: Protocol, incoming: Incoming) -> None:
        self._protocol, self.incoming, self.loop = protocol, incoming, protocol.loop
        self.gone = self.done = self.chunked = False
        self.on_close: Callable[[], None] | None = None

    def send(
        self, status: int, body: Any, headers: Headers = NO_HEADERS, kind: str = "application/json"
    ) -> None:
        """A whole answer; anything but bytes is written as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = _head(status, {"content-type": kind, "content-length": str(len(data)), **headers})
        self.raw(head + data)
        self.finish()

    def head(self, status: int, headers: Headers) -> None:
        """A head alone; what follows is up to the caller."""
        self.raw(_head(status, headers))

    def start(self, status: int, headers: Headers) -> None:
        """The head of a chunked answer."""
        self.chunked = True
        self.raw(_head(status, {**headers, "transfer-encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def raw(self, data: bytes) -> None:
        if not self.gone and not self.done:
            self._protocol.transport.write(data)

    def finish(self) -> None:
        """The clean end: the connection is free for the next request."""
        if self.done:
            return
        if self.chunked:
            self.raw(b"0\r\n\r\n")
        self.done = True
        self._protocol.finished(self)

    def socket(self) -> Any:
        return self._protocol.transport.get_extra_info("socket")

    def address(self) -> str:
        peer = self._protocol.transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    def abort(self) -> None:
        """Cut the socket: the client sees a reset or an early end, never a clean one."""
        self.done = True
        self._protocol.transport.abort()


def _head(status: int, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


Handler = Callable[[Incoming, Exchange], None]


class Protocol(asyncio.Protocol):
    """One client connection."""

    transport: asyncio.Transport

    def __init__(self, handler: Handler, open_now: set[Protocol]) -> None:
        self.loop = asyncio.get_running_loop()
        self._handler, self._open = handler, open_now
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Incoming] = deque()
        self._current: Exchange | None = None
        self._incoming = Incoming()
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        exchange, self._current = self._current, None
        if exchange is not None:
            exchange.gone = True
            if exchange.on_close is not None:
                exchange.on_close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.write(_head(400, {"content-length": "0", "connection": "close"}))
            self.transport.close()

    def on_message_begin(self) -> None:
        self._incoming, self._parts = Incoming(), []

    def on_url(self, url: bytes) -> None:
        self._incoming.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._incoming.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._incoming.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        incoming = self._incoming
        incoming.method = self._parser.get_method().decode("latin-1")
        incoming.keep_alive = self._parser.should_keep_alive()
        incoming.body = b"".join(self._parts)
        self._waiting.append(incoming)
        if self._current is None:
            self._next()

    def _next(self) -> None:
        if self._waiting and not self.transport.is_closing():
            incoming = self._waiting.popleft()
            self._current = Exchange(self, incoming)
            self._handler(incoming, self._current)

    def finished(self, exchange: Exchange) -> None:
        if self._current is exchange:
            self._current = None
        if not exchange.incoming.keep_alive:
            self.transport.close()
        elif self._waiting:
            self.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._current is None:
            self._next()


async def listen(handler: Handler, host: str, port: int) -> tuple[asyncio.Server, set[Protocol]]:
    """Start listening; port 0 picks a free one. The set holds the connections that are open."""
    open_now: set[Protocol] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(handler, open_now), host, port, backlog=4096)
    return server, open_now
