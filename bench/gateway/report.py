"""Prints the figures of one run: every system, the ratios, and Potluck against its bars.

Rules: a figure that does not exist is a dash, a cell with wrong answers carries their number, a system that
did not run is named with the reason. Nothing here decides whether a build passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.gateway.measure import Figures
from rich.console import Console
from rich.table import Table

Get = Callable[[Figures], Any]


def at(figures: Figures, *path: str) -> Any:
    """The value at a path of keys, or None."""
    value: Any = figures
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def said(value: Any, digits: int = 0, unit: str = "") -> str:
    """A number for people; a dash for none."""
    return "–" if value is None else f"{value:,.{digits}f}{unit}"


def ratio(value: Any, base: Any) -> float | None:
    """`value` as a multiple of `base`."""
    return value / base if value is not None and base else None


def show(results: Figures) -> None:
    """The whole report on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # a log has no width; the tables need this much
    systems = {name: row for name, row in results.items() if not name.startswith("_")}
    running = {name: row for name, row in systems.items() if "error" not in row}
    console.print(_costs(running))
    console.print(_latencies(running, results.get("_direct", {})))
    for name, row in systems.items():
        if "error" in row:
            console.print(f"[red]{name} was not measured:[/] ", end="")
            console.print(row["error"], markup=False)
    for name, row in [*running.items(), ("direct", results.get("_direct", {}))]:
        for cell, figures in row.items():
            others = at(row, cell, "others_percent") or 0
            if others > 15:
                console.print(
                    f"[yellow]{name} {cell}: others used {others}% of the gateway's CPU meanwhile[/]"
                )
            if at(row, cell, "reasons"):
                console.print(f"[yellow]{name} {cell}: {figures['reasons']}[/]")
    if "potluck" in running:
        console.print(_bars(results))
    console.print(f"[dim]{results.get('_about')}[/]")


def _costs(running: dict[str, Figures]) -> Table:
    table = Table(title="CPU time of the gateway and what it needs", title_justify="left")
    heads = ("JSON\n64 conn.\nµs", "× nginx", "LiteLLM\nis ×", "requests/s\na core", "JSON\n1 conn.\nµs")
    more = ("stream\n16 conn.\nµs", "× nginx", "events/s\na core", "RSS\nMB", "start\ns")
    table.add_column("system")
    for head in (*heads, *more):
        table.add_column(head, justify="right", no_wrap=True)
    nginx, slow = running.get("nginx", {}), running.get("litellm", {})
    for name, row in running.items():
        cost, stream = at(row, "json_64", "cpu_us"), at(row, "stream_16", "cpu_us")
        table.add_row(
            f"{name} [dim]{row['version']}[/]",
            said(cost, 1) + _wrong(row, "json_64"),
            said(ratio(cost, at(nginx, "json_64", "cpu_us")), 1),
            said(ratio(at(slow, "json_64", "cpu_us"), cost), 0),
            said(at(row, "json_64", "rps")),
            said(at(row, "json_1", "cpu_us"), 1) + _wrong(row, "json_1"),
            said(stream, 1) + _wrong(row, "stream_16"),
            said(ratio(stream, at(nginx, "stream_16", "cpu_us")), 2),
            said(at(row, "stream_16", "events")),
            said(row.get("rss_mb"), 1),
            said(row.get("startup_s"), 2),
        )
    return table


def _wrong(row: Figures, cell: str) -> str:
    errors = at(row, cell, "errors")
    return f" [red]!{errors}[/]" if errors else ""


def _latencies(running: dict[str, Figures], direct: Figures) -> Table:
    table = Table(title="Added latency in µs (total of the direct way below)", title_justify="left")
    table.add_column("system")
    cells = ("json_1", "json_64", "stream_16")
    for cell in cells:
        for share in ("p50", "p99"):
            table.add_column(f"{cell}\n{share}", justify="right")
    for name, row in running.items():
        table.add_row(name, *(said(at(row, cell, f"{p}_us")) for cell in cells for p in ("p50", "p99")))
    totals = (said(at(direct, cell, f"{p}_total_us")) for cell in cells for p in ("p50", "p99"))
    table.add_row("[dim]direct[/]", *totals)
    return table


# What Potluck must show: text, figure, bar, unit. Lower is better, but for the LiteLLM ratio.
_BARS: list[tuple[str, Get, float, str]] = [
    ("CPU a JSON request, 64 connections", lambda r: at(r, "potluck", "json_64", "cpu_us"), 120, " µs"),
    ("… beside nginx", lambda r: _beside(r, "json_64", "nginx"), 6, " ×"),
    ("… LiteLLM's beside it (at least)", lambda r: _litellm(r), -80, " ×"),
    ("CPU a stream of 20 events, beside nginx", lambda r: _beside(r, "stream_16", "nginx"), 2, " ×"),
    ("memory after 100,000 requests", lambda r: at(r, "potluck", "memory", "after_mb"), 80, " MB"),
    ("… slope a further 100,000", lambda r: at(r, "potluck", "memory", "slope_mb"), 1, " MB"),
    ("start to first answer", lambda r: at(r, "potluck", "startup_s"), 1, " s"),
    ("1,000 streams, 20 events/s each", lambda r: at(r, "potluck", "streams_1000", "core_percent"), 75, " %"),
    ("… broken", lambda r: at(r, "potluck", "streams_1000", "broken"), 0, ""),
    ("CPU a request of 105 KB", lambda r: at(r, "potluck", "bodies", "cpu_us"), 300, " µs"),
]


def _beside(results: Figures, cell: str, other: str) -> float | None:
    return ratio(at(results, "potluck", cell, "cpu_us"), at(results, other, cell, "cpu_us"))


def _litellm(results: Figures) -> float | None:
    return ratio(at(results, "litellm", "json_64", "cpu_us"), at(results, "potluck", "json_64", "cpu_us"))


def _bars(results: Figures) -> Table:
    table = Table(title="Potluck and its bars", title_justify="left")
    for head in ("what", "figure", "bar", ""):
        table.add_column(head, justify="left" if head == "what" else "right")
    for text, get, bar, unit in _BARS:
        value = get(results)
        met = value is not None and (value >= -bar if bar < 0 else value <= bar)
        mark = "–" if value is None else "[green]met[/]" if met else "[red]missed[/]"
        sign = "≥" if bar < 0 else "≤"
        digits = 2 if value is not None and abs(value) < 10 and unit else 0
        table.add_row(text, said(value, digits, unit), f"{sign} {abs(bar):g}{unit}", mark)
    return table
