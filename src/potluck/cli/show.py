"""How things look in a terminal: consoles, tables, and numbers as people read them.

Rules: results go to stdout, everything said to a person beside them to stderr, so that a pipe carries results
alone. JSON is never coloured or wrapped. Colours, width and NO_COLOR are rich's business; a pipe gets 100 columns.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = [
    "amount",
    "bar",
    "console",
    "days",
    "duration",
    "emit",
    "escape",
    "note",
    "notes",
    "problem",
    "size",
    "table",
]

PIPE_WIDTH = 100  # columns where nobody is looking: wide enough for every table, narrow enough for a mail
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def console() -> Console:
    """Results."""
    return Console(width=_width(sys.stdout), highlight=False, soft_wrap=False)


def notes() -> Console:
    """What is said beside the results."""
    return Console(stderr=True, width=_width(sys.stderr), highlight=False)


def note(text: str) -> None:
    """One remark for a person, in rich markup."""
    notes().print(text)


def problem(sentence: str) -> None:
    """One red sentence. It may quote what a stranger wrote, so nothing in it is markup."""
    notes().print(f"[bold red]error:[/] {escape(sentence)}", soft_wrap=True)


def emit(value: Any) -> None:
    """A value as JSON on stdout, for programs: indented, and with the text of people left readable."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.buffer.write(encoded + b"\n")
    sys.stdout.flush()


def table(*columns: str, title: str = "") -> Table:
    """A table without vertical lines. A column ending in ">" is right-aligned; "!" keeps it on one line."""
    made = Table(
        box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False
    )
    made.show_edge = False
    for column in columns:
        name = column.rstrip(">!")
        made.add_column(
            name, justify="right" if ">" in column else "left", no_wrap="!" in column, overflow="fold"
        )
    return made


def duration(seconds: float) -> str:
    """ "4m 12s", "3d 4h": two units are enough to plan with. "never" for what does not come back."""
    if math.isinf(seconds):
        return "never"
    left = max(0, math.ceil(seconds))
    parts: list[str] = []
    for size, unit in _SPANS:
        if left >= size or (parts and left):
            count, left = divmod(left, size)
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or "now"


def amount(value: float, unit: str = "") -> str:
    """12, 1,000, 14.4k, 2.5M, 1B. Credits are micro-USD, shown as dollars."""
    if unit == "credits":
        dollars = value / 1e6
        return f"${dollars:,.2f}" if dollars >= 0.01 or not dollars else f"${dollars:.4f}"
    size, suffix = next(((s, x) for s, x in ((1e9, "B"), (1e6, "M"), (1e4, "k")) if abs(value) >= s), (1, ""))
    size = 1e3 if suffix == "k" else size
    return f"{value / size:,.1f}".removesuffix(".0") + suffix


def size(count: int) -> str:
    """98.4 MB: decimal, as disks and downloads are counted."""
    from rich.filesize import decimal

    return decimal(count)


def days(count: int) -> str:
    return "today" if count == 0 else "1 day ago" if count == 1 else f"{count} days ago"


def bar(share: float, width: int = 10) -> str:
    """What is left as a bar in rich markup: green, yellow below a quarter, red below a twentieth."""
    share = min(1.0, max(0.0, share))
    filled = min(width, math.ceil(share * width)) if share else 0
    colour = "red" if share < 0.05 else "yellow" if share < 0.25 else "green"
    return f"[{colour}]{'█' * filled}[/][dim]{'░' * (width - filled)}[/]"


def _width(stream: Any) -> int | None:
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    return None if stream.isatty() else PIPE_WIDTH
