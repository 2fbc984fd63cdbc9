"""Find model servers that already run on this machine, by asking each known port what it serves.

Rules: it never asks anything but loopback, whatever the catalog says; all are asked at once and none may take
longer than `PATIENCE`. HTTP/1.0, so that no server may answer in chunks (RFC 9112, section 7.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from potluck.types import Kind

PATIENCE = 0.3  # seconds; a server on the same machine needs a hundredth of it
_MOST = 1 << 20  # bytes of an answer worth reading
# What servers call the length of their context, the one in force before the one the model was trained for.
_CONTEXT_FIELDS = (
    "max_model_len",
    "loaded_context_length",
    "context_length",
    "max_context_length",
    "context_window",
)
_CONTEXT_META = ("n_ctx", "n_ctx_train")


class Discovered(msgspec.Struct, frozen=True):
    """One model of a running server. `context` in tokens, 0 = not said."""

    model: str
    context: int = 0
    kind: Kind = "chat"


async def discover(
    providers: Iterable[tuple[str, str]], *, ours: Iterable[int] = (), patience: float = PATIENCE
) -> dict[str, list[Discovered]]:
    """Which of `(provider id, base URL)` answer, and with which models.

    `ours` are ports of Potluck itself, not asked: a gateway that finds itself would send requests in circles.
    Raises nothing: a server that is down, hangs or talks nonsense is not found.
    """
    skipped = frozenset(ours)
    asked = [(provider, Place.of(url)) for provider, url in providers]
    asked = [(provider, place) for provider, place in asked if place and place.port not in skipped]
    found = await asyncio.gather(*(_ask(place, patience) for _, place in asked if place))
    return {provider: models for (provider, _), models in zip(asked, found, strict=True) if models}


class Place(msgspec.Struct, frozen=True):
    """Where to ask: a loopback address as a number, so that no name is ever resolved."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Place | None:
        """Where `url` points to, None unless that is plain http on loopback."""
        try:
            parts: SplitResult = urlsplit(url)
            host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
            if parts.scheme != "http" or not ipaddress.ip_address(host).is_loopback:
                return None
            return cls(host, parts.port or 80, f"{parts.path.rstrip('/')}/models")
        except ValueError:
            return None


async def _ask(place: Place, patience: float) -> list[Discovered]:
    """The models at one place; none if it does not answer in time as it should."""
    try:
        async with asyncio.timeout(patience):
            answer = await _get(place)
    except (OSError, TimeoutError):
        return []
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return parse(body) if status == [b"200"] else []


async def _get(place: Place) -> bytes:
    """The whole answer, head and body, as far as `_MOST`. Raises OSError."""
    reader, writer = await asyncio.open_connection(place.host, place.port)
    try:
        name = f"[{place.host}]" if ":" in place.host else place.host
        writer.write(
            f"GET {place.path} HTTP/1.0\r\nHost: {name}:{place.port}\r\nAccept: application/json\r\n"
            "Connection: close\r\n\r\n".encode("ascii")
        )
        return await _read(reader)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Until the server closes, or its `Content-Length` is here (some keep the connection even so)."""
    data = bytearray()
    while len(data) < _MOST and (block := await reader.read(65_536)):
        data += block
        head, end, body = bytes(data).partition(b"\r\n\r\n")
        if end and 0 <= _length(head) <= len(body):
            break
    return bytes(data)


def _length(head: bytes) -> int:
    """The announced length of the body in bytes, -1 if there is none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return -1


def parse(body: bytes) -> list[Discovered]:
    """The models of a `GET /v1/models` answer; what is not understood is left out."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    rows = answer.get("data") if isinstance(answer, dict) else None
    return [
        Discovered(row["id"], _context(row), _kind(row))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and isinstance(row.get("id"), str) and row["id"]
    ]


def _context(row: Mapping[str, Any]) -> int:
    meta = row.get("meta")
    offered = [row.get(field) for field in _CONTEXT_FIELDS]
    offered += [meta.get(field) for field in _CONTEXT_META] if isinstance(meta, dict) else []
    return next((n for n in offered if type(n) is int and n > 0), 0)


def _kind(row: Mapping[str, Any]) -> Kind:
    """Servers rarely say which models only embed; the name does, and asking one of those to chat fails."""
    return "embeddings" if "embed" in f"{row['id']} {row.get('type', '')}".lower() else "chat"
