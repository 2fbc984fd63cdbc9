"""The client: takes a connection or makes one, sends, and sweeps for what is overdue.

Rules: one coarse timer for all exchanges, running only while something is open. Bound to the event
loop that first uses it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping

from potluck.errors import Unavailable
from potluck.upstream.call import Call
from potluck.upstream.connection import Connection
from potluck.upstream.dial import connect
from potluck.upstream.exchange import Exchange
from potluck.upstream.origin import Origin
from potluck.upstream.pool import Pool, PoolStats
from potluck.upstream.proxy import Proxies

REPLAYABLE = frozenset(("GET", "HEAD"))


class Upstream:
    """`sweep_every` is the grain of all timeouts but connect, in seconds.

    `proxies` are settings named as in the environment, which is the default; `{}` is none.
    """

    def __init__(
        self,
        *,
        max_idle_per_origin: int = 64,
        idle_seconds: float = 30.0,
        max_head_bytes: int = 64 * 1024,
        proxies: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        sweep_every: float = 0.1,
    ) -> None:
        self._max_idle, self._idle_seconds, self._max_head = max_idle_per_origin, idle_seconds, max_head_bytes
        self._proxies = Proxies(os.environ if proxies is None else proxies)
        self._ssl, self._sweep_every = ssl_context, sweep_every
        self._pools: dict[Origin, Pool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._brisk = False  # whether the timer runs at `sweep_every`, not just for idle connections
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    async def send(self, call: Call) -> Exchange:
        """Send one request and return when the response headers are here. Close the exchange.

        Raises Invalid (nothing sent, the request is at fault), and Unavailable, TimedOut or Malformed:
        sent=False when the request certainly never left, True when the provider may have acted on it.

        A kept-alive connection may be closed by the peer while we write to it. Whether the request was
        acted on is then unknowable, so a POST is not sent again behind the ledger's back: it would be one
        hold for two requests (RFC 9110 §9.2.2: no automatic retry of a method that is not idempotent;
        RFC 9112 §9.3.1). It fails with sent=True, and dispatch decides. GET and HEAD are sent once more,
        on a fresh connection. A connection known to be closed is never written to, and the peer's own
        `Keep-Alive: timeout` is kept with a second to spare, so the race is a rare one.
        """
        pool = self._pools.get(call.origin) or self._pool(call.origin)
        request = pool.preamble.render(call)
        connection = pool.take()
        reused = connection is not None
        if connection is None:
            connection = await self._connect(pool, call)
        if not self._brisk:
            self._sweep_brisk()
        exchange = connection.start(request, call.timeouts, bodyless=call.method == "HEAD")
        await exchange.wait(0)
        if reused and exchange.silent and call.method in REPLAYABLE:
            connection = await self._connect(pool, call)
            exchange = connection.start(request, call.timeouts, bodyless=call.method == "HEAD")
            await exchange.wait(0)
        if exchange.status or exchange.error is None:
            return exchange
        raise exchange.error

    def stats(self) -> dict[Origin, PoolStats]:
        return {origin: pool.stats() for origin, pool in self._pools.items()}

    async def close(self) -> None:
        """Abort everything that is open and wait until the sockets are gone. Readers get Unavailable."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pool in self._pools.values():
            pool.closed = True
            for connection in tuple(pool.open):
                connection.cancel("Potluck is shutting down.")
        if any(pool.open for pool in self._pools.values()):
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    async def _connect(self, pool: Pool, call: Call) -> Connection:
        if not self._closed:
            loop = asyncio.get_running_loop()
            connection = await connect(
                lambda: Connection(pool, loop),
                pool.origin,
                pool.proxy,
                self._tls,
                seconds=call.timeouts.connect,
            )
            if connection.usable:
                return connection
        why = "Potluck is shutting down." if self._closed else f"{pool.name} closed the connection at once."
        raise Unavailable(why, sent=False)

    def _tls(self) -> ssl.SSLContext:
        """Made on first use: reading the trust store takes milliseconds. Honours SSL_CERT_FILE (OpenSSL)."""
        if self._ssl is None:
            self._ssl = ssl.create_default_context()
            self._ssl.set_alpn_protocols(["http/1.1"])
        return self._ssl

    def _pool(self, origin: Origin) -> Pool:
        self._loop = self._loop or asyncio.get_running_loop()
        pool = self._pools[origin] = Pool(
            origin,
            self._proxies.choose(origin),
            max_idle=self._max_idle,
            idle_seconds=self._idle_seconds,
            max_head_bytes=self._max_head,
            on_gone=self._gone,
            loop=self._loop,
        )
        pool.closed = self._closed
        return pool

    def _gone(self) -> None:
        empty = self._empty
        if empty and not empty.done() and not any(pool.open for pool in self._pools.values()):
            empty.set_result(None)

    def _sweep_brisk(self) -> None:
        self._brisk = True
        self._schedule(self._sweep_every)

    def _schedule(self, seconds: float) -> None:
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        """Fail what is overdue, give up what was idle too long; come back only if there is a reason to."""
        assert self._loop is not None
        now, live, expiry = self._loop.time(), False, float("inf")
        for pool in self._pools.values():
            for connection in tuple(pool.open):
                exchange = connection.exchange
                if exchange is not None:
                    live = True
                    if which := exchange.overdue(now):
                        connection.expire(which)
            pool.prune(now)
            expiry = min(expiry, pool.next_expiry())
        self._brisk, self._timer = live, None
        if self._closed:
            return
        if live:
            self._schedule(self._sweep_every)
        elif expiry < float("inf"):
            self._schedule(max(expiry - now, self._sweep_every))
