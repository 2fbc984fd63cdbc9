"""Batches as a whole: who owns one, how far it is, and which worker reads its input or writes its files now.

Rules: a status changes only from a status it may follow, in one statement, so that of two workers (or a worker and a
cancelling client) one wins. What takes long is leased, and done again by another worker when the lease ended. Every
function takes the connection it works on; none runs on an event loop. Moments are epoch seconds, 0 = not yet.
"""

from __future__ import annotations

import msgspec

from potluck.store.database import Connection

OPEN = ("validating", "in_progress", "finalizing", "cancelling")  # somebody still works on it


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Field order is column order in `schema.batches`."""

    id: str
    tenant: str
    at: float
    status: str = "validating"
    endpoint: str
    input: str
    completion_window: str = "24h"
    metadata: str = "null"
    model: str = ""
    deadline: float
    errors: str = ""
    output: str = ""
    failures: str = ""
    started: float = 0.0
    finalizing: float = 0.0
    completed: float = 0.0
    failed: float = 0.0
    expired: float = 0.0
    cancelling: float = 0.0
    cancelled: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    output_lasts: float = 0.0  # seconds that its files are kept, 0 = as all
    worker: str = ""
    until: float = 0.0


FIELDS = Batch.__struct_fields__
_COLUMNS = ", ".join(FIELDS)
_MARKS = ", ".join("?" * len(FIELDS))


def _batch(row: tuple[object, ...]) -> Batch:
    return msgspec.convert(dict(zip(FIELDS, row, strict=True)), Batch)


def add(connection: Connection, batch: Batch) -> None:
    connection.write(
        f"INSERT INTO batches ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608
        [[getattr(batch, field) for field in FIELDS]],
    )


def find(connection: Connection, id: str, tenant: str) -> Batch | None:
    rows = connection.query(f"SELECT {_COLUMNS} FROM batches WHERE id = ? AND tenant = ?", id, tenant)  # noqa: S608
    return _batch(rows[0]) if rows else None


def page(connection: Connection, tenant: str, after: Batch | None, most: int) -> list[Batch]:
    """The newest first, behind `after`."""
    behind = (after.id, after.at, after.at, after.id) if after else ("", 0.0, 0.0, "")
    rows = connection.query(
        f"SELECT {_COLUMNS} FROM batches WHERE tenant = ? AND (? = '' OR at < ? OR (at = ? AND id < ?)) "  # noqa: S608
        "ORDER BY at DESC, id DESC LIMIT ?",
        tenant, *behind, most,
    )  # fmt: skip
    return [_batch(row) for row in rows]


def unfinished(connection: Connection) -> list[Batch]:
    """Everybody's, the earliest deadline first."""
    rows = connection.query(
        f"SELECT {_COLUMNS} FROM batches WHERE status IN (?, ?, ?, ?) ORDER BY deadline, id",  # noqa: S608
        *OPEN,
    )
    return [_batch(row) for row in rows]


def uses(connection: Connection, file: str) -> str:
    """The unfinished batch whose input this file is, "" if none."""
    rows = connection.query(
        "SELECT id FROM batches WHERE input = ? AND status IN (?, ?, ?, ?) LIMIT 1", file, *OPEN
    )
    return str(rows[0][0]) if rows else ""


def cancel(connection: Connection, id: str, now: float) -> bool:
    """False when it is too late."""
    return (
        connection.write(
            "UPDATE batches SET status = 'cancelling', cancelling = ? "
            "WHERE id = ? AND status IN ('validating', 'in_progress')",
            [(now, id)],
        )
        > 0
    )


def lease(connection: Connection, batch: Batch, worker: str, now: float, seconds: float) -> bool:
    """Whether the long work on a batch in this status is this worker's until now + seconds."""
    return (
        connection.write(
            "UPDATE batches SET worker = ?, until = ? "
            "WHERE id = ? AND status = ? AND (until <= ? OR worker = ?)",
            [(worker, now + seconds, batch.id, batch.status, now, worker)],
        )
        > 0
    )


def let_go(connection: Connection, worker: str) -> None:
    """The worker ends: what it was reading or writing is anybody's."""
    connection.write("UPDATE batches SET worker = '', until = 0 WHERE worker = ?", [(worker,)])


def move(connection: Connection, batch: Batch, status: str, **changes: object) -> bool:
    """From the status that `batch` shows to another; the lease ends. False when somebody was faster."""
    fields = {**changes, "status": status, "worker": "", "until": 0.0}
    assert fields.keys() <= set(FIELDS)
    names = ", ".join(f"{name} = ?" for name in fields)
    return (
        connection.write(
            f"UPDATE batches SET {names} WHERE id = ? AND status = ?",  # noqa: S608
            [(*fields.values(), batch.id, batch.status)],
        )
        > 0
    )


def prune(connection: Connection, older_than: float) -> int:
    """Deletes finished batches that were made before this epoch second, with their lines: how many went."""
    rows = connection.query(
        "SELECT id FROM batches WHERE at < ? AND status NOT IN (?, ?, ?, ?)", older_than, *OPEN
    )
    ids = [(row[0],) for row in rows]
    for table, column in (("batch_answers", "batch"), ("batch_lines", "batch"), ("batches", "id")):
        connection.write(f"DELETE FROM {table} WHERE {column} = ?", ids)  # noqa: S608
    return len(ids)
