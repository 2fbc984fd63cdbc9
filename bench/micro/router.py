"""Microseconds that a cascade's own judging takes for one request: `python -m bench.micro.router`.

Gists of three answers, the ballot, the signs and both regressions, for an answer of 100 and of 2,000 characters.
"""

from __future__ import annotations

import json
import statistics
import time

from bench.gateway.systems import ROOT

from potluck.stages.calibration import bar, gain, shipped
from potluck.stages.judge import ballot, gist, signs

ROUNDS = 5_000
QUESTION = "A farmer has 12 crates with 30 eggs each and sells half of them. How many eggs are left?"


def once(answers: list[str]) -> bool:
    weights = shipped_weights
    found = ballot([gist(answer, QUESTION) for answer in answers])
    return gain(weights.all, signs(found, QUESTION, answers[0])) <= bar(weights, 0.95, 0.5)


shipped_weights = shipped()


def main() -> None:
    found = {}
    for size in (100, 2_000):
        text = ("Each crate holds 30 eggs. " * 200)[: size - 20] + " The answer is 180."
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            once([text, text, "180"])
            times.append((time.perf_counter() - started) * 1e6)
        found[f"{size} characters"] = {
            "median_us": round(statistics.median(times), 1),
            "p99_us": round(sorted(times)[int(0.99 * ROUNDS)], 1),
        }
    print(json.dumps(found, indent=1))
    (ROOT / "bench" / "results" / "router.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
