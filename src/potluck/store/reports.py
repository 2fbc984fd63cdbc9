"""Questions about what was recorded, for the command line and the admin API.

Rules: each opens the connection it is given for one SELECT and keeps nothing; none runs on an event loop.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from potluck.store.database import Connection
from potluck.store.records import StoredAttempt

_PRUNE_BATCH = 5_000  # rows a transaction: the recorder waits for each, and waits at most a second


class Recorded(msgspec.Struct, frozen=True):
    """One row of `requests`, read back. Units as in `records.Record`."""

    id: str
    at: float
    tenant: str
    wish: str
    target: str
    outcome: str
    status: int
    attempts: tuple[StoredAttempt, ...]
    tokens_in: int
    tokens_out: int
    estimated: bool
    cost: int
    ms_first: float
    ms: float
    surface: str
    prompt: str | None
    answer: str | None


class Filters(msgspec.Struct, frozen=True):
    """Which records: every field that is not empty must match. `since` and `until` are epoch seconds."""

    tenant: str = ""
    target: str = ""
    wish: str = ""
    outcome: str = ""
    surface: str = ""
    since: float = 0.0
    until: float = 0.0


class Total(msgspec.Struct, frozen=True):
    """Sums over a span. `group` is the target or tenant, `cost` micro-USD, `ms` the mean of answered ones."""

    group: str
    requests: int
    ok: int
    tokens_in: int
    tokens_out: int
    estimated: int  # how many of the requests had their tokens estimated
    cost: int
    ms: float


_ATTEMPTS = Recorded.__struct_fields__.index("attempts")
_ESTIMATED = Recorded.__struct_fields__.index("estimated")
_COLUMNS = ", ".join(Recorded.__struct_fields__)
_decode = msgspec.json.Decoder(tuple[StoredAttempt, ...]).decode


def recent(connection: Connection, limit: int = 50, filters: Filters | None = None) -> list[Recorded]:
    """The latest records that match, newest first."""
    where, values = _where(filters or Filters())
    sql = f"SELECT {_COLUMNS} FROM requests{where} ORDER BY at DESC LIMIT ?"  # noqa: S608
    found = []
    for row in connection.query(sql, *values, limit):
        fields = list(row)
        fields[_ATTEMPTS] = _decode(fields[_ATTEMPTS])
        fields[_ESTIMATED] = bool(fields[_ESTIMATED])
        found.append(Recorded(*fields))
    return found


def totals(
    connection: Connection, since: float, by: Literal["target", "tenant"] = "target", until: float = 0.0
) -> list[Total]:
    """Sums for each target or tenant since an epoch second, the busiest first."""
    where, values = _where(Filters(since=since, until=until))
    sql = (
        f"SELECT {by}, COUNT(*), SUM(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END), SUM(tokens_in), "  # noqa: S608
        "SUM(tokens_out), SUM(estimated), SUM(cost), AVG(CASE WHEN outcome = 'ok' THEN ms END) "
        f"FROM requests{where} GROUP BY {by} ORDER BY COUNT(*) DESC, {by}"
    )
    found = []
    for group, requests, ok, tokens_in, tokens_out, estimated, cost, ms in connection.query(sql, *values):
        # PostgreSQL adds integers up to decimals; the mean of no answer is NULL.
        sums = [int(value) for value in (requests, ok, tokens_in, tokens_out, estimated, cost)]
        found.append(Total(group, sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], float(ms or 0.0)))
    return found


def moments(connection: Connection, since: float, most: int = 20_000) -> list[float]:
    """When the latest requests came, in epoch seconds: answered from the index alone."""
    sql = "SELECT at FROM requests WHERE at >= ? ORDER BY at DESC LIMIT ?"
    return [float(row[0]) for row in connection.query(sql, since, most)]


def prune(connection: Connection, older_than: float) -> int:
    """Delete what was recorded before an epoch second: how many rows. In small bites, to let writers in."""
    sql = "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE at < ? ORDER BY at LIMIT ?)"
    deleted = 0
    while True:
        count = connection.write(sql, [(older_than, _PRUNE_BATCH)])
        deleted += count
        if count < _PRUNE_BATCH:
            return deleted


def _where(filters: Filters) -> tuple[str, list[object]]:
    terms: list[str] = []
    values: list[object] = []
    for name in filters.__struct_fields__:
        value = getattr(filters, name)
        if value:
            terms.append({"since": "at >= ?", "until": "at < ?"}.get(name, f"{name} = ?"))
            values.append(value)
    return (" WHERE " + " AND ".join(terms) if terms else ""), values


class Demand(msgspec.Struct, frozen=True):
    """Requests that a target answered in one minute, so many whole minutes ago. `batch`: lines of batches."""

    target: str
    batch: bool
    minutes: int
    requests: int


def demand(connection: Connection, now: float, seconds: float) -> list[Demand]:
    """What was answered in the last `seconds`."""
    rows = connection.query(
        "SELECT target, CASE WHEN surface = 'batch' THEN 1 ELSE 0 END, CAST((? - at) / 60 AS INTEGER), COUNT(*) "
        "FROM requests WHERE at >= ? AND status < 400 GROUP BY 1, 2, 3",
        now, now - seconds,
    )  # fmt: skip
    return [Demand(str(row[0]), bool(row[1]), int(row[2]), int(row[3])) for row in rows]
