"""One request and its response, as the caller sees it: headers first, then the body as it arrives.

Rules: the connection belongs to the exchange until `close`, which always works, also from a `finally`
of a cancelled task. What arrived before a failure is read before the failure is raised. One reader.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from potluck.errors import Malformed, TargetFailed, Unavailable
from potluck.upstream.call import Timeouts

if TYPE_CHECKING:
    from potluck.upstream.connection import Connection

HIGH_WATER = 256 * 1024  # bytes unread before we stop reading the socket: one slow client, bounded memory


class Exchange:
    """Made by `Upstream.send`. Times are `loop.time()` seconds, 0 = did not happen.

    `complete` means that the response ended as its framing promised; `error` is why it will not.
    `length` is the Content-Length, -1 without one.
    """

    # Defaults stand on the class: setting a dozen attributes an exchange is a microsecond (bench/micro).
    status = 0
    length = -1
    complete = paused = silent = False
    error: TargetFailed | None = None
    first_at = moved_at = ended_at = 0.0
    unread = 0
    high_water = HIGH_WATER
    _waiter: asyncio.Future[None] | None = None
    _wake_at = 0  # unread bytes worth waking the reader for

    def __init__(self, connection: Connection, timeouts: Timeouts, loop: asyncio.AbstractEventLoop) -> None:
        self._connection: Connection | None = connection
        self._loop, self.timeouts = loop, timeouts
        self.headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self.sent_at = loop.time()

    def header(self, name: bytes) -> bytes | None:
        """The first header of that lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self) -> bytes:
        """Everything that has arrived since the last read; b"" is a clean end and closes the exchange.

        Raises Unavailable (cut), TimedOut or Malformed, after what arrived before it was read.
        """
        if not self._chunks and not self.complete and self.error is None:
            await self.wait(1)
        if self._chunks:
            return self._take()
        if self.error is not None:
            raise self.error
        self.close()
        return b""

    async def body(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes; closes the exchange. Raises as `read` does.

        Longer than `limit` is Malformed: no answer we asked for is that big.
        """
        if not self.complete and self.error is None and self.length <= limit:
            self.high_water = max(limit, HIGH_WATER)
            self._resume()
            await self.wait(limit + 1)
        if self.unread > limit or self.length > limit:
            self.close()
            raise Malformed(f"The provider's answer is longer than {limit} bytes.", status=self.status)
        if self.error is not None:
            raise self.error
        body = self._take()
        self.close()
        return body

    def close(self) -> None:
        """Give the connection back when the response is complete, else abort the socket at once.

        Aborting is what tells a provider, within milliseconds, to stop generating. Idempotent.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not self.complete and self.error is None:
            self.error = Unavailable("The exchange was closed before it ended.", status=self.status)
        connection.release(self)

    async def wait(self, unread: int) -> None:
        """Until `unread` bytes are there, or the end, or a failure. Cancellation aborts the socket."""
        self._wake_at = unread
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        except BaseException:
            self._waiter = None
            self.close()
            raise

    # Called by the connection.

    def arrived(self, data: bytes) -> None:
        self.moved_at = now = self._loop.time()
        if not self.first_at:
            self.first_at = now
        self._chunks.append(data)
        self.unread += len(data)

    def finish(self) -> None:
        self.complete = True
        self.ended_at = self._loop.time()

    def fail(self, error: TargetFailed) -> None:
        """The first failure counts; nothing is taken back once the end was reported."""
        if self.error is None and self._connection is not None:
            self.complete, self.error, self.ended_at = False, error, self._loop.time()
        self.wake()

    def notify(self) -> None:
        """Wake the reader if what it waits for is there."""
        if self._waiter is not None and (self.complete or (self.status and self.unread >= self._wake_at)):
            self.wake()

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def overdue(self, now: float) -> str:
        """Which timeout has passed at `now`, "" for none. While we do not read, the peer is not blamed."""
        limits, since_sent = self.timeouts, now - self.sent_at
        if self.complete or self.error is not None:
            return ""
        if since_sent > limits.total:
            return "total"
        if not self.status and since_sent > limits.head:
            return "head"
        if not self.first_at:
            return "first" if since_sent > limits.first else ""
        return "stall" if not self.paused and now - self.moved_at > limits.stall else ""

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.unread = 0
        self._resume()
        return data

    def _resume(self) -> None:
        if self.paused and self._connection is not None:
            self.paused = False
            self.moved_at = self._loop.time()
            self._connection.resume()
