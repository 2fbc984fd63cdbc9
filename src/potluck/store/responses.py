"""Answers that their clients may ask for again, or continue: one row each, seen by the key that asked for it alone.

Rules: every function takes the connection it works on; none runs on an event loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from potluck.store.database import Connection

LONGEST = 1_000  # turns of a conversation that are followed back


class Stored(msgspec.Struct, frozen=True):
    """One answer. Field order is column order in `schema.responses`; `at` is epoch seconds."""

    id: str
    tenant: str
    at: float
    previous: str  # "" where it begins a conversation
    items: bytes  # JSON list of what was asked
    answer: bytes  # JSON response object


def add(connection: Connection, rows: Sequence[Stored]) -> None:
    connection.write(
        "INSERT INTO responses (id, tenant, at, previous, items, answer) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING",
        [(row.id, row.tenant, row.at, row.previous, row.items.decode(), row.answer.decode()) for row in rows],
    )


def chain(connection: Connection, id: str, tenant: str) -> list[Stored]:
    """The answer and all before it, oldest first; [] if there is none. The first one's `previous` is not empty
    where its turn was deleted since.
    """
    rows = connection.query(
        "WITH RECURSIVE turns (id, previous, depth) AS ("
        "SELECT id, previous, 0 FROM responses WHERE id = ? AND tenant = ? UNION ALL "
        "SELECT r.id, r.previous, t.depth + 1 FROM responses r JOIN turns t ON r.id = t.previous "
        "WHERE r.tenant = ? AND t.depth < ?) "
        "SELECT r.id, r.tenant, r.at, r.previous, r.items, r.answer FROM responses r "
        "JOIN turns t ON t.id = r.id ORDER BY t.depth DESC",
        id, tenant, tenant, LONGEST,
    )  # fmt: skip
    return [_stored(row) for row in rows]


def find(connection: Connection, id: str, tenant: str) -> Stored | None:
    rows = connection.query(
        "SELECT id, tenant, at, previous, items, answer FROM responses WHERE id = ? AND tenant = ?",
        id,
        tenant,
    )
    return _stored(rows[0]) if rows else None


def remove(connection: Connection, id: str, tenant: str) -> bool:
    return connection.write("DELETE FROM responses WHERE id = ? AND tenant = ?", [(id, tenant)]) > 0


def prune(connection: Connection, older_than: float) -> int:
    """Deletes what is older than this epoch second: how many went."""
    return connection.write("DELETE FROM responses WHERE at < ?", [(older_than,)])


def _stored(row: tuple[object, ...]) -> Stored:
    id, tenant, at, previous, items, answer = row
    return Stored(
        str(id), str(tenant), float(str(at)), str(previous), str(items).encode(), str(answer).encode()
    )
