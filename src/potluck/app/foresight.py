"""Every quota with what to expect of it, for the API, the metrics and the command line; and the hours behind that.

Rules: plain values; amounts in the quota's own unit, moments in epoch seconds, inf (JSON: null) is never.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from potluck.quota.counter import Counter
from potluck.quota.forecast import DAY, HOUR, Forecast, Profile
from potluck.quota.ledger import Ledger
from potluck.quota.pace import Paces
from potluck.store import reports
from potluck.store.database import Database
from potluck.types import Target

REMEMBERED = 14 * DAY  # seconds of records that say which hours are busy
AGAIN = HOUR  # seconds between two readings of them


def quotas(ledger: Ledger, paces: Paces, targets: Iterable[Target]) -> list[dict[str, Any]]:
    """Each quota once, as the ledger counts it, with

    `per_hour`: what an hour of average business spends of it, at today's pace
    `runs_out_at`: when nothing is left at that pace, inf if it returns before; now if nothing is left
    `returns_at`: when all that is spent now has come back, inf for one-time credits
    """
    now, rows = ledger.time(), []
    for counter, seen in forecasts(ledger, paces, targets):
        row: dict[str, Any] = msgspec.to_builtins(counter.describe(now, ledger.worker))
        row["per_hour"] = round(seen.rate * HOUR / counter.rule.scale, 3)
        row["runs_out_at"], row["returns_at"] = seen.runs_out_at, seen.returns_at
        rows.append(row)
    return rows


def exhaustion(
    ledger: Ledger, paces: Paces, targets: Iterable[Target]
) -> Iterator[tuple[str, str, str, float, float]]:
    """(scope, unit, label, seconds until it runs out, seconds until it is whole again); inf is never."""
    now = ledger.time()
    for counter, seen in forecasts(ledger, paces, targets):
        quota = counter.rule.quota
        yield (
            quota.scope,
            quota.unit,
            quota.label,
            max(0.0, seen.runs_out_at - now),
            max(0.0, seen.returns_at - now),
        )


def forecasts(ledger: Ledger, paces: Paces, targets: Iterable[Target]) -> Iterator[tuple[Counter, Forecast]]:
    """Every counter of these targets once."""
    known = {counter.id: counter for target in targets for counter in ledger.lane(target).counters}
    for counter in known.values():
        yield counter, paces.forecast(counter)


def profile(database: Database, now: float) -> Profile:
    """How busy the hours of the day are, from what was recorded. Reads: not for the event loop."""
    connection = database.connect()
    try:
        hours = [0.0] * 24
        for at in reports.moments(connection, now - REMEMBERED):
            hours[int(at % DAY // HOUR)] += 1
        return Profile.of(hours)
    finally:
        connection.close()
