"""Quota states in one SQLite file, shared by the workers of a host.

Rules: one `BEGIN IMMEDIATE` transaction per step, so steps of racing workers queue up at the file's lock. WAL
with synchronous=NORMAL: a killed process loses nothing that was committed (the page cache is the kernel's).
Only a power cut can lose the last transactions, and it takes longer than the minute windows these matter to;
a full sync in every step would cost milliseconds on the event loop to guard what the provider's own headers
put right.

A broken file is set aside under another name and logged. What can still be read from it is kept; every quota
it held and we cannot read starts over as `state._presume` says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from potluck.quota.state import R, State, StoreLost

if sys.platform != "win32":
    import fcntl

_log = logging.getLogger("potluck.quota")
_SCHEMA = "CREATE TABLE IF NOT EXISTS quota (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID"
_BUSY = 2.0  # seconds a step waits for the other workers' steps, each of which takes some 0.1 ms
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteStore:
    """`wall` is the clock's `now`. `set_aside` tells where a broken file went, None if all was well."""

    exclusive = False
    remote = False

    def __init__(self, path: str | os.PathLike[str], wall: Callable[[], float] = time.time) -> None:
        self.path, self._wall = Path(path), wall
        self.set_aside: Path | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(State).decode
        with _locked(self.path):
            try:
                self._db = self._open()
            except sqlite3.DatabaseError as broken:
                if broken.sqlite_errorcode & 0xFF not in _BROKEN:
                    raise
                self._start_over(broken)
        self._lost = float(self._db.execute("PRAGMA user_version").fetchone()[0])

    def step(self, ids: Sequence[str], change: Callable[[list[State]], R]) -> R:
        db, encode = self._db, self._encode
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                states = self._load(ids)
                result = change(states)
                rows = [(id, encode(state)) for id, state in zip(ids, states, strict=True)]
                db.executemany("INSERT OR REPLACE INTO quota VALUES (?, ?)", rows)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as failed:
            raise StoreLost(f"the quota store {self.path} failed: {failed}") from failed
        return result

    def read(self, ids: Sequence[str]) -> list[State]:
        try:
            return self._load(ids)
        except sqlite3.DatabaseError as failed:
            raise StoreLost(f"the quota store {self.path} failed: {failed}") from failed

    def version(self) -> int:
        """SQLite counts the commits of other connections for us."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    def _load(self, ids: Sequence[str]) -> list[State]:
        states = []
        for id in ids:
            row = self._db.execute("SELECT state FROM quota WHERE id = ?", (id,)).fetchone()
            states.append(self._state(id, row[0]) if row else State(lost=self._lost))
        return states

    def _state(self, id: str, blob: bytes) -> State:
        try:
            return self._decode(blob)
        except msgspec.MsgspecError as broken:
            _log.warning("The count of %s cannot be read (%s): starting it over.", id, broken)
            return State(lost=self._wall())

    def _open(self) -> sqlite3.Connection:
        """The file, checked. An empty one was truncated: SQLite would take it for new, and spend blindly."""
        if self.path.exists() and not self.path.stat().st_size:
            raise _error("the file is empty")
        db = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(_SCHEMA)
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _error("the file fails its integrity check")
        except BaseException:
            db.close()
            raise
        return db

    def _start_over(self, broken: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.broken-{int(self._wall())}-{os.getpid()}")
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self.set_aside = aside
        self._db = self._open()
        self._db.execute(f"PRAGMA user_version = {int(self._wall())}")
        saved = list(_salvage(aside))
        self._db.executemany("INSERT OR REPLACE INTO quota VALUES (?, ?)", saved)
        _log.warning(
            "The quota file %s is broken (%s). It was set aside as %s; %d counts could be read from it, others "
            "start over half spent (minute windows: spent).", self.path, broken, aside, len(saved),
        )  # fmt: skip


def _salvage(path: Path) -> Iterator[tuple[str, bytes]]:
    """Rows of a broken file, until it cannot be read on."""
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path)) as db:
        yield from db.execute("SELECT id, state FROM quota")


def _error(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time opens the file: two that find it broken must not set aside each other's new one."""
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
