"""One thread with one connection, beside the event loop: what a desk or a task wants of the store is done there.

Rules: calls are worked off in the order they came. The connection is made when first needed, and anew after an error
that may have been the connection's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from potluck.store.database import Connection, Database

T = TypeVar("T")


class Aside:
    """Raises what the work raises: the database's Error, ConfigError, OSError."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self._thread = ThreadPoolExecutor(1, name)
        self._connection: Connection | None = None

    async def do(self, what: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, what)

    def close(self) -> None:
        """After what was asked for is done."""
        self._thread.submit(self._disconnect)
        self._thread.shutdown()

    def _run(self, what: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = self.database.connect()
        try:
            return what(self._connection)
        except self.database.dbapi.OperationalError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
