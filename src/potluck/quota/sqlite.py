"""Quota states in one SQLite file, shared by the workers of a host.

Rules: one `BEGIN IMMEDIATE` transaction per step, so steps of racing workers queue up at the file's lock. WAL
with synchronous=NORMAL: a killed process loses nothing that was committed (the page cache is the kernel's);
only a power cut can lose the last transactions, and it also takes longer than the minute windows these matter
to. A full sync per step would cost milliseconds on the event loop, for less than what the provider's own
headers put right.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from potluck.quota.state import R, State

_log = logging.getLogger("potluck.quota")
_SCHEMA = "CREATE TABLE IF NOT EXISTS quota (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID"
_BUSY_MS = 5_000


class SqliteStore:
    exclusive = False
    remote = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.set_aside: Path | None = None  # where a broken file went, for the report
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(State).decode
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as broken:
            if isinstance(broken, sqlite3.OperationalError) and "malformed" not in str(broken):
                raise
            self._recover(broken)

    def step(self, ids: Sequence[str], change: Callable[[list[State]], R]) -> R:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            states = self.read(ids)
            result = change(states)
            encode = self._encode
            rows = [(id, encode(state)) for id, state in zip(ids, states, strict=True)]
            db.executemany("INSERT OR REPLACE INTO quota VALUES (?, ?)", rows)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return result

    def read(self, ids: Sequence[str]) -> list[State]:
        states = []
        for id in ids:
            row = self._db.execute("SELECT state FROM quota WHERE id = ?", (id,)).fetchone()
            states.append(State() if row is None else self._decode(row[0]))
        return states

    def version(self) -> int:
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY_MS / 1000)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(_SCHEMA)
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the file fails its integrity check")
        except BaseException:
            db.close()
            raise
        return db

    def _recover(self, broken: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.broken-{time.time_ns()}")
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self.set_aside = aside
        _log.warning("The quota file %s is broken (%s). It was set aside as %s.", self.path, broken, aside)
        self._db = self._open()
