"""One database behind a URL: SQLite on disk by default, whatever SQLAlchemy can reach otherwise.

Rules: SQL is written once, in the subset SQLite (3.24, for ON CONFLICT) and PostgreSQL share, with `?` for
values. SQLite is opened through the standard library, because SQLAlchemy costs 20 MB and 0.2 s (measured
with SQLAlchemy 2.1 and Python 3.11) in a gateway that promises 80 MB and a start within 1 s; SQLAlchemy
opens every other database, and describes the tables in `schema.py`. Nothing here runs on an event loop.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from potluck.errors import ConfigError

Row = tuple[Any, ...]

_BUSY_SECONDS = 1.0  # how long SQLite itself waits for another process's transaction before "locked"


class Connection:
    """One DB-API connection. It may move between threads, but only one may use it at a time."""

    __slots__ = ("_inside", "_lite", "_placeholder", "_raw")

    def __init__(self, raw: Any, *, lite: bool, placeholder: str) -> None:
        self._raw, self._lite, self._placeholder, self._inside = raw, lite, placeholder, False

    def query(self, sql: str, *values: object) -> list[Row]:
        """All rows of one statement."""
        cursor = self._raw.cursor()
        try:
            cursor.execute(self._spell(sql), values)
            return list(cursor.fetchall())
        finally:
            cursor.close()
            self._end_read()

    def write(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """The statement once for each row, in the open transaction or in one of its own: rows changed."""
        if not self._inside:
            with self.transaction():
                return self.write(sql, rows)
        cursor = self._raw.cursor()
        try:
            cursor.executemany(self._spell(sql), rows)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of it or nothing. SQLite's write lock is taken at once: what is read inside stays true."""
        if self._lite:
            self._raw.execute("BEGIN IMMEDIATE")
        self._inside = True
        try:
            yield self
        except BaseException:
            self._raw.rollback()
            raise
        else:
            self._raw.commit()
        finally:
            self._inside = False
            # A commit that failed ("disk full") leaves SQLite's transaction open, and with it the lock.
            if self._lite and self._raw.in_transaction:
                self._raw.rollback()

    def close(self) -> None:
        self._raw.close()

    def _spell(self, sql: str) -> str:
        return sql if self._placeholder == "?" else sql.replace("?", self._placeholder)

    def _end_read(self) -> None:
        # Elsewhere a SELECT opens a transaction that would hold back old row versions for as long as we live.
        if not self._lite and not self._inside:
            self._raw.rollback()


class Database:
    """Where connections come from. `dbapi` holds the exception classes that every DB-API module has.

    `name` is what may be printed: a URL may hold a password.
    """

    __slots__ = ("_engine", "dbapi", "name", "path", "url")

    def __init__(self, url: str) -> None:
        """Raises ConfigError when the URL's driver is not installed."""
        self.url = url
        self.path: Path | None = None
        self.dbapi: Any = sqlite3
        self._engine: Any = None
        if url.startswith("sqlite:///"):
            self.path = Path(url.removeprefix("sqlite:///"))
            self.name = str(self.path)
        else:
            self._engine = _engine(url)
            self.dbapi = self._engine.dialect.dbapi
            self.name = self._engine.url.render_as_string(hide_password=True)

    @classmethod
    def at(cls, path: Path) -> Database:
        return cls(f"sqlite:///{path}")

    @property
    def lite(self) -> bool:
        return self.path is not None

    def connect(self) -> Connection:
        """A connection of one's own. Raises ConfigError when the file is not a database or not reachable."""
        if self.path is None:
            placeholder = "?" if self.dbapi.paramstyle == "qmark" else "%s"
            return Connection(self._engine.raw_connection(), lite=False, placeholder=placeholder)
        try:
            return Connection(_open(self.path), lite=True, placeholder="?")
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigError(
                f"The store {self.path} cannot be opened ({error}). Check the directory's permissions and "
                "the disk; if the file is damaged, move it away: Potluck starts over with a new one, without "
                "the old records and client keys."
            ) from error


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Key hashes and perhaps prompts live here: the owner's eyes only. SQLite's -wal and -shm take
        # over the mode of the database.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    raw = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # Two processes may both try this on a new file; one wins and the mode is the file's, not ours.
            with contextlib.suppress(sqlite3.OperationalError):
                raw.execute("PRAGMA journal_mode=WAL")
        # In WAL mode NORMAL loses nothing when a process dies, and at most the last commits on a power cut.
        raw.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        raw.close()
        raise
    return raw


def _engine(url: str) -> Any:
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    try:
        return sqlalchemy.create_engine(url, poolclass=NullPool)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        raise ConfigError(
            f"The store's URL cannot be used ({error}). Use sqlite:///path/to/file, or install the "
            "database's driver beside Potluck, such as psycopg for postgresql+psycopg://…"
        ) from error
