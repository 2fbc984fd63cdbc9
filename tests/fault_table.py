"""The table of `docs/faults.md`, how each of its faults is armed, and what came of striking one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.wall import answer, wall


class Struck(NamedTuple):
    """What became of one request."""

    seen: str
    booked: str
    again: str


# How each fault of the table is armed: kind and details before the first word, and after it (None: it cannot strike).
Arming = tuple[str, dict[str, Any]]
ROWS: dict[str, tuple[Arming | None, Arming | None]] = {
    "429 with Retry-After": (("rate_limited", {"seconds": 7}), None),
    "429 without": (("http", {"status": 429}), None),
    "500": (("http", {"status": 500}), None),
    "503": (("http", {"status": 503}), None),
    "connection refused": (("refused", {}), None),
    "TLS failure": (("tls", {}), None),
    "slow headers": (("slow_head", {}), None),
    "no first token": (("no_first_token", {}), None),
    "stall between tokens": (("stall", {"after": 0}), ("stall", {"after": 4})),
    "connection cut": (("cut", {"after": 0}), ("cut", {"after": 4})),
    "connection reset": (("reset", {"after": 0}), ("reset", {"after": 4})),
    "stream without an end": (("clean_cut", {"after": 0}), ("clean_cut", {"after": 4})),
    "stream without its terminator": (("no_done", {}), ("no_done", {})),
    "malformed JSON": (("bad_json", {"after": 0}), ("bad_json", {"after": 4})),
    "malformed SSE": (None, ("malformed_sse", {"after": 4})),
    "error object in a 200": (("stream_error", {"after": 0}), ("stream_error", {"after": 4})),
    "empty answer": (("empty", {}), None),
    "truncated, reported as whole (JSON was asked for)": (("truncated_as_whole", {"after": 4}), None),
    "content filter, as a refusal": (("content", {}), None),
    "content filter, as an ending": (("content_filter", {"after": 0}), ("content_filter", {"after": 4})),
    "context length exceeded": (("context", {}), None),
    "bad key": (("bad_key", {}), None),
    "model gone": (("gone", {}), None),
}
PAGE = Path(__file__).parents[1] / "docs" / "faults.md"


class Row(NamedTuple):
    """One line of the table."""

    fault: str
    before: str
    booked_before: str
    after: str
    booked_after: str
    again: str

    def phases(self) -> list[str]:
        """Before the first word a whole answer and a stream behave alike, so both are struck. Only a whole answer can
        be checked for the JSON that was asked for."""
        whole_only = "(JSON" in self.fault
        before = ["whole", *([] if whole_only else ["before"])] if self.before else []
        return [*before, *(["after"] if self.after else [])]

    def expected(self, phase: str) -> Struck:
        if phase == "after":
            return Struck(self.after, self.booked_after, self.again)
        return Struck(self.before, self.booked_before, self.again)


def table() -> list[Row]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines[1:]]


async def strike(fault: str, phase: str, home: Path) -> Struck:
    """One fault against a fresh gateway. `phase`: whole | before | after."""
    before, after = ROWS[fault]
    kind, how = (after if phase == "after" else before) or ("", {})
    fields: dict[str, Any] = {"response_format": {"type": "json_object"}} if "(JSON" in fault else {}
    async with _address(kind) as url, wall(home, url=url, answer=_json if fields else answer) as one:
        if not url:
            one.arm(kind, **how)
        seen = await one.ask(phase != "whole", **fields)
        await one.settled()
        return Struck(seen, one.booked(), one.again(exact="Retry-After" in fault))


def _json(body: Any) -> str:
    return '{"answer": "peel the onions and fry them slowly"}'


@asynccontextmanager
async def _address(kind: str) -> AsyncIterator[str]:
    """Where the first provider is said to be, if its address is the fault."""
    if kind == "refused":
        yield "http://127.0.0.1:1/v1"
    elif kind == "tls":
        server = await asyncio.start_server(_no_tls, "127.0.0.1", 0)
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        server.close()
        await server.wait_closed()
    else:
        yield ""


async def _no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What answers a TLS handshake in plain text."""
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
    writer.close()
