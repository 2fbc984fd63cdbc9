"""What is sent: one request, checked so that no value can smuggle a second header or request.

Rules: checks are remembered, because a gateway sends the same few paths and header blocks over and
over; the memory is bounded. Framing headers (host, length, connection, encoding) are ours alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from potluck import __version__
from potluck.errors import Invalid
from potluck.upstream.origin import Origin

USER_AGENT = b"user-agent: potluck/" + __version__.encode("ascii") + b"\r\n"
REMEMBERED = 512  # entries, per memory

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # token, RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # field-value, RFC 9110 §5.5
_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_PATH = re.compile(r"/[\x21\x22\x24-\x7e]*")  # visible ASCII without "#": a fragment is never sent
_METHOD = re.compile(r"[A-Z]+")
_OURS = re.compile(
    rb"(?im)^(?:host|content-length|transfer-encoding|connection|accept-encoding|expect|te|trailer|upgrade"
    rb"|keep-alive|proxy-[^:]*):"
)
_HAS_USER_AGENT = re.compile(rb"(?im)^user-agent:")


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. `connect` covers name, TCP, proxy and TLS; the others count from the moment of sending."""

    connect: float = 5.0
    head: float = 30.0  # until the response headers
    first: float = 30.0  # until the first body byte
    stall: float = 30.0  # between body bytes, while we are willing to read
    total: float = 600.0


class Call(msgspec.Struct, frozen=True):
    """One request. `headers` are rendered lines (see `header_lines`) without those that frame the message."""

    origin: Origin
    path: str
    headers: bytes = b""
    body: bytes = b""
    method: str = "POST"
    timeouts: Timeouts = Timeouts()


def header_lines(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Rendered header lines. Raises Invalid where a name or value could break out of its line.

    The value is not repeated in the message: it may be a key.
    """
    lines = []
    for name, value in pairs:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Invalid(
                f"The header {name[:40]!r} has a line break, a control character or a letter that HTTP "
                "headers cannot carry. Remove it."
            )
        lines.append(f"{name.lower()}: {value}\r\n")
    return "".join(lines).encode("latin-1")


class Preamble:
    """Request lines and header blocks for one origin, checked and rendered once.

    `target` precedes the path (absolute form, when a proxy relays plain http) and `extra` is a header
    line for that proxy.
    """

    __slots__ = ("_blocks", "_extra", "_host", "_starts", "_target")

    def __init__(self, origin: Origin, *, target: str = "", extra: bytes = b"") -> None:
        self._host = origin.authority
        self._target, self._extra = target, extra
        self._starts: dict[tuple[str, str], bytes] = {}
        self._blocks: dict[bytes, bytes] = {}

    def render(self, call: Call) -> bytes:
        """The whole request, for one write. Raises Invalid before anything is sent."""
        start = self._starts.get((call.method, call.path)) or self._start(call.method, call.path)
        block = self._blocks.get(call.headers) or self._block(call.headers)
        body = call.body
        if body or call.method not in ("GET", "HEAD"):
            return b"".join((start, block, b"content-length: %d\r\n\r\n" % len(body), body))
        return b"".join((start, block, b"\r\n"))

    def _start(self, method: str, path: str) -> bytes:
        if not _METHOD.fullmatch(method) or not _PATH.fullmatch(path):
            raise Invalid(f"The request line {method[:20]!r} {path[:80]!r} is not one HTTP can carry.")
        if len(self._starts) >= REMEMBERED:
            self._starts.clear()
        start = f"{method} {self._target}{path} HTTP/1.1\r\nhost: {self._host}\r\n".encode("ascii")
        # No compression: events must be forwarded the moment they arrive, and bombs stay outside.
        start += b"accept-encoding: identity\r\n" + self._extra
        self._starts[method, path] = start
        return start

    def _block(self, headers: bytes) -> bytes:
        if not _LINES.fullmatch(headers) or _OURS.search(headers):
            raise Invalid(
                "The headers for a provider hold a line break, a malformed line, or a header that frames "
                "the message. Render them with header_lines() and leave framing to upstream."
            )
        if len(self._blocks) >= REMEMBERED:
            self._blocks.clear()
        block = headers if _HAS_USER_AGENT.search(headers) else USER_AGENT + headers
        self._blocks[headers] = block
        return block
