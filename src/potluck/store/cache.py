"""Stored answers on this machine: `cache.sqlite`, read inline, written by a thread, the latest also in memory.

Rules: several workers share the file; what one drops, the others forget within `LOOK_EVERY`. A store that fails is a
miss, said once in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from potluck.store import cache_file
from potluck.store.answers import Entry, Stats, Which
from potluck.store.database import Database

LOOK_EVERY = 1.0  # seconds between two looks at what other workers dropped
FLUSH_EVERY = 0.2  # seconds between two writes
MEMORY = 32 * 1024 * 1024  # bytes of answers kept in memory
GROWTH = 0.01  # of `max_bytes` written before it is looked what must go

_log = logging.getLogger("potluck.cache")


class SqliteAnswers:
    """`get`, `put` and `count` belong to the event loop's thread."""

    def __init__(self, path: Path, *, max_bytes: int, memory: int = MEMORY) -> None:
        """Raises ConfigError when the file can be neither opened nor replaced."""
        self._path, self._max_bytes, self._memory = path, max_bytes, memory
        self._reader = cache_file.opened(path)
        self._writer = Database.at(path).connect()
        self._near: OrderedDict[bytes, Entry] = OrderedDict()
        self._near_bytes = 0
        self._epoch, self._looked = self._read_epoch(), float("-inf")
        self._pending: list[tuple[Entry, float]] = []
        self._used: dict[bytes, float] = {}
        self._counts: dict[str, int] = {}
        self._grown = max_bytes  # so that the first write looks for what has expired
        self._failing = False
        self._writing, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="potluck-cache", daemon=True)
        self._thread.start()

    async def get(self, key: bytes, now: float) -> Entry | None:
        if not 0.0 <= now - self._looked < LOOK_EVERY:
            self._look(now)
        entry = self._near.get(key)
        if entry is not None:
            self._near.move_to_end(key)
        else:
            entry = self._read(key)
        if entry is None or entry.expires <= now:
            return None
        self._used[key] = now
        return entry

    def put(self, entry: Entry, now: float) -> None:
        self._remember(entry)
        self._pending.append((entry, now))

    def count(self, outcome: str) -> None:
        self._counts[outcome] = self._counts.get(outcome, 0) + 1

    async def drop(self, which: Which) -> int:
        """How many went. Raises sqlite3.Error: who asks for this must know that it did not happen."""
        for key in [key for key, entry in self._near.items() if which.matches(entry)]:
            self._forget(key)
        return await asyncio.to_thread(self._drop, which)

    async def stats(self) -> Stats:
        self.flush()
        return await asyncio.to_thread(cache_file.stats, self._path)

    async def meant(self, after: int, limit: int) -> list[tuple[int, Entry]]:
        try:
            return await asyncio.to_thread(self._meant, after, limit)
        except sqlite3.Error as error:
            self._failed(error)
            return []

    def flush(self) -> None:
        """Writes what is pending, now; a store that fails is logged and tried again with what comes next."""
        with self._writing:
            pending, self._pending = self._pending, []
            used, self._used = self._used, {}
            counts, self._counts = self._counts, {}
            if not (pending or used or counts):
                return
            try:
                with self._writer.transaction() as inside:
                    cache_file.put(inside, pending)
                    inside.write(
                        "UPDATE entries SET used = ? WHERE key = ?", [(at, k) for k, at in used.items()]
                    )
                    cache_file.count(inside, counts)
                self._grown += sum(entry.size for entry, _ in pending)
                if pending and self._grown > GROWTH * self._max_bytes:
                    self._grown = 0
                    cache_file.shrink(self._writer, self._max_bytes, max(now for _, now in pending))
                self._failing = False
            except sqlite3.Error as error:
                self._failed(error)

    def close(self) -> None:
        """Writes what is pending. Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        self.flush()
        self._writer.close()
        self._reader.close()

    def _write(self) -> None:
        while not self._stop.wait(FLUSH_EVERY):
            self.flush()

    def _drop(self, which: Which) -> int:
        self.flush()
        with contextlib.closing(Database.at(self._path).connect()) as connection:
            return cache_file.drop(connection, which)

    def _meant(self, after: int, limit: int) -> list[tuple[int, Entry]]:
        with contextlib.closing(Database.at(self._path).connect()) as connection:
            rows = connection.query(
                "SELECT id, entry FROM entries WHERE id > ? AND meant = 1 ORDER BY id LIMIT ?", after, limit
            )
        return [(number, cache_file.decode(blob)) for number, blob in rows]

    def _read(self, key: bytes) -> Entry | None:
        try:
            rows = self._reader.query("SELECT entry FROM entries WHERE key = ?", key)
            entry = cache_file.decode(rows[0][0]) if rows else None
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self._failed(error)
            return None
        if entry is not None:
            self._remember(entry)
        return entry

    def _look(self, now: float) -> None:
        """Forget what is in memory if anyone has dropped anything."""
        self._looked = now
        epoch = self._read_epoch()
        if epoch != self._epoch:
            self._epoch = epoch
            kept = {entry.key: entry for entry, _ in self._pending}  # not yet on disk, so dropped by nobody
            self._near = OrderedDict(kept)
            self._near_bytes = sum(entry.size for entry in kept.values())

    def _read_epoch(self) -> int:
        try:
            return int(self._reader.query("SELECT n FROM epoch")[0][0])
        except (sqlite3.Error, IndexError) as error:
            self._failed(error)
            return -1

    def _remember(self, entry: Entry) -> None:
        self._forget(entry.key)
        if entry.size > self._memory:
            return
        self._near[entry.key] = entry
        self._near_bytes += entry.size
        while self._near_bytes > self._memory:
            self._near_bytes -= self._near.popitem(last=False)[1].size

    def _forget(self, key: bytes) -> None:
        gone = self._near.pop(key, None)
        if gone is not None:
            self._near_bytes -= gone.size

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            _log.warning(
                "the cache %s fails (%s): answers are not given again until it works", self._path, error
            )
        self._failing = True
