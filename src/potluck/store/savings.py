"""What techniques spared, and how often a check found their answers as good: sums per day, written behind.

Rules: the hot path adds to a dictionary; the recorder's thread writes. Sums are added to what is there, so several
workers share the rows. A process that dies loses at most what the recorder would lose.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from potluck.store.database import Connection
from potluck.types import Saving

_SAVED = (
    "INSERT INTO savings (day, technique, target, times, requests, tokens_in, tokens_out) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day, technique, target) DO UPDATE SET "
    "times = savings.times + excluded.times, requests = savings.requests + excluded.requests, "
    "tokens_in = savings.tokens_in + excluded.tokens_in, tokens_out = savings.tokens_out + excluded.tokens_out"
)
_CHECKED = (
    "INSERT INTO checks (day, technique, asked, agreed) VALUES (?, ?, ?, ?) ON CONFLICT (day, technique) DO UPDATE "
    "SET asked = checks.asked + excluded.asked, agreed = checks.agreed + excluded.agreed"
)


class Saved(msgspec.Struct, frozen=True):
    """One sum. `times`: requests it helped. `target`: who would have served them; "" where nobody can say."""

    technique: str
    target: str
    times: int
    requests: int
    tokens_in: int
    tokens_out: int


class Checked(msgspec.Struct, frozen=True):
    """How many answers of a technique were asked again and compared, and how many agreed."""

    technique: str
    asked: int
    agreed: int


class Savings:
    """One worker's sums that are not yet written. `now` is epoch seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._saved: dict[tuple[str, str, str], list[int]] = {}
        self._checked: dict[tuple[str, str], list[int]] = {}

    def saved(self, savings: Iterable[Saving]) -> None:
        """What one request was spared."""
        with self._lock:
            for one in savings:
                key = (self._day(), one.technique, one.target)
                amounts = (1, one.requests, one.tokens_in, one.tokens_out)
                _add(self._saved.setdefault(key, [0] * 4), amounts)

    def checked(self, technique: str, agreed: bool) -> None:
        """One answer was asked again of the dearer way, and compared."""
        with self._lock:
            _add(self._checked.setdefault((self._day(), technique), [0] * 2), (1, int(agreed)))

    def write(self, connection: Connection) -> None:
        """Adds what is new to the store; what could not be written is kept. Raises the store's errors."""
        with self._lock:
            saved, self._saved = self._saved, {}
            checked, self._checked = self._checked, {}
        if not saved and not checked:
            return
        try:
            with connection.transaction():
                for sql, rows in ((_SAVED, saved), (_CHECKED, checked)):
                    for key, amounts in rows.items():
                        connection.query(sql, *key, *amounts)
        except BaseException:
            with self._lock:
                for key, amounts in saved.items():
                    _add(self._saved.setdefault(key, [0] * 4), amounts)
                for pair, counts in checked.items():
                    _add(self._checked.setdefault(pair, [0] * 2), counts)
            raise

    def _day(self) -> str:
        return day(self._now())


def day(at: float) -> str:
    """The day of UTC, as it is written: 2026-11-24."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def since(connection: Connection, first: str) -> tuple[list[Saved], list[Checked]]:
    """The sums from a day on, the techniques in the order of their names."""
    saved = connection.query(
        "SELECT technique, target, SUM(times), SUM(requests), SUM(tokens_in), SUM(tokens_out) FROM savings "
        "WHERE day >= ? GROUP BY technique, target ORDER BY technique, target",
        first,
    )
    checked = connection.query(
        "SELECT technique, SUM(asked), SUM(agreed) FROM checks WHERE day >= ? GROUP BY technique ORDER BY technique",
        first,
    )
    return (
        [Saved(str(row[0]), str(row[1]), *map(int, row[2:])) for row in saved],
        [Checked(str(row[0]), *map(int, row[1:])) for row in checked],
    )


def _add(to: list[int], amounts: Iterable[int]) -> None:
    for n, amount in enumerate(amounts):
        to[n] += amount
