"""The client that floods, as a process of its own: `python -m tests.server.flooding PORT KEY`; a JSON count at the end.

Everything at once and from one address: connections beyond the limit, heads that dawdle, bodies that never end,
and 1,000 requests a second with a key that may make 60 a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
from collections import Counter
from contextlib import suppress

CONNECTIONS, WAVE = 10_000, 250
RATE, LINES = 1_000, 8  # requests a second, over so many connections
SLOW, ENDLESS = 16, 16  # connections
BODY = json.dumps({"model": "pot/stew", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4})

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def request(key: str, length: str = f"content-length: {len(BODY)}") -> bytes:
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}authorization: Bearer {key}\r\n{length}\r\n\r\n".encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    """The status of the next answer, which is read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12])


async def ask(streams: Streams, key: str) -> int:
    streams[1].write(request(key) + BODY.encode())
    return await status_of(streams[0])


class Flood:
    def __init__(self, port: int, key: str) -> None:
        self.port, self.key, self.counts = port, key, Counter[str]()
        self.over = asyncio.Event()

    async def run(self) -> dict[str, int]:
        """Held lines first, so that the connections of the flood meet a full house."""
        hoses = [await self.open() for _ in range(LINES)]
        beside = [asyncio.create_task(self.hose(each)) for each in hoses]
        beside += [asyncio.create_task(self.slow_head()) for _ in range(SLOW)]
        beside += [asyncio.create_task(self.endless_body()) for _ in range(ENDLESS)]
        for _ in range(CONNECTIONS // WAVE):
            opened = await asyncio.gather(*(self.open() for _ in range(WAVE)), return_exceptions=True)
            self.counts["attempts"] += WAVE
            await asyncio.gather(
                *(self.refused(each) for each in opened if not isinstance(each, BaseException))
            )
        self.over.set()
        await asyncio.gather(*beside)
        return dict(self.counts)

    async def open(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def refused(self, streams: Streams) -> None:
        """Says nothing and reads: who is one too many is told so at once, who is not waits a moment."""
        with suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(0.2):
                self.counts[f"connection {await status_of(streams[0])}"] += 1
        streams[1].close()

    async def hose(self, streams: Streams) -> None:
        while not self.over.is_set():
            self.counts[f"request {await ask(streams, self.key)}"] += 1
            await asyncio.sleep(LINES / RATE)
        streams[1].close()

    async def slow_head(self) -> None:
        await self._drip("slow head", b"POST /v1/chat/completions HTTP/1.1\r\nx: ", b"x")

    async def endless_body(self) -> None:
        chunk = b"400\r\n" + bytes(1024) + b"\r\n"
        await self._drip("endless body", request(self.key, "transfer-encoding: chunked"), chunk)

    async def _drip(self, name: str, start: bytes, more: bytes) -> None:
        """Again and again, until the gateway has had enough of each."""
        while not self.over.is_set():
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                reader, writer = await self.open()
                writer.write(start)
                answer = asyncio.create_task(status_of(reader))
                while not answer.done() and not self.over.is_set():
                    await asyncio.wait((answer,), timeout=0.02)
                    writer.write(more)
                answer.cancel()
                writer.close()
                with suppress(asyncio.CancelledError):
                    self.counts[f"{name} {await answer}"] += 1
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    os.nice(5)  # the neighbour is measured on the same machine: the flood must slow the gateway, not the test
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(asyncio.run(Flood(int(sys.argv[1]), sys.argv[2]).run())))
