"""The open connections of one origin; the one used last is used next.

Last in, first out keeps few connections warm and lets the rest run into their idle time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from potluck.upstream.call import Preamble
from potluck.upstream.connection import Connection
from potluck.upstream.origin import Origin
from potluck.upstream.proxy import Proxy


class PoolStats(msgspec.Struct, frozen=True):
    """Connections of one origin: all of them, and those waiting for work."""

    open: int
    idle: int


class Pool:
    """`on_gone` is called whenever a connection has ended."""

    __slots__ = (
        "_idle_seconds",
        "_loop",
        "_max_idle",
        "_on_gone",
        "_waiting",
        "closed",
        "max_head_bytes",
        "name",
        "open",
        "origin",
        "preamble",
        "proxy",
    )

    def __init__(
        self,
        origin: Origin,
        proxy: Proxy | None,
        *,
        max_idle: int,
        idle_seconds: float,
        max_head_bytes: int,
        on_gone: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.origin, self.proxy, self.name = origin, proxy, origin.address
        self._max_idle, self._idle_seconds, self.max_head_bytes = max_idle, idle_seconds, max_head_bytes
        self._on_gone, self._loop = on_gone, loop
        self._waiting: list[Connection] = []
        self.open: set[Connection] = set()
        self.closed = False
        if proxy is not None and not origin.tls:  # absolute form: RFC 9112 §3.2.2
            target = f"http://{origin.authority}"
            self.preamble = Preamble(origin, target=target, extra=proxy.authorization_line())
        else:
            self.preamble = Preamble(origin)

    def take(self) -> Connection | None:
        """A connection that is not known to be closed, or None."""
        while self._waiting:
            connection = self._waiting.pop()
            if connection.usable and self._loop.time() < connection.good_until:
                return connection
            connection.abort()
        return None

    def stats(self) -> PoolStats:
        return PoolStats(len(self.open), len(self._waiting))

    def prune(self, now: float) -> None:
        """Give up connections that have been idle for too long."""
        for connection in [each for each in self._waiting if each.good_until <= now]:
            self._waiting.remove(connection)
            connection.abort()

    def next_expiry(self) -> float:
        """Loop time when the first idle connection is due; infinity without one."""
        return min((each.good_until for each in self._waiting), default=float("inf"))

    # Called by connections.

    def opened(self, connection: Connection) -> None:
        self.open.add(connection)
        if self.closed:
            connection.abort()

    def idle(self, connection: Connection, keep_for: float | None) -> None:
        keep = self._idle_seconds if keep_for is None else min(keep_for, self._idle_seconds)
        if self.closed or keep <= 0 or len(self._waiting) >= self._max_idle:
            connection.abort()
            return
        connection.good_until = self._loop.time() + keep
        self._waiting.append(connection)

    def retire(self, connection: Connection) -> None:
        """The peer has ended it: not to be used again."""
        if connection.good_until and connection in self._waiting:
            self._waiting.remove(connection)

    def gone(self, connection: Connection) -> None:
        """The socket is closed."""
        self.retire(connection)
        self.open.discard(connection)
        self._on_gone()
