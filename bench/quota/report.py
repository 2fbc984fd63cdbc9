"""Figures of a run and the table of them: what is a bar, what was found, met or missed."""

from __future__ import annotations

from typing import Any

from bench.quota import world
from bench.quota.clients import Seen
from rich.console import Console
from rich.table import Table

Figures = dict[str, Any]
BARS = {
    "upstream_429_per_1000": ("429s of providers per 1,000 requests, after the first learning", 1.0, "≤"),
    "overruns": ("requests refused at a provider's limit, after the first learning", 0, "≤"),
    "yield": ("served, of what hindsight would have served", 0.97, "≥"),
    "wasted": ("attempts that could not succeed", 0.005, "≤"),
    "undercount": ("missed, of what the providers counted", 0.0, "≤"),
    "overcount": ("counted too much", 0.01, "≤"),
    "hold_us_memory": ("reserve + settle in memory, median µs", 10.0, "≤"),
    "hold_us_sqlite": ("… over SQLite, mean µs", 25.0, "≤"),
    "hold_us_valkey": ("… over Valkey, mean µs", 25.0, "≤"),
}


def live(before: dict[str, Any], after: dict[str, Any], first: Seen, seen: Seen) -> Figures:
    """Of the time after the first learning; what the learning cost stands beside it."""
    then, now = world.tally(before), world.tally(after)
    sent = now.received - then.received
    refused = now.limited - then.limited
    return {
        "upstream_429_per_1000": round(1000.0 * refused / max(1, seen.asked), 3),
        "overruns": world.overruns(after) - world.overruns(before),
        "wasted": round((now.futile - then.futile) / max(1, sent), 5),
        "yield": None,
        "undercount": None,
        "overcount": None,
        "hold_us_memory": None,
        "hold_us_sqlite": None,
        "hold_us_valkey": None,
        "asked": first.asked + seen.asked,
        "served": first.served + seen.served,
        "attempts": now.received,
        "learning_429": then.limited,
        "cut": seen.cut,
        "left": seen.left,
        "statuses": dict(seen.statuses),
        "overrun_limits": world.overrun_labels(before, after),
    }


def show(results: dict[str, Figures]) -> None:
    """A row a figure, a column a system; the bar is Potluck's."""
    table = Table(title="Counted by the providers themselves", title_justify="left")
    table.add_column("what")
    for name in results:
        table.add_column(name, justify="right")
    table.add_column("bar", justify="right")
    table.add_column("")
    for key, (what, bar, sign) in BARS.items():
        ours = results.get("potluck", {}).get(key)
        verdict = (
            "–" if ours is None else "met" if (ours <= bar if sign == "≤" else ours >= bar) else "missed"
        )
        cells = [_cell(row.get(key)) for row in results.values()]
        table.add_row(what, *cells, f"{sign} {bar:g}", verdict)
    for key in ("asked", "served", "learning_429"):
        table.add_row(key.replace("_", " "), *(_cell(row.get(key)) for row in results.values()), "", "")
    console = Console(width=140)
    console.print(table)
    for name, row in results.items():
        if "error" in row:
            console.print(f"{name}: {row['error']}")
    console.print("A peer has no ledger to compare and no virtual days: those figures are Potluck's alone.")


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
