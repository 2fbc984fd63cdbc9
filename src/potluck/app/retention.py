"""Forgets records that are older than the user wants to keep them: daily, by one worker, beside the event loop.

Rules: the time of the latest pruning is a file's, so that restarts neither repeat nor postpone it; a store that
is busy or gone is tried again in an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from potluck.app.turn import turn
from potluck.errors import ConfigError
from potluck.store import batch_list, files, reports, responses
from potluck.store.database import Connection, Database
from potluck.store.files import Shelf
from potluck.types import Clock

FILE = "pruned"
DAY = 86_400.0
LOOK_EVERY = 3600.0  # seconds

_log = logging.getLogger("potluck")


class Retention:
    """`days` 0 keeps everything."""

    def __init__(self, database: Database, home: Path, days: int, clock: Clock) -> None:
        self._database, self._path, self._days, self._clock = database, home / FILE, days, clock
        self._shelf = Shelf(home)
        self.looked = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while self._days:
            try:
                await self.look()
            except (OSError, ConfigError, self._database.dbapi.Error) as error:
                _log.warning("old records could not be deleted, trying again in an hour: %s", error)
            self.looked.set()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> int:
        """Prune if a day has passed and no other worker does: how many records went. Raises OSError, the
        database's Error, ConfigError."""
        with turn(self._path) as ours:
            if not ours or not self._due():
                return 0
            now = self._clock.now()
            gone = await asyncio.to_thread(self._prune, now - self._days * DAY)
            self._path.touch()
            os.utime(self._path, (now, now))
        if gone:
            _log.info("deleted %d records older than %d days (keep_records_days)", gone, self._days)
        return gone

    def _due(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            # A stamp from the future means that the clock was wrong then.
            return abs(self._clock.now() - self._path.stat().st_mtime) >= DAY
        return True

    def _prune(self, older_than: float) -> int:
        connection = self._database.connect()  # of this thread alone
        try:
            gone = reports.prune(connection, older_than) + responses.prune(connection, older_than)
            return gone + batch_list.prune(connection, older_than) + self._prune_files(connection, older_than)
        finally:
            connection.close()

    def _prune_files(self, connection: Connection, older_than: float) -> int:
        now = self._clock.now()
        ids = files.expired(connection, now, older_than)
        files.forget(connection, ids)
        for id in ids:
            self._shelf.drop(id)
        self._shelf.sweep(files.known(connection), now - files.LEFT_OVER)
        return len(ids)
