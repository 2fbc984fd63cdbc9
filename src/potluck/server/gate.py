"""Who may speak at all: the checks of `guard`, bound to one gateway's settings."""

from __future__ import annotations

from collections.abc import Iterable

from potluck.server import guard

Extra = tuple[tuple[bytes, bytes], ...]


class Gate:
    """`hosts` and `origins` are the allow lists of the configuration; `port` is for the error's sentence."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str], port: int) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)
        self._port = port

    def check(self, headers: list[tuple[bytes, bytes]], method: str) -> Extra:
        """The CORS headers of the answer, usually none. Raises Forbidden."""
        guard.check_host(headers, self._hosts, self._port)
        guard.check_origin(headers, self._origins)
        if not self._origins:
            return ()
        if method == "OPTIONS":
            return tuple(guard.preflight(headers, self._origins) or ())
        return tuple(guard.cors(headers, self._origins))
