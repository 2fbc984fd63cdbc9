"""Fits the weights of `stages/calibration.py` on the tuning half, and the bars that keep each quality there.

`python -m bench.evidence.train_cascade [data folder]` writes src/potluck/stages/cascade.json. Both regressions are fitted
by Newton's method with a small ridge; every set of questions weighs the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from bench.evidence.cascade_data import Case, mmlu, zeroeval
from bench.evidence.claim import TUNE
from bench.gateway.systems import ROOT
from numpy.typing import NDArray

from potluck.stages.calibration import Scale, Weights, gain
from potluck.stages.judge import ballot, signs

OUT = ROOT / "src" / "potluck" / "stages" / "cascade.json"
QUALITIES = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 1.0)
RIDGE = 1e-3
SAFETY = 0.005  # the bar keeps that much more than the quality it is named for: the other half is never quite the same
Floats = NDArray[np.float64]


def seen(case: Case, most: int) -> tuple[tuple[float, ...], bool]:
    """What the stage would see after asking so many cheap models, and whether its candidate is right."""
    found = ballot(case.gists[:most])
    return signs(found, case.question, case.text), case.right[max(0, found.who)]


def fitted(x: Floats, y: Floats, weight: Floats) -> Floats:
    found = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-x @ found))
        slope = x.T @ (weight * (p - y)) + RIDGE * found
        bend = (x * (weight * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
        found -= np.linalg.solve(bend, slope)
    return found


def train(sets: Sequence[Sequence[Case]], made_with: str = "") -> Weights:
    """From the tuning half of each set, which all weigh the same."""
    tune = [[case for case in one if case.half == TUNE] for one in sets]
    plain = Weights(scale(tune, 2), scale(tune, 3), (), made_with)
    found = [(quality, min(largest(plain, one, quality + SAFETY) for one in tune)) for quality in QUALITIES]
    return msgspec.structs.replace(plain, bars=tuple(found))


def scale(sets: Sequence[Sequence[Case]], most: int) -> Scale:
    rows = [(*seen(case, most), case.strong, 1.0 / (len(one) * len(sets))) for one in sets for case in one]
    x = np.array([row[0] for row in rows])
    cheap, strong, weight = (np.array([row[n] for row in rows], float) for n in (1, 2, 3))
    return Scale(*(tuple(map(float, fitted(x, y, weight).round(4))) for y in (cheap, strong)))


class Replay:
    """What a cascade does with questions, for any bar."""

    def __init__(self, weights: Weights, cases: Sequence[Case]) -> None:
        two, all = ([seen(case, most) for case in cases] for most in (2, 3))
        self.gain_two = np.array([gain(weights.two, one) for one, _ in two])
        self.gain_all = np.array([gain(weights.all, one) for one, _ in all])
        self.right_two = np.array([good for _, good in two])
        self.right_all = np.array([good for _, good in all])
        self.strong = np.array([case.strong for case in cases])

    def at(self, bar: float) -> tuple[Floats, Floats, Floats]:
        """Of each question: whether the answer given is right, whether it was escalated, cheap calls it took."""
        early = self.gain_two <= bar
        late = ~early & (self.gain_all <= bar)
        good = np.where(early, self.right_two, np.where(late, self.right_all, self.strong))
        return good.astype(float), (~early & ~late).astype(float), np.where(early, 2.0, 3.0)


def largest(weights: Weights, cases: Sequence[Case], quality: float) -> float:
    """The largest bar that keeps the quality (a share of the strong model's) on these questions; -1 = none does."""
    replay = Replay(weights, cases)
    tried = np.unique(np.concatenate([replay.gain_two, replay.gain_all]).round(4))
    tried = tried[:: max(1, len(tried) // 1000)]
    kept = [float(bar) for bar in tried if replay.at(bar)[0].mean() >= quality * replay.strong.mean()]
    return max(kept, default=-1.0)


def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    sets = [mmlu(data), zeroeval(data, "gsm"), zeroeval(data, "crux")]
    weights = train(sets, f"the tuning half of {sum(map(len, sets))} questions of MMLU-Pro, GSM8K and CRUX")
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(weights), indent=1) + b"\n")
    print(OUT.relative_to(ROOT), weights.bars)


if __name__ == "__main__":
    main()
