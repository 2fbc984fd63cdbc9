"""`python -m bench.price`: yield of three ways to choose a target, as a share of the optimum of hindsight.

`--tune` prints the same for several values of CHOOSY on the tuning halves; without it the other halves are reported and
written to bench/results/price.json. Yield is in quality tiers served (a request that needs tier 4 is worth
nothing below it); `served` counts requests, `needy` those that needed tier 4.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
from collections import defaultdict
from typing import Any

from bench.gateway.install import ensure
from bench.gateway.systems import PEERS, ROOT
from bench.price.days import POLICIES, SIZES, Day, days

from potluck import price
from potluck.app import simulate
from potluck.app.virtual import cost
from potluck.dispatch import Dispatch
from potluck.quota import windows
from potluck.router import Wish, unfit
from potluck.types import Request, Usage, Window

START = 1_795_507_200.0  # 2026-11-24 00:00 in Los Angeles, so that a day has one reset
CHOOSY = (0.1, 0.3, 0.6, 1.0, 1.5, 2.0)


def problem(day: Day) -> dict[str, Any]:
    """The day as rows of a linear programme."""
    value: list[tuple[int, int, float]] = []
    rows: defaultdict[tuple[str, float], list[tuple[int, float]]] = defaultdict(list)
    limits: dict[str, float] = {}
    for number, ask in enumerate(day.asks):
        request = Request("auto", {}, tokens_in=ask.tokens_in, tokens_out=ask.tokens_out, needs=ask.needs)
        for column, target in enumerate(day.targets):
            if unfit(target, request, Wish(min_quality=ask.quality)):
                continue
            for quota in target.quotas:
                if quota.unit == "concurrent":
                    continue
                limits[quota.id] = quota.amount * (2.0 if quota.window.kind == "refill" else 1.0)
                units = cost(target, quota, Usage(ask.tokens_in, ask.tokens_out))
                rows[quota.id, period(quota.window, ask.at)].append((len(value), units))
            value.append((number, column, float(target.quality)))
    listed = [(limits[id], terms) for (id, _), terms in rows.items()]
    return {"value": value, "rows": listed, "requests": len(day.asks)}


def period(window: Window, at: float) -> float:
    """Which of its windows a moment is in; a rolling one is held in disjoint windows only."""
    reset = windows.next_reset(window, START + at)
    return reset if reset < math.inf else at // min(windows.length(window), windows.MONTH)


def optimum(day: Day) -> dict[str, float]:
    """Solved in the Python that has scipy."""
    python = str(PEERS / "hindsight" / "bin" / "python")
    solver = str(ROOT / "bench" / "price" / "optimum.py")
    done = subprocess.run(
        [python, solver], input=json.dumps(problem(day)), capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measured(day: Day, policy: type[Dispatch], best: dict[str, float]) -> dict[str, float]:
    seen = simulate.run(day.targets, day.asks, START, dispatch=policy)
    needy = sum(ask.quality > 0 for ask in day.asks)
    missed = sum(quality > 0 for _, _, quality in seen.missed)
    if seen.overruns:
        raise SystemExit(f"{day.name}: the ledger over-ran {seen.overruns}")
    return {
        "yield": seen.quality * seen.served / best["value"],
        "served": seen.served / best["served"],
        "needy": 1.0 - missed / needy if needy else 1.0,
    }


def tune(sizes: tuple[int, ...]) -> None:
    known = [(day, optimum(day)) for day in days(report=False, sizes=sizes)]
    for share in CHOOSY:
        price.CHOOSY = share
        found = [measured(day, Dispatch, best) for day, best in known]
        print(
            f"CHOOSY {share:4.2f}  " + "  ".join(f"{n} {_mean(found, n):6.2%}" for n in found[0]), flush=True
        )


def report(sizes: tuple[int, ...]) -> None:
    table: dict[str, dict[str, dict[str, float]]] = {}
    for day in days(report=True, sizes=sizes):
        best = optimum(day)
        table[day.name] = {name: measured(day, policy, best) for name, policy in POLICIES.items()}
        shown = "  ".join(f"{name} {row['yield']:6.1%}" for name, row in table[day.name].items())
        print(f"{day.name:34} {shown}", flush=True)
    means = {
        name: {
            figure: _mean([row[name] for row in table.values()], figure)
            for figure in ("yield", "served", "needy")
        }
        for name in POLICIES
    }
    for name, row in means.items():
        print(f"{name:8}" + "".join(f"  {figure} {share:6.2%}" for figure, share in row.items()))
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / "price.json").write_text(json.dumps({"mean": means, "days": table}, indent=1) + "\n")


def _mean(rows: list[dict[str, float]], figure: str) -> float:
    return statistics.fmean(row[figure] for row in rows)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m bench.price", description=__doc__)
    asked.add_argument("--tune", action="store_true")
    asked.add_argument("--sizes", default=",".join(map(str, SIZES)))
    options = asked.parse_args()
    ensure("hindsight")
    (tune if options.tune else report)(tuple(map(int, options.sizes.split(","))))
