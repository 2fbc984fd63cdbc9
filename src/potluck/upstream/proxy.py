"""Forward proxies as the environment names them: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

Rules: never a proxy for this machine. Lower-case names win, as in curl. Only proxies spoken to in
plain HTTP are known; TLS to the provider runs through them end to end (CONNECT, RFC 9110 §9.3.6).
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from potluck.errors import ConfigError, Malformed, Unavailable
from potluck.types import Secret
from potluck.upstream.origin import Origin, is_loopback

_MAX_ANSWER = 16 * 1024  # bytes of a proxy's answer to CONNECT


class Proxy(msgspec.Struct, frozen=True):
    """Where a proxy listens. `credentials` is the value of Proxy-Authorization, "" for none."""

    host: str
    port: int
    credentials: Secret = Secret("")

    @classmethod
    def of(cls, url: str) -> Proxy:
        """Raises ConfigError for anything but `http://[user:password@]host[:port]`."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme != "http":
            raise ConfigError(
                "The proxy in the environment is not of the form http://host:port. Only plain HTTP proxies "
                "are supported (TLS to the provider passes through them untouched)."
            )
        credentials = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        return cls(host, port or 80, Secret(credentials))

    def authorization_line(self) -> bytes:
        if not self.credentials:
            return b""
        return f"proxy-authorization: {self.credentials.reveal()}\r\n".encode("ascii")

    async def tunnel(self, sock: socket.socket, origin: Origin) -> None:
        """Ask the proxy, over its connected socket, for a way to `origin`. Raises with sent=False."""
        loop = asyncio.get_running_loop()
        start = f"CONNECT {origin.address} HTTP/1.1\r\nhost: {origin.address}\r\n".encode("ascii")
        await loop.sock_sendall(sock, start + self.authorization_line() + b"\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await loop.sock_recv(sock, 4096)
            if not data or len(answer) > _MAX_ANSWER:
                raise Unavailable("The proxy closed or rambled instead of answering CONNECT.", sent=False)
            answer += data
        head, _, rest = answer.partition(b"\r\n\r\n")
        words = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit() or rest:
            # Bytes after the answer would be read as the provider's: TLS servers never speak first.
            raise Malformed("The proxy's answer to CONNECT is not HTTP.", sent=False)
        if not words[1].startswith(b"2"):
            raise Unavailable(f"The proxy refused the way to {origin.address}: {int(words[1])}.", sent=False)


class Proxies:
    """Which proxy an origin needs, decided from environment-style settings."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        every = _setting(settings, "ALL_PROXY")
        tls, plain = _setting(settings, "HTTPS_PROXY") or every, _setting(settings, "HTTP_PROXY") or every
        self._tls = Proxy.of(tls) if tls else None
        self._plain = Proxy.of(plain) if plain else None
        self._direct = [entry.strip().lower() for entry in _setting(settings, "NO_PROXY").split(",")]

    def choose(self, origin: Origin) -> Proxy | None:
        if is_loopback(origin.host) or any(_matches(entry, origin) for entry in self._direct if entry):
            return None
        return self._tls if origin.tls else self._plain


def _setting(settings: Mapping[str, str], name: str) -> str:
    return settings.get(name.lower(), "") or settings.get(name, "")


def _matches(entry: str, origin: Origin) -> bool:
    """One entry of NO_PROXY: `*`, a domain with all below it, an address, a network; `:port` optional."""
    if entry == "*":
        return True
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        if int(port) != origin.port:
            return False
        entry = name
    entry = entry.strip("[]").lstrip(".")
    if origin.host == entry or origin.host.endswith(f".{entry}"):
        return True
    try:
        return ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False)
    except (ValueError, TypeError):
        return False
