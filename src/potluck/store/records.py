"""What is remembered of every request, written behind: the hot path appends to a list, one thread writes.

Rules: `record` never blocks and never fails. What cannot be written yet waits in memory, at most
`bound` rows, and then the oldest are dropped and counted. A process that dies loses at most the
last `INTERVAL` of records. Prompts and answers are written only when asked for.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from potluck.store.database import Connection, Database
from potluck.types import Attempt

INTERVAL = 0.25  # seconds between two writes; each costs a commit whatever it holds
BOUND = 100_000  # records that may wait; about 100 MB of attempts in the worst case
_BATCH = 2_000  # rows a transaction: keeps SQLite's write lock, which the ledger also needs, to milliseconds

_log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One client request as it is remembered. Field order is column order in `schema.requests`.

    `cost` is micro-USD, `at` epoch seconds; `ms_first` and `ms` are milliseconds from the request's arrival.
    """

    id: str
    at: float
    tenant: str
    wish: str
    target: str
    outcome: str
    status: int
    attempts: Sequence[Attempt] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False
    cost: int = 0
    ms_first: float = 0.0
    ms: float = 0.0
    surface: str = ""
    prompt: str | None = None
    answer: str | None = None


class StoredAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt as it is kept: monotonic times mean nothing later, so they become milliseconds."""

    target: str
    outcome: str
    detail: str = ""
    status: int = 0
    after: float = 0.0  # ms from the first attempt's start to this one's
    first: float = 0.0  # ms from this attempt's start to its first token; 0 = none came
    ms: float = 0.0  # ms this attempt took


_COLUMNS = ", ".join(Record.__struct_fields__)
# A transaction whose commit was not confirmed is written again: the id makes that harmless.
_INSERT = (
    f"INSERT INTO requests ({_COLUMNS}) VALUES ({', '.join('?' * len(Record.__struct_fields__))}) "  # noqa: S608
    "ON CONFLICT (id) DO NOTHING"
)
_ATTEMPTS = Record.__struct_fields__.index("attempts")
_PROMPT = Record.__struct_fields__.index("prompt")
_encode = msgspec.json.Encoder().encode


def attempts_json(attempts: Sequence[Attempt]) -> str:
    """The attempts as JSON text, a list of `StoredAttempt`."""
    if not attempts:
        return "[]"
    zero = attempts[0].started
    return _encode([_stored(attempt, zero) for attempt in attempts]).decode()


def _stored(attempt: Attempt, zero: float) -> StoredAttempt:
    started, first, ended = attempt.started, attempt.first, attempt.ended
    return StoredAttempt(
        attempt.target,
        attempt.outcome,
        attempt.detail,
        attempt.status,
        # To the microsecond; int() costs a third of round(), and this runs for every attempt ever made.
        int((started - zero) * 1e6) / 1e3,
        int((first - started) * 1e6) / 1e3 if first else 0.0,
        int((ended - started) * 1e6) / 1e3 if ended else 0.0,
    )


class Recorder:
    """Takes records from the event loop and writes them from a thread of its own."""

    def __init__(
        self,
        database: Database,
        *,
        record_prompts: bool = False,
        bound: int = BOUND,
        interval: float = INTERVAL,
        beside: Sequence[Callable[[Connection], None]] = (),
    ) -> None:
        self.dropped = 0  # records lost because the store was away too long, or that it would never take
        self.written = 0
        self._database, self._record_prompts, self._bound = database, record_prompts, bound
        self._waiting: deque[Record] = deque(maxlen=bound)
        self._batch: list[Record] = []
        self._connection: Connection | None = None
        self._interval, self._stop, self._lock = interval, threading.Event(), threading.Lock()
        self._failing = False
        self._beside = beside  # what else is written behind, in the same thread
        self._thread = threading.Thread(target=self._run, name="potluck-records", daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        """Remember one request; call it once, when the request is over and its attempts no longer change."""
        waiting = self._waiting
        if len(waiting) >= self._bound:
            self.dropped += 1  # the deque itself drops its oldest
        waiting.append(record)

    def flush(self) -> bool:
        """Write what waits, now, in the calling thread. False when the store would not take it yet."""
        with self._lock:
            while self._batch or self._waiting:
                if not self._write():
                    return False
            return self._write_beside()

    def close(self, tries: int = 5) -> None:
        """Stop the thread and write everything. Blocks: up to about a second a try if the store is locked."""
        self._stop.set()
        self._thread.join()
        for _ in range(tries):
            if self.flush():
                break
        with self._lock:
            left = len(self._batch) + len(self._waiting)
            if left:
                self.dropped += left
                _log.error("%d records were lost: the store %s took nothing", left, self._database.name)
            self._disconnect()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.flush()

    def _write(self) -> bool:
        """One batch in one transaction. A batch that failed is kept and tried again before newer ones."""
        batch, waiting = self._batch, self._waiting
        while waiting and len(batch) < _BATCH:
            batch.append(waiting.popleft())
        try:
            if self._connection is None:
                self._connection = self._database.connect()
            self._insert(self._connection, batch)
        except Exception as error:
            if self._is_about_a_row(error) and self._connection is not None:
                return self._write_one_by_one(self._connection, batch)
            self._report(error)
            self._disconnect()  # it may be the connection that broke; the next try makes a new one
            return False
        batch.clear()
        self._failing = False
        return True

    def _write_beside(self) -> bool:
        try:
            for write in self._beside:
                if self._connection is None:
                    self._connection = self._database.connect()
                write(self._connection)
        except Exception as error:
            self._report(error)
            self._disconnect()
            return False
        return True

    def _insert(self, connection: Connection, batch: Sequence[Record]) -> None:
        connection.write(_INSERT, [self._row(record) for record in batch])
        self.written += len(batch)

    def _write_one_by_one(self, connection: Connection, batch: list[Record]) -> bool:
        """One record that no store can hold (a lone surrogate, a 70-bit number) must not stop the others."""
        while batch:
            try:
                self._insert(connection, batch[:1])
            except Exception as error:
                if not self._is_about_a_row(error):
                    self._report(error)
                    return False
                self.dropped += 1
                _log.warning("a record could not be written and was dropped: %s", type(error).__name__)
            del batch[0]
        return True

    def _is_about_a_row(self, error: Exception) -> bool:
        dbapi = self._database.dbapi
        kinds = (dbapi.ProgrammingError, dbapi.InterfaceError, dbapi.DataError, dbapi.IntegrityError)
        return isinstance(error, (*kinds, ValueError, TypeError, OverflowError))

    def _row(self, record: Record) -> Sequence[object]:
        row = list(msgspec.structs.astuple(record))
        row[_ATTEMPTS] = attempts_json(record.attempts)
        if not self._record_prompts:
            row[_PROMPT] = row[_PROMPT + 1] = None
        return row

    def _report(self, error: Exception) -> None:
        if not self._failing:  # once for each outage, not ten times a second
            _log.warning("records wait in memory, the store takes none: %s", error)
        self._failing = True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
