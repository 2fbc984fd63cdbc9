"""Yield: the share of what hindsight would have served, over virtual days through the real ledger and router.

Rules: the days are those of `bench.price` that nothing was tuned on, with no request needing a better model than
another, so that a request served is a request served. The optimum is a linear programme over whole days: an upper
bound (see `bench/price/optimum.py`).
"""

from __future__ import annotations

import statistics

import msgspec
from bench.price.__main__ import START, optimum
from bench.price.days import Day, days

from potluck.app import simulate


def measured(sizes: tuple[int, ...]) -> dict[str, float]:
    """Share served of the optimum, by day; and how often a provider refused what the ledger had allowed."""
    found: dict[str, float] = {}
    for day in days(report=True, sizes=sizes):
        asks = tuple(msgspec.structs.replace(ask, quality=0) for ask in day.asks)
        even = tuple(msgspec.structs.replace(target, quality=1) for target in day.targets)
        plain = Day(day.name, even, asks)
        best = optimum(plain)
        seen = simulate.run(day.targets, asks, START)
        if seen.overruns:
            raise SystemExit(f"{day.name}: the ledger over-ran {seen.overruns}")
        found[day.name] = seen.served / best["served"] if best["served"] else 1.0
        print(f"  {day.name:34} {found[day.name]:7.2%}", flush=True)
    return found


def mean(found: dict[str, float]) -> float:
    return statistics.fmean(found.values())
