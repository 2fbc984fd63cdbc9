"""Client keys: who may use this gateway, and how much; made, listed, revoked, and recognised on the hot path.

Rules: the text of a key is shown once and never stored. Stored is its SHA-256: a key is 256 random bits, so
there is no dictionary to try, and a slow hash (bcrypt, Argon2) would protect nothing and cost every request
(NIST SP 800-63B 5.1.2.2: one approved hash is enough for secrets of 112 bits or more). Keys are found by
their digest, never compared byte by byte, so that timing tells nothing usable. Rows are never deleted: a
store that ever had a key never falls back to being open.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from potluck.errors import Invalid, NotFound
from potluck.store.database import Connection, Row

PREFIX = "pk-"
_SHOWN = 10  # characters of a key that may be shown: 7 after "pk-", 42 of its 256 bits


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one client key may use; 0 and empty mean without limit.

    A minute is any 60 seconds in a row, a day starts at midnight UTC. `usd_per_day` is in micro-USD, like
    every amount of money here. `models` are globs over what the client may ask for ("auto*", "llama-*") and, as
    soon as one of them names models and not a wish, over where it may be sent (`router.Pool.binding`).
    `priority` is the highest it may ask for while it waits for room.
    """

    requests_per_minute: int = 0
    requests_per_day: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0
    concurrency: int = 0
    usd_per_day: int = 0
    models: tuple[str, ...] = ()
    admin: bool = False
    priority: Literal["high", "normal", "low"] = "normal"

    def allows(self, model: str) -> bool:
        """Whether the allow list, if there is one, has a glob for this model name."""
        return not self.models or any(fnmatchcase(model, glob) for glob in self.models)


class ClientKey(msgspec.Struct, frozen=True):
    """One client key, without its text. `id` is the tenant. Times are epoch seconds; 0 = still works."""

    id: str
    name: str
    prefix: str = ""
    created_at: float = 0.0
    revoked_at: float = 0.0
    limits: Limits = Limits()


# Who asks while no key was ever made: whoever reaches a gateway that listens on loopback only.
ANONYMOUS = ClientKey(id="", name="anonymous", limits=Limits(admin=True, priority="high"))

COLUMNS = "id, name, prefix, created_at, revoked_at, limits"
_NEXT = "SELECT COALESCE(MAX(revision), 0) + 1 FROM client_keys"


def digest(text: bytes) -> bytes:
    """What is stored of a key: 32 bytes."""
    return hashlib.sha256(text).digest()


def create(
    connection: Connection,
    name: str,
    limits: Limits,
    *,
    now: float,
    random: Callable[[int], str] = secrets.token_urlsafe,
) -> tuple[ClientKey, str]:
    """A new key and its text, which exists nowhere else. `random(n)` gives n random bytes as URL-safe text.

    Raises Invalid when the name is empty or taken by a key that works, or a limit is negative.
    """
    _check(name, limits)
    text = PREFIX + random(32)
    hashed = digest(text.encode()).hex()
    key = ClientKey(id=hashed[:12], name=name, prefix=text[:_SHOWN], created_at=now, limits=limits)
    stored = msgspec.json.encode(limits).decode()
    with connection.transaction():
        if connection.query("SELECT 1 FROM client_keys WHERE name = ? AND revoked_at IS NULL", name):
            raise Invalid(
                f"A client key named {name!r} exists. Choose another name, or revoke that one first."
            )
        revision = connection.query(_NEXT)[0][0]
        connection.write(
            f"INSERT INTO client_keys ({COLUMNS}, hash, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [(key.id, name, key.prefix, now, None, stored, hashed, revision)],
        )
    return key, text


def revoke(connection: Connection, which: str, *, now: float) -> ClientKey:
    """Stop a key, named by its id, name or shown prefix. Raises NotFound; Invalid when several match."""
    with connection.transaction():
        found = [
            key
            for key in list_keys(connection)
            if not key.revoked_at and which in (key.id, key.name, key.prefix)
        ]
        if not found:
            raise NotFound(f"No working client key is called {which!r}. `potluck keys list` shows them.")
        if len(found) > 1:
            raise Invalid(f"{which!r} names several client keys. Use the id `potluck keys list` shows.")
        revision = connection.query(_NEXT)[0][0]
        connection.write(
            "UPDATE client_keys SET revoked_at = ?, revision = ? WHERE id = ?", [(now, revision, found[0].id)]
        )
    return msgspec.structs.replace(found[0], revoked_at=now)


def list_keys(connection: Connection) -> list[ClientKey]:
    """Every key there ever was, oldest first."""
    rows = connection.query(f"SELECT {COLUMNS} FROM client_keys ORDER BY created_at, id")  # noqa: S608
    return [from_row(row) for row in rows]


def from_row(row: Row) -> ClientKey:
    """A row of `COLUMNS` as a key. Limits that cannot be read are an error, never "no limits"."""
    id, name, prefix, created_at, revoked_at, limits = row
    return ClientKey(
        id=id,
        name=name,
        prefix=prefix,
        created_at=created_at,
        revoked_at=revoked_at or 0.0,
        limits=msgspec.json.decode(limits, type=Limits),
    )


def _check(name: str, limits: Limits) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise Invalid("A client key needs a name of 1 to 100 printable characters.")
    for field, value in msgspec.structs.asdict(limits).items():
        if isinstance(value, int) and value < 0:
            raise Invalid(f"The limit {field} is negative; 0 means without limit.", param=field)
