"""`potluck savings`: what each technique spared, at list price, and what that cost in quality."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.app.savings import Line
    from potluck.config import Settings

DAY = 86_400


def savings(
    days: Annotated[int, typer.Option("--days", "-d", min=1, help="How many, today included.")] = 30,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show what caching, cascading and the others spared, and how often a check found their answers as good."""
    from potluck.cli.show import console, emit, note

    settings = options.settings(config)
    found = _look(settings, days)
    if json:
        emit(found)
        return
    if not found:
        note(
            "Nothing was spared yet. Stages do that for profiles that name them: "
            '[bold]stages = \\["cache"][/] under [bold]\\[profiles.home][/] in potluck.toml.'
        )
        return
    console().print(_table(found))
    note(f"[dim]{_remarks(found)}[/]")


def _look(settings: Settings, days: int) -> list[Line]:
    from potluck import app
    from potluck.app.savings import lines, prices
    from potluck.store import savings as store

    targets = {target.id: target for target in app.inventory(settings, os.environ).targets}
    connection = app.database(settings).connect()
    try:
        saved, checked = store.since(connection, store.day(time.time() - (days - 1) * DAY))
    finally:
        connection.close()
    return lines(saved, checked, prices(targets))


def _table(found: list[Line]) -> object:
    from potluck.cli.show import amount, bar, table

    most = max((line.requests for line in found), default=0)
    shown = table(
        "Technique!", "Helped>!", "Requests>!", "", "Tokens>!", "At list price>!", "As good when checked"
    )
    for line in found:
        spared = bar(line.requests / most) if most > 0 and line.requests > 0 else ""
        money = "unknown" if line.usd is None else f"${line.usd:,.4f}" + ("+" if line.unpriced else "")
        tokens = amount(line.tokens_in + line.tokens_out)
        shown.add_row(
            line.technique, amount(line.times), amount(line.requests), spared, tokens, money, _quality(line)
        )
    return shown


def _quality(line: Line) -> str:
    if line.agreed is None or line.interval is None:
        return "" if line.technique == "together" else "[dim]not checked[/]"
    low, high = line.interval
    return f"{line.agreed:.0%} of {line.checked} [dim]({low:.0%} to {high:.0%})[/]"


def _remarks(found: list[Line]) -> str:
    from potluck.app.savings import prices_known

    said = [
        "Requests and tokens that no provider was sent; money at the lowest price anyone asks for that model."
    ]
    if not prices_known():
        said.append("For prices: pip install 'potluck\\[savings]'.")
    elif any(line.unpriced for line in found):
        said.append("+ or unknown: of some models nobody's list price is known.")
    if any(line.agreed is None for line in found if line.technique in ("cache", "cascade")):
        said.append(
            "Set a share to be checked (shadow) in \\[cache] or \\[cascade] to learn the price in quality."
        )
    return " ".join(said)
