"""The counters of every worker in one table, so that any worker can answer `/metrics` for all of them.

Rules: a worker writes only its own rows, absolute values, behind the hot path; readers add up. The rows of
a worker that is gone stay until the next start, because a sum that falls reads as a restart to Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from potluck.store.database import Connection

Labels = tuple[tuple[str, str], ...]  # sorted by name
Key = tuple[str, Labels]

_UPSERT = (
    "INSERT INTO counters (worker, name, labels, value) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (worker, name, labels) DO UPDATE SET value = excluded.value"
)


def publish(connection: Connection, worker: str, values: Mapping[Key, float]) -> None:
    """Replace this worker's counters by their present values, in one transaction."""
    rows = [(worker, name, _text(labels), value) for (name, labels), value in values.items()]
    if rows:
        connection.write(_UPSERT, rows)


def collect(connection: Connection, *, but: str = "") -> dict[Key, float]:
    """The sum over all workers, without the worker `but` (who knows its own values better)."""
    sql = "SELECT name, labels, SUM(value) FROM counters WHERE worker <> ? GROUP BY name, labels"
    return {
        (str(name), tuple(sorted(msgspec.json.decode(labels, type=dict[str, str]).items()))): float(value)
        for name, labels, value in connection.query(sql, but)
    }


def forget(connection: Connection) -> None:
    """Empty the table: what a start does before the first worker runs."""
    with connection.transaction():
        connection.query("DELETE FROM counters")


def _text(labels: Labels) -> str:
    return msgspec.json.encode(dict(sorted(labels))).decode()
