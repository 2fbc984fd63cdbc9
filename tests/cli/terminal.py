"""A terminal for tests: the real `potluck` command in a process of its own, and servers that say what they are told."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec


class Said(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return msgspec.json.decode(self.out.encode())


class Terminal:
    """Commands run in `home` with nothing in their environment but what is given here: no key of the developer's."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "POTLUCK_DATA_DIR": str(home / "data"),
            "POTLUCK_LOCAL_DISCOVER": "false",
            "POTLUCK_PORT": "1",  # nobody listens there: a gateway of the developer's is not asked
            "PYTHONWARNINGS": "error",
            **environ,
        }

    async def run(self, *words: str, stdin: str = "", **environ: str) -> Said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "potluck",
            *words,
            cwd=self.home,
            env={**self.environ, **environ},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        assert "Traceback" not in err.decode(), err.decode()
        return Said(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """A server that reads one request and answers with these bytes, whatever was asked: its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.partition(b":")[2]))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: int, body: bytes, *headers: str, type: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    lines = [
        f"HTTP/1.1 {status} x",
        f"content-type: {type}",
        f"content-length: {len(body)}",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def refusal(status: int, message: str, *headers: str) -> bytes:
    """A refusal in the shape a gateway gives it."""
    error = {"error": {"message": message, "type": "x", "param": None, "code": "x"}}
    return http(status, msgspec.json.encode(error), *headers)


def stream(*events: str) -> bytes:
    """Server-sent events that end when the connection does."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-potluck-target: pot/stew\r\n\r\n"
    return head + b"".join(f"data: {event}\n\n".encode() for event in events)
