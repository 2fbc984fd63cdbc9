"""Tells a streaming client that its request waits: headers early, then a comment now and then.

Rules: comments are lines that begin with a colon, which every reader of event streams ignores (HTML standard,
server-sent events, 9.2.6). Once the head is out it says 200, so what fails later ends in an error event and never
in the terminator. Short waits say nothing, so that what fails at once keeps its own status. One task for each
request that waits, and none for those that do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from potluck.errors import PotluckError
from potluck.surfaces.surface import Writer

QUIET = 2.0  # seconds of waiting before the head is sent
EVENTS = b"text/event-stream"  # the only streams that know comments
WAITING = b": waiting\n\n"

Send = Callable[[dict[str, Any]], Awaitable[None]]


class KeepAlive:
    """Ask `sent_already` before anything else is sent."""

    def __init__(self, send: Send, head: list[tuple[bytes, bytes]], every: float, writer: Writer) -> None:
        self._send, self._head, self._every, self._writer = send, head, every, writer
        self.sent = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def sent_already(self) -> bool:
        """Nothing is sent from here any more. Whether the head is out."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        return self.sent

    def stop(self) -> None:
        """The same for a `finally` block: it does not wait."""
        if self._task is not None:
            self._task.cancel()

    async def failed(self, error: PotluckError) -> bool:
        """Ends a stream whose head is out with an error event; False if the error may still be a status."""
        if not await self.sent_already():
            return False
        await self._send({"type": "http.response.body", "body": self._writer.broke(error)})
        return True

    async def _run(self) -> None:
        await asyncio.sleep(min(QUIET, self._every))
        await self._send({"type": "http.response.start", "status": 200, "headers": self._head})
        self.sent = True
        while True:
            await self._send({"type": "http.response.body", "body": WAITING, "more_body": True})
            await asyncio.sleep(self._every)


def comments(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers that came too late to be headers, for those who read comments."""
    return b"".join([b": %b: %b\n" % header for header in headers]) + b"\n"
