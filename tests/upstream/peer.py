"""A server over a real loopback socket that says exactly the bytes it is told to, and sees what it gets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from potluck.upstream import Call, Origin

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Script = Callable[["Talk"], Awaitable[None]]


class Talk:
    """One accepted connection, from the server's side."""

    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer, self.reader, self.writer = peer, reader, writer
        self.number = peer.accepted  # 1 for the first connection

    async def request(self) -> bytes:
        """One whole request; b"" when the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            whole = head + await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.peer.requests.append(whole)
        return whole

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def gone(self) -> None:
        """Returns when the client has closed its side; what it still sends is read and dropped."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        self.writer.transport.abort()


class Peer:
    def __init__(self) -> None:
        self.accepted = 0
        self.requests: list[bytes] = []
        self.origin = Origin("127.0.0.1", 0, False)
        self.sockets_open = 0

    def call(self, **changes: Any) -> Call:
        return Call(**{"origin": self.origin, "path": "/v1/chat", "body": b"{}", **changes})


@asynccontextmanager
async def peer(
    script: Script, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """Runs `script` on each connection and closes it after the script ends."""
    made = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        made.accepted += 1
        made.sockets_open += 1
        try:
            await script(Talk(made, reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            made.sockets_open -= 1
            writer.close()
            with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, 0, ssl=context, backlog=512)
    made.origin = Origin("localhost" if context else host, server.sockets[0].getsockname()[1], bool(context))
    try:
        yield made
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tuple(tasks), return_exceptions=True)
        await server.wait_closed()


def answering(*answers: bytes) -> Script:
    """Answers each request on a connection with the next of `answers`, then closes."""

    async def script(talk: Talk) -> None:
        for answer in answers:
            if not await talk.request():
                return
            await talk.say(answer)

    return script


def always(answer: bytes = OK) -> Script:
    """Answers every request the same way, for as long as the client wants."""

    async def script(talk: Talk) -> None:
        while await talk.request():
            await talk.say(answer)

    return script


def silent_after(answer: bytes = b"") -> Script:
    """Answers the first request with `answer` and then says nothing until the client goes."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(answer)
        await talk.gone()

    return script


def chunked(*pieces: bytes) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
