"""One socket to one origin and the parser that reads it; carries one exchange at a time.

Rules: parser callbacks only note facts; conclusions are drawn after each segment. A byte nobody asked
for closes the connection, because the next answer could then be read as another request's
(response-splitting). The end of the socket is the end of a body only where no length was promised.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Protocol, cast

import httptools

from potluck.errors import Malformed, TargetFailed, TimedOut, Unavailable
from potluck.upstream.call import Timeouts
from potluck.upstream.exchange import Exchange

MAX_HEADERS = 256
_WATCHED = frozenset(
    (b"content-length", b"transfer-encoding", b"content-encoding", b"keep-alive", b"upgrade")
)
_LATE = {
    "total": "The answer took longer than {0.total:g} s in all.",
    "head": "No response headers within {0.head:g} s.",
    "first": "No first byte of the answer within {0.first:g} s.",
    "stall": "The answer stalled for {0.stall:g} s.",
}


class Owner(Protocol):
    """What a connection tells the pool it belongs to."""

    name: str
    max_head_bytes: int

    def opened(self, connection: Connection) -> None: ...

    def idle(self, connection: Connection, keep_for: float | None) -> None: ...

    def retire(self, connection: Connection) -> None: ...

    def gone(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """States: connecting (no transport) → idle ⇄ busy (`exchange` set) → gone."""

    __slots__ = (
        "_bodyless",
        "_headers",
        "_interim",
        "_keep_for",
        "_loop",
        "_overhead",
        "_owner",
        "_parser",
        "_reusable",
        "_until_close",
        "exchange",
        "good_until",
        "transport",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner, self._loop = owner, loop
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.good_until = 0.0  # loop time when an idle connection is given up; 0 = not idle
        self._overhead = 0  # bytes received since the last body byte: heads, chunk lines, trailers
        self._interim = self._until_close = self._reusable = self._bodyless = False
        self._keep_for: float | None = None
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def start(self, request: bytes, timeouts: Timeouts, *, bodyless: bool) -> Exchange:
        """Write one request; its exchange fills as the answer arrives. `bodyless`: the answer to a HEAD."""
        assert self.transport is not None
        self.good_until = 0.0
        self._overhead = 0
        self._interim = self._until_close = self._reusable = False
        self._bodyless, self._keep_for = bodyless, None
        self.exchange = exchange = Exchange(self, timeouts, self._loop)
        self._headers = exchange.headers
        self.transport.write(request)
        return exchange

    def release(self, exchange: Exchange) -> None:
        """The exchange lets go: back to the pool, or away when anything about it is unfinished."""
        if self.exchange is not exchange:
            return
        self.exchange = None
        transport = self.transport
        if (
            exchange.complete
            and self._reusable
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            self._owner.idle(self, self._keep_for)
        else:
            self.abort()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def expire(self, which: str) -> None:
        """A timeout passed (see `Exchange.overdue`)."""
        if self.exchange is not None:
            late = _LATE[which].format(self.exchange.timeouts)
            self._fail(TimedOut(f"{self._owner.name}: {late}", status=self.exchange.status))

    def cancel(self, why: str) -> None:
        """End at our own wish: whoever reads is told, the socket is aborted."""
        self._fail(Unavailable(f"{self._owner.name}: {why}"))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.abort()
            return
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(self._explain(error, exchange))
            return
        if self._overhead > self._owner.max_head_bytes and not exchange.complete:
            self._fail(self._malformed("more header or trailer bytes than we accept"))
            return
        if exchange.unread > exchange.high_water and not exchange.complete and not exchange.paused:
            assert self.transport is not None
            self.transport.pause_reading()
            exchange.paused = True
        exchange.notify()

    def eof_received(self) -> None:
        """The peer will send no more. Returning None closes our side too: HTTP needs no half-open."""
        self._owner.retire(self)
        self._ended(clean=not self._until_close or _said_goodbye(self.transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.gone(self)
        self._ended(clean=False)
        self.transport = None

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self.exchange is None or self.exchange.complete:
            raise self._too_much()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            return
        if status < 200 or self._parser.get_http_version() not in ("1.1", "1.0"):
            raise self._malformed("a status or HTTP version we did not ask for")
        headers = exchange.headers
        if len(headers) > MAX_HEADERS or (
            self._overhead > self._owner.max_head_bytes
            and sum(len(name) + len(value) + 4 for name, value in headers) > self._owner.max_head_bytes
        ):
            raise self._malformed("more headers than we accept")
        framed, upgrade = self._framing(exchange)
        self._until_close = not framed and status not in (204, 304) and not self._bodyless
        self._reusable = not self._until_close and not upgrade and not self._bodyless
        exchange.status = status
        self._headers = []  # what follows are trailers, which nobody reads
        if self._bodyless:
            exchange.finish()

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        if self.exchange is not None and not self._bodyless:
            self.exchange.arrived(body)

    def on_message_complete(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self._interim:
            self._interim = False
            exchange.headers.clear()
        elif not exchange.complete:
            self._reusable = self._reusable and self._parser.should_keep_alive()
            exchange.finish()

    # Conclusions

    def _framing(self, exchange: Exchange) -> tuple[bool, bool]:
        """Whether the end of the body is marked; whether another protocol is offered. Raises Malformed."""
        framed = upgrade = False
        for name, value in exchange.headers:
            if name not in _WATCHED:
                continue
            if name == b"content-length":  # digits only: the parser has checked
                framed, exchange.length = True, int(value)
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise self._malformed("a transfer encoding we did not ask for")
                framed = True
            elif name == b"content-encoding":
                if value.lower() not in (b"identity", b""):
                    raise self._malformed("a compressed answer we did not ask for")
            elif name == b"keep-alive":
                self._keep_for = _keep_alive_seconds(value)
            else:
                upgrade = True
        return framed, upgrade

    def _ended(self, *, clean: bool) -> None:
        exchange = self.exchange
        if exchange is None or exchange.complete:
            return
        if clean and exchange.status and self._until_close and exchange.error is None:
            exchange.finish()
            exchange.notify()
            return
        exchange.silent = not self._overhead and not exchange.status
        what = "in the middle of its answer" if not exchange.silent else "without answering"
        self._fail(Unavailable(f"{self._owner.name} closed the connection {what}.", status=exchange.status))

    def _fail(self, error: TargetFailed) -> None:
        if self.exchange is not None:
            self.exchange.fail(error)
        self.abort()

    def _explain(self, error: Exception, exchange: Exchange) -> TargetFailed:
        cause = error.__context__
        if isinstance(cause, TargetFailed):
            return cause
        return self._too_much() if exchange.complete else self._malformed(str(error))

    def _malformed(self, what: str) -> Malformed:
        status = self.exchange.status if self.exchange is not None else 0
        return Malformed(f"{self._owner.name} broke the HTTP protocol: {what}.", status=status)

    def _too_much(self) -> Unavailable:
        return Unavailable(f"{self._owner.name} sent more than its headers promised.")


def _said_goodbye(transport: asyncio.Transport | None) -> bool:
    """Whether the peer itself ended what it says: over TLS only close_notify does (RFC 9112 §9.8).

    Anybody on the way can end the TCP connection below; asyncio's own loop reports both ends alike.
    """
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    if tls is None:
        return True
    try:
        return bool(tls.read(1) == b"")
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # it wants to read more: no goodbye came
        return False


def _keep_alive_seconds(value: bytes) -> float | None:
    """`timeout=5` of a Keep-Alive header, less a second for the way: reusing later would race its close."""
    for part in value.lower().split(b","):
        name, _, number = part.strip().partition(b"=")
        if name == b"timeout" and number.isdigit() and len(number) < 10:
            return max(0.0, int(number) - 1.0)
    return None
