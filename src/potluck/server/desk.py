"""What is no chat: pages that read a body and answer once (files, batches, counting tokens, what other clients ask).

Rules: a desk decides by method and path itself and raises PotluckError for the caller to render. It runs after the
same checks as a chat (Host, Origin, client key), and what it costs in quota goes through the same handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from potluck.errors import Rejected
from potluck.server.answer import Answer
from potluck.store.keys import ClientKey


class MethodNotAllowed(Rejected):
    status, code = 405, "method_not_allowed"


class Visit(msgspec.Struct, frozen=True):
    """One request to a desk: `path` decoded, `query` as sent, header names in lower case, `body` whole."""

    key: ClientKey
    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes

    def needs(self, *methods: str) -> None:
        """Raises MethodNotAllowed."""
        if self.method not in methods:
            raise MethodNotAllowed(f"{self.path[:100]} takes {' or '.join(methods)}, not {self.method}.")


Desk = Callable[[Visit], Awaitable[Answer]]


class Desks:
    """Desks by path; a path that ends in "/*" stands for everything below it."""

    def __init__(self, desks: Mapping[str, Desk]) -> None:
        self._exact = {path: desk for path, desk in desks.items() if not path.endswith("/*")}
        self._below = [(path[:-1], desk) for path, desk in desks.items() if path.endswith("/*")]

    def find(self, path: str) -> Desk | None:
        desk = self._exact.get(path)
        if desk is not None:
            return desk
        return next((desk for prefix, desk in self._below if path.startswith(prefix)), None)
