"""`potluck log`: the latest requests, who served each, and what it took."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.store.reports import Recorded

_GOOD = {"ok": "green", "cancelled": "yellow", "interrupted": "yellow"}


def log(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many.")] = 20,
    target: Annotated[str, typer.Option(help="Only this target.")] = "",
    outcome: Annotated[str, typer.Option(help="Only this outcome: ok, rate_limited, timeout, …")] = "",
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the latest requests. Prompts are not in there unless record_prompts is on."""
    from potluck import app
    from potluck.cli.show import console, emit, note
    from potluck.store import reports

    connection = app.database(options.settings(config)).connect()
    try:
        found = reports.recent(connection, count, reports.Filters(target=target, outcome=outcome))
    finally:
        connection.close()
    if json:
        emit(found)
    elif found:
        console().print(_table(found))
    else:
        note("No request was recorded yet.")


def _table(found: list[Recorded]) -> object:
    from potluck.cli.show import amount, escape, table

    shown = table("When!", "Asked for", "Served by", "Outcome!", "Tokens>!", "First>!", "All>!")
    today = datetime.fromtimestamp(time.time()).date()
    for row in found:
        at = datetime.fromtimestamp(row.at)
        colour = _GOOD.get(row.outcome, "red")
        more = f" [dim]+{len(row.attempts) - 1}[/]" if len(row.attempts) > 1 else ""
        shown.add_row(
            f"{at:%H:%M:%S}" if at.date() == today else f"{at:%b %d %H:%M}",
            escape(row.wish),
            escape(row.target or "nobody") + more,
            f"[{colour}]{row.outcome.replace('_', ' ')}[/]",
            ("~" if row.estimated else "") + amount(row.tokens_in + row.tokens_out),
            f"{row.ms_first / 1000:.2f} s" if row.ms_first else "",
            f"{row.ms / 1000:.2f} s",
        )
    return shown
