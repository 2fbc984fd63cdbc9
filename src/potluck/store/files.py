"""Files of clients: a row here, the bytes in a directory beside the store. Each is seen by its own client key alone.

Rules: the bytes are complete on disk before the row exists, and the row is gone before they are; what a crash leaves
in between is a file without a row, which `sweep` deletes. Every function takes the connection it works on; none runs
on an event loop.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from potluck.store.database import Connection

_ID = re.compile(r"file-[0-9a-z-]{1,60}")
DAY = 86_400.0
LEFT_OVER = 3600.0  # seconds after which a file without a row is nobody's upload any more


class File(msgspec.Struct, frozen=True):
    """Field order is column order in `schema.files`. `size` is bytes; epoch seconds, `expires` 0 = never."""

    id: str
    tenant: str
    at: float
    name: str
    purpose: str
    size: int
    expires: float


_COLUMNS = ", ".join(File.__struct_fields__)


class Shelf:
    """The directory with the bytes. Only ids of our own making become names, so no client chooses a path."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "files"

    def path(self, id: str) -> Path:
        if not _ID.fullmatch(id):
            raise ValueError(f"{id!r} is not the id of a file")
        return self._directory / id

    def write(self, id: str, parts: Iterable[bytes]) -> int:
        """All of it or nothing, on disk when this returns: bytes written. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        goal = self.path(id)
        draft = goal.with_name(f"{id}.{os.urandom(4).hex()}.part")
        size = 0
        try:
            # Prompts are in it: the owner's eyes only.
            with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                for part in parts:
                    size += file.write(part)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(goal)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return size

    def drop(self, id: str) -> None:
        self.path(id).unlink(missing_ok=True)

    def sweep(self, known: set[str], before: float) -> None:
        """Deletes what has no row and was last written before this epoch second."""
        if not self._directory.is_dir():
            return
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.name not in known and path.stat().st_mtime < before:
                    path.unlink()


def add(connection: Connection, file: File) -> None:
    connection.write(
        f"INSERT INTO files ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",  # noqa: S608
        [msgspec.structs.astuple(file)],
    )


def find(connection: Connection, id: str, tenant: str, now: float) -> File | None:
    rows = connection.query(
        f"SELECT {_COLUMNS} FROM files WHERE id = ? AND tenant = ? AND (expires = 0 OR expires > ?)",  # noqa: S608
        id, tenant, now,
    )  # fmt: skip
    return File(*rows[0]) if rows else None


def page(
    connection: Connection,
    tenant: str,
    purpose: str,
    after: File | None,
    most: int,
    *,
    now: float,
    newest: bool,
) -> list[File]:
    """Up to `most` files behind `after`, by when they were made. `purpose` "" is any."""
    way, than = ("DESC", "<") if newest else ("ASC", ">")
    rows = connection.query(
        f"SELECT {_COLUMNS} FROM files WHERE tenant = ? AND (? = '' OR purpose = ?) "  # noqa: S608
        f"AND (expires = 0 OR expires > ?) AND (? = '' OR at {than} ? OR (at = ? AND id {than} ?)) "
        f"ORDER BY at {way}, id {way} LIMIT ?",
        tenant, purpose, purpose, now,
        *((after.id, after.at, after.at, after.id) if after else ("", 0.0, 0.0, "")), most,
    )  # fmt: skip
    return [File(*row) for row in rows]


def held(connection: Connection, tenant: str) -> int:
    """Bytes of all files of a client."""
    return int(connection.query("SELECT COALESCE(SUM(size), 0) FROM files WHERE tenant = ?", tenant)[0][0])


def remove(connection: Connection, id: str, tenant: str) -> bool:
    return connection.write("DELETE FROM files WHERE id = ? AND tenant = ?", [(id, tenant)]) > 0


def expired(connection: Connection, now: float, older_than: float) -> list[str]:
    """Ids of what is past its own end, or older than anything is kept; never the input of a batch that runs."""
    rows = connection.query(
        "SELECT f.id FROM files f WHERE ((f.expires > 0 AND f.expires <= ?) OR f.at < ?) AND NOT EXISTS ("
        "SELECT 1 FROM batches b WHERE b.input = f.id "
        "AND b.status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))",
        now, older_than,
    )  # fmt: skip
    return [str(row[0]) for row in rows]


def forget(connection: Connection, ids: list[str]) -> None:
    connection.write("DELETE FROM files WHERE id = ?", [(id,) for id in ids])


def known(connection: Connection) -> set[str]:
    return {str(row[0]) for row in connection.query("SELECT id FROM files")}
