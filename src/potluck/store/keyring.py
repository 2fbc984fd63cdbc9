"""The client keys in memory: recognises a request's key without touching the store.

Rules: the app calls `refresh` every second, so that a revoked key stops within a second, in every worker.
While the store cannot be read, the last known keys hold. What a client sent is cached only when it was right:
wrong keys cost one SHA-256 each and cannot push right ones out.
"""

from __future__ import annotations

import logging

import msgspec

from potluck.errors import ConfigError, Unauthorized
from potluck.store.database import Connection, Database
from potluck.store.keys import ANONYMOUS, COLUMNS, ClientKey, digest, from_row

_CACHED = 4096  # header values remembered; each is a right key in one spelling
_LONGEST = 512  # bytes of a header value that are worth hashing; our keys have 46

_log = logging.getLogger(__name__)


class Keyring:
    """All keys that work, by digest. `open_without_keys` lets everyone in while no key was ever made."""

    def __init__(self, database: Database, *, open_without_keys: bool = False) -> None:
        self._database = database
        self._open = open_without_keys
        self._connection: Connection | None = None
        self._revision = -1
        self._keys: dict[bytes, ClientKey] = {}
        self._seen: dict[bytes, ClientKey] = {}
        self._failing = False
        self.refresh()

    def __len__(self) -> int:
        """How many keys work."""
        return len(self._keys)

    @property
    def open(self) -> bool:
        """Whether everyone is let in as ANONYMOUS: allowed, and no key was ever made."""
        return self._open

    def authenticate(self, value: bytes) -> ClientKey:
        """Whose key this is: the raw value of `Authorization` ("Bearer pk-…") or of an API-key header.

        Raises Unauthorized. b"" stands for "none was sent".
        """
        key = self._seen.get(value)
        return key if key is not None else self._look(value)

    def by_id(self, id: str) -> ClientKey | None:
        """The key of a tenant, for work that goes on after its request; None once it was revoked."""
        if not id:
            return ANONYMOUS if self._open else None
        return next((key for key in self._keys.values() if key.id == id), None)

    def refresh(self) -> bool:
        """Load again if any key changed, and say so; when none did, this is one MAX() over an index."""
        try:
            if self._connection is None:
                self._connection = self._database.connect()
            revision = self._connection.query("SELECT COALESCE(MAX(revision), 0) FROM client_keys")[0][0]
            if revision == self._revision:
                return False
            rows = self._connection.query(f"SELECT hash, {COLUMNS} FROM client_keys")  # noqa: S608
        except (self._database.dbapi.Error, ConfigError) as error:
            if not self._failing:
                _log.error("client keys could not be read, the last known ones hold: %s", error)
            self._failing = True
            self._disconnect()
            if self._revision < 0:  # there are no last known ones: nobody can be let in, so do not start
                raise
            return False
        self._failing = False
        self._install(rows, revision)
        return True

    def close(self) -> None:
        self._disconnect()

    def _install(self, rows: list[tuple[object, ...]], revision: int) -> None:
        self._keys = {}
        for hashed, *row in rows:
            try:
                key = from_row(tuple(row))
            except msgspec.DecodeError as error:
                # Written by another version, or by hand: limits we cannot read must not become no limits.
                _log.error("the limits of client key %s cannot be read, it is refused: %s", row[0], error)
                continue
            if not key.revoked_at:
                self._keys[bytes.fromhex(str(hashed))] = key
        self._seen = {}
        self._open = self._open and not rows
        self._revision = revision

    def _look(self, value: bytes) -> ClientKey:
        if self._open:
            return ANONYMOUS
        if not value:
            raise Unauthorized("No client key was sent. Send `Authorization: Bearer pk-…`.")
        key = self._keys.get(digest(_text(value))) if len(value) <= _LONGEST else None
        if key is None:
            raise Unauthorized(
                "This client key is unknown or was revoked. `potluck keys list` shows the keys that work, "
                "`potluck keys create NAME` makes one."
            )
        if len(self._seen) >= _CACHED:
            self._seen.pop(next(iter(self._seen)))
        self._seen[value] = key
        return key

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(value: bytes) -> bytes:
    """The key in a header value: after "Bearer" in any case (RFC 9110 11.1), or all of it."""
    scheme, _, rest = value.strip().partition(b" ")
    return rest.strip() if rest and scheme.lower() == b"bearer" else value.strip()
