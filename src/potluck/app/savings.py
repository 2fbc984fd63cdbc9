"""What techniques spared since a day, with money at list price and the measured price in quality.

Rules: what is free has no price, so a token is counted at the lowest price that anyone asks for the same model: the
bill that was avoided, not a flattering one. Prices come from `genai-prices` (extra `savings`), never from us; a model
that it does not know is said to be unknown, and not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from potluck.store.savings import Checked, Saved
from potluck.types import Target

Price = tuple[float, float]  # US dollars per million tokens in and out
Z95 = 1.96  # standard normal quantile of a two-sided 95% interval


class Line(msgspec.Struct, frozen=True):
    """One technique. `usd` None: the price of none of its models is known; `unpriced` counts those tokens.

    `agreed` is the share of checked answers that were as good, with its 95% interval; None = none was checked.
    """

    technique: str
    times: int
    requests: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    unpriced: int
    checked: int = 0
    agreed: float | None = None
    interval: tuple[float, float] | None = None


def lines(
    saved: Iterable[Saved], checked: Iterable[Checked], price: Callable[[str], Price | None]
) -> list[Line]:
    """A line a technique, and one for all of them together if there are several. `price` is asked for a target."""
    checks = {one.technique: one for one in checked}
    by_technique: dict[str, list[Saved]] = {name: [] for name in checks}
    for one in saved:
        by_technique.setdefault(one.technique, []).append(one)
    found = [_line(name, rows, checks.get(name), price) for name, rows in sorted(by_technique.items())]
    if len(found) > 1:
        every = [row for rows in by_technique.values() for row in rows]
        found.append(_line("together", every, None, price))
    return found


def _line(name: str, rows: list[Saved], check: Checked | None, price: Callable[[str], Price | None]) -> Line:
    dollars, unpriced, priced = 0.0, 0, False
    for row in rows:
        known = price(row.target)
        if known is None:
            unpriced += abs(row.tokens_in) + abs(row.tokens_out)
        else:
            dollars += (row.tokens_in * known[0] + row.tokens_out * known[1]) / 1e6
            priced = True
    line = Line(
        name,
        times=sum(row.times for row in rows),
        requests=sum(row.requests for row in rows),
        tokens_in=sum(row.tokens_in for row in rows),
        tokens_out=sum(row.tokens_out for row in rows),
        usd=round(dollars, 6) if priced else None,
        unpriced=unpriced,
    )
    if check is None or not check.asked:
        return line
    return msgspec.structs.replace(
        line,
        checked=check.asked,
        agreed=check.agreed / check.asked,
        interval=wilson(check.agreed, check.asked),
    )


def wilson(good: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927): right for few trials and for shares near 1, where it matters."""
    share, squared = good / of, Z95 * Z95
    middle = share + squared / (2 * of)
    spread = Z95 * math.sqrt(share * (1 - share) / of + squared / (4 * of * of))
    return max(0.0, (middle - spread) / (1 + squared / of)), min(1.0, (middle + spread) / (1 + squared / of))


def prices(targets: Mapping[str, Target]) -> Callable[[str], Price | None]:
    """The list price behind a target's id: its own where it is paid, else the lowest anyone asks for that model."""

    @cache
    def price(id: str) -> Price | None:
        target = targets.get(id)
        if target is not None and target.paid:
            return target.price_in, target.price_out
        model = target.model if target is not None else id.partition("#")[0].partition("/")[2]
        names = [
            *([target.name] if target is not None else []),
            model.lower(),
            model.lower().rpartition("/")[2],
        ]
        return next((found for name in names if name and (found := lowest(name))), None)

    return price


def lowest(name: str) -> Price | None:
    """The lowest list price of a model, over everyone who sells it; None if nobody known does."""
    try:
        from genai_prices.data import providers
    except ImportError:
        return None
    now = datetime.now(UTC)
    name = name.removeprefix("@cf/").removesuffix(":free")
    found: list[Price] = []
    for provider in providers:
        for model in provider.models:
            if model.is_match(name):
                asked = model.get_prices(now)
                pair = (_flat(asked.input_mtok), _flat(asked.output_mtok))
                if all(pair):  # a price of zero is a free tier, not a list price
                    found.append(pair)
    return min(found, key=sum, default=None)


def _flat(price: Any) -> float:
    """Of a tiered price, the first tier's."""
    return float(getattr(price, "base", price) or 0)


def prices_known() -> bool:
    """Whether the extra with the list prices is installed."""
    try:
        import genai_prices  # noqa: F401
    except ImportError:
        return False
    return True
