"""A client that hides nothing: one raw loopback connection per request, everything that came back,
and a clock to move."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from potluck.sim import World


class Hand:
    """A clock moved by hand; starts at 2026-10-01 12:00:00 UTC."""

    def __init__(self, at: float = 1_790_856_000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@dataclass
class Got:
    """What came back. `clean` says that the body ended as HTTP says it must; `events` are the SSE data lines."""

    status: int
    headers: dict[str, str]
    body: bytes
    clean: bool
    head: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        lines = self.body.decode(errors="replace").splitlines()
        return [line[6:] for line in lines if line.startswith("data: ")]

    @property
    def text(self) -> str:
        chunks = [json.loads(event) for event in self.events if event != "[DONE]"]
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))


def dechunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, rest == b"\r\n"
        if len(rest) < length + 2:
            return body + rest, False
        body, data = body + rest[:length], rest[length + 2 :]
    return body, False


def understood(data: bytes) -> Got:
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
    words = lines[0].split(" ")
    status = int(words[1]) if lines[0].startswith("HTTP/1.1 ") else 0
    if headers.get("transfer-encoding") == "chunked":
        body, clean = dechunk(rest)
    else:
        body, clean = rest, "content-length" in headers and len(rest) == int(headers["content-length"])
    return Got(status, headers, body, clean, head)


async def exchange(
    url: str, method: str = "POST", body: Any = None, key: str = "k", seconds: float = 5.0, **headers: str
) -> Got:
    """One request on a connection of its own; what arrived within `seconds` if the answer stalls."""
    _, _, host, path = url.split("/", 3)
    name, _, port = host.partition(":")
    data = b"" if body is None else json.dumps(body).encode()
    sent = {"host": host, "content-length": str(len(data)), "connection": "close", **headers}
    if key:
        sent["authorization"] = f"Bearer {key}"
    lines = [f"{method} /{path} HTTP/1.1", *(f"{k.replace('_', '-')}: {v}" for k, v in sent.items())]
    reader, writer = await asyncio.open_connection(name, int(port))
    received = b""
    try:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        async with asyncio.timeout(seconds):
            while part := await reader.read(1 << 20):
                received += part
    except (TimeoutError, ConnectionResetError):
        pass
    finally:
        writer.transport.abort()
    return understood(received)


def hello(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


async def chat(world: World, provider: str, model: str, key: str = "k", **more: Any) -> Got:
    seconds = more.pop("seconds", 5.0)
    body = hello(model) | more
    return await exchange(f"{world.url(provider)}/chat/completions", body=body, key=key, seconds=seconds)


async def spend(world: World, provider: str, model: str, clock: Hand, number: int, pause: float = 60) -> None:
    """Use up `number` requests, slowly enough for every minute's limit."""
    for _ in range(number):
        assert (await chat(world, provider, model)).status == 200
        clock.at += pause


def at(zone: str, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(zone)).timestamp()
