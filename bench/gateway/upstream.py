"""The fake provider every system is measured against: fixed answers, as fast as Python gets them out.

Rules: the same process serves all systems; an answer never depends on who asks. A prompt is read whole,
never parsed. `GET /pace?events=E&interval=S` sets how many events a stream has and the seconds between two
of them (0 = one event per turn of the loop: each event is its own write, but nobody waits).
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop
from bench.gateway import wire

_STREAM = re.compile(rb'"stream"\s*:\s*true')
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def json_reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole HTTP/1.1 answer, ready to write."""
    head = b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: "
    return head + str(len(body)).encode() + b"\r\n\r\n" + body


class Pace:
    """How streams run; one value for the whole process, changed between two cells, never within one."""

    def __init__(self, events: int = wire.EVENTS, interval: float = 0.0) -> None:
        self.interval = interval
        parts = wire.stream_events(events)
        self.writes = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts]
        self.writes[0] = _SSE_HEAD + self.writes[0]
        self.writes[-1] += b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: requests in order, one answer each. No pipelining (no gateway does it)."""

    pace = Pace()
    answer = json_reply(wire.json_answer())

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""
        self._next = 0
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its type.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    # httptools calls these.
    def on_message_begin(self) -> None:
        self._body.clear()
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":
            self._transport.write(self._get())
        elif _STREAM.search(b"".join(self._body)):
            self._next = 0
            self._tick()
        else:
            self._transport.write(self.answer)

    def _get(self) -> bytes:
        url = urlsplit(self._url.decode())
        if url.path == "/pace":
            query = parse_qs(url.query)
            Upstream.pace = Pace(int(query["events"][0]), float(query["interval"][0]))
            return json_reply(b"{}")
        model = {"id": wire.MODEL, "object": "model", "created": 0, "owned_by": "bench"}
        return json_reply(wire.compact({"object": "list", "data": [model]}))

    def _tick(self) -> None:
        pace = self.pace
        self._transport.write(pace.writes[self._next])
        self._next += 1
        if self._next == len(pace.writes):
            self._timer = None
        elif pace.interval:
            self._timer = self._loop.call_later(pace.interval, self._tick)
        else:
            self._timer = self._loop.call_soon(self._tick)


async def serve(port: int) -> None:
    """Listen on loopback until killed; prints the port once connections are taken."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
