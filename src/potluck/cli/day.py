"""How a simulated day looks: a chart of its hours, tables of who served and what is left, and the plan in words.

Rules: pure: reports in, text and rich tables out. Hours are this machine's. Green was served, red refused.
"""

from __future__ import annotations

import html
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from potluck.app.advice import Gain, Money
    from potluck.app.simulate import Hourly, Report, Stock

HEIGHT = 8  # rows of the chart
MOST = 12  # rows of a table; --json has them all
EIGHTHS = " ▁▂▃▄▅▆▇█"
SERVED, REFUSED = "#2e9e5b", "#d64545"


def bins(hours: Sequence[Hourly], most: int = 24) -> list[tuple[int, int, int]]:
    """(first hour, served, refused) of at most `most` equal spans."""
    width = -(-len(hours) // most)
    return [
        (
            first,
            sum(h.served for h in hours[first : first + width]),
            sum(h.refused for h in hours[first : first + width]),
        )
        for first in range(0, len(hours), width)
    ]


def chart(report: Report, start: float) -> str:
    """Bars for the hours in rich markup, served below refused."""
    shown = bins(report.hours)
    most = max((served + refused for _, served, refused in shown), default=0) or 1
    lines = []
    for row in range(HEIGHT, 0, -1):
        label = (
            f"{_count(most * row // HEIGHT) if row in (HEIGHT, HEIGHT // 2) and most >= HEIGHT else '':>6} "
        )
        lines.append(
            label + " ".join(_cell(served, refused, most, row) for _, served, refused in shown).rstrip()
        )
    lines.append(" " * 7 + "[dim]" + " ".join("──" for _ in shown) + "[/]")
    lines.append(
        " " * 7
        + " ".join(_label(first, len(shown), len(report.hours), start) for first, _, _ in shown).rstrip()
    )
    legend = "[green]██[/] served"
    lines.append(" " * 7 + legend + ("   [red]▒▒[/] refused" if report.refused else ""))
    return "\n".join(lines)


def _cell(served: int, refused: int, most: int, row: int) -> str:
    """Two columns of one row: full, an eighth of it, or nothing."""
    below = (row - 1) / HEIGHT * most
    height = most / HEIGHT
    whole = max(0.0, min(1.0, (served + refused - below) / height))
    green = max(0.0, min(1.0, (served - below) / height))
    if whole <= 0.0:
        return "  "
    block = EIGHTHS[max(1, round(whole * 8))] * 2
    if green >= whole or not refused:
        return f"[green]{block}[/]"
    if green <= 0.0:
        return "[red]▒▒[/]"  # another letter, not only another colour
    return f"[green on red]{EIGHTHS[max(1, min(7, round(green * 8)))] * 2}[/]"


def _label(first: int, bins: int, hours: int, start: float) -> str:
    at = datetime.fromtimestamp(start + first * 3600)
    return f"{at.day:02}" if hours >= 24 * bins else f"{at.hour:02}"


def moment(seconds: float, start: float, days: int) -> str:
    """ "14:05", or "day 2, 14:05"."""
    at = datetime.fromtimestamp(start + seconds)
    return (f"day {int(seconds // 86_400) + 1}, " if days > 1 else "") + at.strftime("%H:%M")


def servers(report: Report, qualities: Mapping[str, int]) -> Table:
    """Who served how much."""
    from potluck.cli.show import amount, escape, table

    shown = table("Served by", "Tier>!", "Requests>!", "Share!")
    rows = list(report.targets.items())
    for id, count in rows[:MOST]:
        share = count / report.served
        shown.add_row(escape(id), str(qualities[id]), _count(count), f"{_plain_bar(share)} {share:.0%}")
    if len(rows) > MOST:
        rest = sum(count for _, count in rows[MOST:])
        shown.add_row(
            f"[dim]{len(rows) - MOST} more[/]",
            "",
            amount(rest),
            f"{_plain_bar(0)} {rest / report.served:.0%}",
        )
    return shown


def stocks(report: Report, start: float, days: int) -> Table | None:
    """What is left of the quotas of an hour or more that were used, scarcest first; None if none was."""
    from potluck.cli.show import amount, bar, escape, table

    used = sorted(
        (s for s in report.stocks if touched(s)), key=lambda s: (s.left / s.amount, s.scope, s.label)
    )
    if not used:
        return None
    shown = table("Quota", "Left at the end!", ">!", "Of>!", "Ran out!")
    for stock in used[:MOST]:
        shown.add_row(
            f"{escape(stock.scope)} [dim]{escape(stock.label.replace('_', ' '))}[/]",
            bar(stock.left / stock.amount, 8),
            amount(stock.left, stock.unit),
            amount(stock.amount, stock.unit),
            f"[yellow]{moment(stock.ran_out_at, start, days)}[/]" if stock.ran_out_at >= 0 else "",
        )
    if len(used) > MOST:
        shown.add_row(f"[dim]{len(used) - MOST} more with more left[/]")
    return shown


def touched(stock: Stock) -> bool:
    return stock.long and stock.amount > 0 and (stock.left < stock.amount or stock.ran_out_at >= 0)


def sentences(report: Report, start: float, days: int, wait: float) -> list[str]:
    """What happened, in rich markup."""
    from potluck.cli.show import duration, escape

    providers = len({id.split("/")[0] for id in report.targets})
    share = report.served / report.asked if report.asked else 1.0
    colour = "green" if not report.refused else "yellow" if share > 0.9 else "red"
    said = [
        f"[bold {colour}]{_count(report.served)} of {_count(report.asked)} requests are served ({_percent(share)})[/]"
        + (
            f", by {providers} provider{'s' * (providers > 1)}, mean quality tier {report.quality:.1f} of 5."
            if report.served
            else "."
        )
    ]
    if report.waited:
        said.append(f"{_count(report.waited)} had to wait for room, up to {duration(wait)}.")
    if report.refused:
        why = f"; most often in the way: {escape(report.bottleneck)}" if report.bottleneck else ""
        said.append(
            f"{_count(report.refused)} are refused, the first at {moment(report.first_refusal, start, days)}{why}."
        )
    if report.never:
        said.append(
            f"{_count(report.never)} of them no target there could ever serve: too long, images, too high a quality."
        )
    first = report.first_out
    if first is not None:
        said.append(
            f"The first quota to run out is {escape(first.scope)} {escape(first.label)}, "
            f"at {moment(first.ran_out_at, start, days)}."
        )
    if report.overruns:
        said.append(
            f"[bold red]A limit was over-run: {escape(str(report.overruns))}. That is a bug; report it.[/]"
        )
    return said


def plan(gains: Sequence[Gain], money: Money | None) -> list[str]:
    """What to do, in rich markup; the best first."""
    from potluck.cli.show import escape

    said = []
    for gain in gains[:3]:
        does = f"{_count(gain.served)} more served" if gain.served else "the same number served"
        said.append(
            f"[bold]{gain.provider}[/]: {does}, mean tier {gain.quality:.1f}. [dim]{escape(gain.signup)}[/]"
        )
    if money is not None:
        said.append(
            f"Or [bold]money[/]: the {_count(money.requests)} refused would cost about {_dollars(money.dollars)} "
            f"at ${money.prices[0]:g} and ${money.prices[1]:g} per million tokens in and out "
            f"({escape(money.target) or 'assumed: --price'}), with never_bill = false and a budget."
        )
    return said


def _count(number: int) -> str:
    return f"{number:,}"


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value >= 0.01 else "less than a cent"


def _percent(share: float) -> str:
    """100% only if it is all of them."""
    return "100%" if share >= 1 else f"{min(share, 0.999):.1%}"


def _plain_bar(share: float, width: int = 8) -> str:
    filled = round(share * width)
    return f"[green]{'█' * filled}[/][dim]{'░' * (width - filled)}[/]"


def svg(report: Report, start: float, title: str) -> str:
    """The chart as a picture that every browser shows."""
    shown, width, height = bins(report.hours), 720, 280
    most = max((served + refused for _, served, refused in shown), default=0) or 1
    step, floor = (width - 60) / max(1, len(shown)), height - 40
    parts: list[Any] = []
    for n, (first, served, refused) in enumerate(shown):
        x, green, red = 48 + n * step, served / most * (floor - 40), refused / most * (floor - 40)
        said = f"{_label(first, len(shown), len(report.hours), start)}: {served} served, {refused} refused"
        parts.append(f"<g><title>{said}</title>")
        parts.append(_bar(x, floor - green, step * 0.8, green, SERVED))
        parts.append(_bar(x, floor - green - red, step * 0.8, red, REFUSED))
        label = _label(first, len(shown), len(report.hours), start)
        parts.append(
            f'<text x="{x + step * 0.4:.1f}" y="{floor + 16}" text-anchor="middle">{label}</text></g>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="48" y="22" font-size="14">{html.escape(title)}</text>'
        f'<text x="42" y="46" text-anchor="end">{most}</text><text x="42" y="{floor}" text-anchor="end">0</text>'
        f"{''.join(parts)}</svg>\n"
    )


def _bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
