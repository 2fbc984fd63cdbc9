"""A cascade from 8B to 70B: how much of the strong model's quality is kept, how often it is asked, beside chance.

Replayed question by question through the stage's own judge and scales. The scales and the bar are fitted on the tuning
half of each set of questions, as a profile's are by feedback on its own traffic; the figures are the other half's. What
the scales that ship (fitted on all three sets together) would have done stands beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from bench.evidence.cascade_data import MMLU_CHEAP, ZERO, Case, mmlu, zeroeval
from bench.evidence.claim import REPORT, TUNE, Claim, Say, interval, percent
from bench.evidence.train_cascade import SAFETY, Floats, Replay, largest, train

from potluck.stages.calibration import Weights, shipped

SETS: dict[
    str, tuple[Callable[[Path], list[Case]], float, float]
] = {  # quality to keep, most that may escalate
    "GSM8K": (lambda data: zeroeval(data, "gsm"), 0.995, 0.20),
    "MMLU-Pro": (mmlu, 0.97, 0.60),
    "CRUX": (
        lambda data: zeroeval(data, "crux"),
        0.95,
        1.0,
    ),  # no bar in the field: shown for where it does not hold
}
CLAIMED = ("GSM8K", "MMLU-Pro")
RESAMPLES = 1000


def measure(data: Path, say: Say) -> Claim:
    rows, figures, met = replayed(data, say)
    return Claim(
        name="cascade",
        claim="a cascade from 8B to 70B keeps the strong model's quality",
        data=f"{sum(f['questions'] for f in figures.values())} held-out questions of MMLU-Pro, GSM8K and CRUX, replayed",
        bar="GSM8K: 99.5% with at most 20% escalated; MMLU-Pro: 97% with at most 60%",
        found="; ".join(
            f"{name}: {figures[name]['quality']:.1%} with {figures[name]['escalated']:.1%}"
            for name in CLAIMED
        ),
        met=met,
        figures=figures,
        tables=[
            (
                "Quality is the share of right answers relative to the strong model's own.",
                (
                    "questions",
                    "kept",
                    "escalated",
                    "random at that rate",
                    "small alone",
                    "cheap calls each",
                    "shipped scales",
                    "",
                ),
                rows,
            ),
            ("Quality by share escalated, with a bar set for each:", *_curves(figures)),
        ],
        limits=_limits(figures),
    )


def replayed(data: Path, say: Say) -> tuple[list[list[str]], dict[str, dict[str, object]], bool]:
    """Rows for people, figures for scripts, and whether every claimed bar is met."""
    rows, figures, met = [], {}, True
    for name, (read, quality, most) in SETS.items():
        cases = read(data)
        tune, report = ([case for case in cases if case.half == part] for part in (TUNE, REPORT))
        weights = train([cases])
        bar = largest(weights, tune, quality + SAFETY)
        found = figure(weights, report, bar)
        found["shipped"] = figure(shipped(), report, largest(shipped(), tune, quality + SAFETY))
        found["curve"] = curve(weights, report)
        figures[name] = {**found, "questions": len(report), "wished": quality, "may_escalate": most}
        good = found["quality"] >= quality and found["escalated"] <= most
        met &= good or name not in CLAIMED
        rows.append(row(name, found, quality, most, good if name in CLAIMED else None))
        say(f"  {name}: {found['quality']:.1%} of the strong model at {found['escalated']:.1%} escalated")
    return rows, figures, met


def figure(weights: Weights, cases: Sequence[Case], bar: float) -> dict[str, object]:
    replay = Replay(weights, cases)
    good, escalated, calls = replay.at(bar)
    strong = replay.strong.astype(float)
    first = np.array([case.right[0] for case in cases], float)
    rate = float(escalated.mean())
    return {
        "bar": bar,
        "quality": float(good.mean() / strong.mean()),
        "quality_interval": ratio(good, strong),
        "escalated": rate,
        "escalated_interval": interval(list(escalated))[1:],
        "random": float((rate * strong + (1 - rate) * first).mean() / strong.mean()),
        "small": float(first.mean() / strong.mean()),
        "strong_accuracy": float(strong.mean()),
        "cheap_calls": float(calls.mean()),
    }


def ratio(good: Floats, strong: Floats, seed: int = 7) -> tuple[float, float]:
    """The 95% interval of a ratio of means over the same questions, by paired bootstrap."""
    chance, found = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        pick = chance.integers(0, len(good), len(good))
        found.append(good[pick].mean() / strong[pick].mean())
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def curve(weights: Weights, cases: Sequence[Case]) -> list[tuple[float, float]]:
    """(share escalated, quality) for bars from generous to strict."""
    replay = Replay(weights, cases)
    found = []
    for bar in np.linspace(-0.1, 0.6, 71):
        good, escalated, _ = replay.at(float(bar))
        found.append((float(escalated.mean()), float(good.mean() / replay.strong.mean())))
    return found


def row(name: str, found: dict[str, object], quality: float, most: float, good: bool | None) -> list[str]:
    low, high = msgspec.convert(found["quality_interval"], tuple[float, float])
    other = msgspec.convert(found["shipped"], dict[str, object])
    return [
        name,
        percent((float(str(found["quality"])), low, high)),
        f"{found['escalated']:.1%}",
        f"{found['random']:.1%}",
        f"{found['small']:.1%}",
        f"{found['cheap_calls']:.2f}",
        f"{other['quality']:.1%} at {other['escalated']:.1%}",
        "" if good is None else "met" if good else "**missed**",
    ]


def _curves(figures: dict[str, dict[str, object]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    shares = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    rows = []
    for name, found in figures.items():
        points = msgspec.convert(found["curve"], list[tuple[float, float]])
        rows.append(
            [name, *(f"{max((q for e, q in points if e <= share), default=0.0):.1%}" for share in shares)]
        )
    return ("questions", *(f"≤ {share:.0%}" for share in shares)), rows


def _limits(figures: dict[str, dict[str, object]]) -> list[str]:
    crux, mmlu_pro = figures["CRUX"], figures["MMLU-Pro"]
    return [
        f"CRUX (predict what a program returns): at a bar set for 95%, {crux['quality']:.1%} is kept with "
        f"{crux['escalated']:.0%} escalated. Small models that agree there are often wrong together.",
        f"MMLU-Pro: what held on the tuning half keeps {mmlu_pro['quality']:.1%} on the other.",
        f"A cheap answer takes {mmlu_pro['cheap_calls']:.1f} cheap calls on MMLU-Pro: it spares the strong model's quota, "
        "not the number of calls.",
        f"Cheap models: {', '.join(MMLU_CHEAP)} (MMLU-Pro), {', '.join(ZERO['cheap'])} (the others); which agree matters "
        "as much as how large they are.",
        "GSM8K and CRUX come as extracted answers: a live judge must find them in the text first.",
    ]
