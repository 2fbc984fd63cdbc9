"""The pretend providers as the bench sees them: started, broken now and then, and asked what they counted."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

Table = dict[tuple[str, str], float]  # (provider, label such as requests/day) -> units


def ask(origin: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{origin}/_sim/{path}", data=data)) as answer:
        return json.load(answer)


def state(origin: str) -> dict[str, Any]:
    return {name: row for name, row in ask(origin, "state").items() if not name.startswith("_")}


def disturb(origin: str, providers: list[str], times: int) -> None:
    """Some streams of each provider end in the middle."""
    for name in providers:
        ask(origin, f"{name}/faults", {"kind": "cut", "after": 3, "times": times})


@dataclass(frozen=True)
class Tally:
    """Totals of all providers. `futile`: refused for what could have been known (a limit, a size, no such model)."""

    received: int
    accepted: int
    limited: int
    futile: int


def tally(found: dict[str, Any]) -> Tally:
    counts = [row["counts"] for row in found.values()]
    by_status: defaultdict[str, int] = defaultdict(int)
    for one in counts:
        for status, number in one["by_status"].items():
            by_status[status] += number
    futile = sum(by_status[status] for status in ("400", "401", "402", "403", "404", "413", "422", "429"))
    return Tally(
        sum(one["received"] for one in counts),
        sum(one["accepted"] for one in counts),
        by_status["429"],
        futile,
    )


def overruns(found: dict[str, Any]) -> int:
    """Requests that were refused because a limit was reached: the provider's own count."""
    return sum(len(row["overruns"]) for row in found.values())


def overrun_labels(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """Which limits those were."""
    table: defaultdict[str, int] = defaultdict(int)
    for provider, row in after.items():
        for one in row["overruns"][len(before[provider]["overruns"]) :]:
            table[f"{provider} {one['model']} {one['label']}"] += 1
    return dict(table)


def counted(found: dict[str, Any]) -> Table:
    """What the providers counted against their day and month limits, over all models."""
    table: Table = defaultdict(float)
    for provider, row in found.items():
        for name, quota in row["quotas"].items():
            label = name.rpartition(" | ")[2]
            if label.endswith(("/day", "/month")):
                table[provider, label] += math.ceil(quota["used"] - 0.01)
    return dict(table)


def errors(theirs: Table, ours: Table) -> dict[str, tuple[float, float]]:
    """By unit: shares of what the providers counted that we missed, and that we counted too much."""
    shared = {key: value for key, value in theirs.items() if value > 0 and key in ours}
    found = {}
    for unit in ("requests", "tokens"):
        keys = [key for key in shared if key[1].startswith(unit)]
        total = sum(shared[key] for key in keys)
        if total:
            missed = sum(max(0.0, shared[key] - ours[key]) for key in keys)
            beyond = sum(max(0.0, ours[key] - shared[key]) for key in keys)
            found[unit] = round(missed / total, 5), round(beyond / total, 5)
    return found
