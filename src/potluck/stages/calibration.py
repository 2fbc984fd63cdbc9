"""From signs to probabilities, and from a wished quality to the bar that keeps it. Pure, without any library.

Two logistic regressions: how likely the cheap answer is right, and how likely the strong model would be. What
matters is their difference, the *gain* of asking the strong one: where both are wrong, asking it is wasted. A
quality q is kept by the largest bar on the gain at which the cheap answers that pass and the strong answers to the
rest are together at least q times as often right as the strong model alone, on the questions that the weights were
made with. The weights and bars come from `python -m bench.evidence.train_cascade`; feedback moves an offset on top
of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files

import msgspec

LEARN = 0.05  # how far one answer's feedback moves the offset, in log-odds
FARTHEST = 3.0  # log-odds the offset may move
SCARCE = 0.25  # share of the strong model's day below which the bar rises


class Scale(msgspec.Struct, frozen=True):
    """Weights of `judge.SIGNS` in two regressions: is the cheap answer right, would the strong one be."""

    cheap: tuple[float, ...]
    strong: tuple[float, ...]


class Weights(msgspec.Struct, frozen=True):
    """A scale after two cheap answers and one after all. `bars` are (quality, largest gain at which the cheap answer
    is kept), by rising quality."""

    two: Scale
    all: Scale
    bars: tuple[tuple[float, float], ...]
    made_with: str = ""

    def scale(self, asked: int) -> Scale:
        return self.two if asked <= 2 else self.all


def shipped() -> Weights:
    raw = files("potluck.stages").joinpath("cascade.json").read_bytes()
    return msgspec.json.decode(raw, type=Weights)


def chance(weights: Sequence[float], signs: Sequence[float], offset: float = 0.0) -> float:
    """Logistic regression."""
    total = offset + sum(weight * sign for weight, sign in zip(weights, signs, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))


def gain(scale: Scale, signs: Sequence[float], offset: float = 0.0) -> float:
    """What asking the strong model would add to the probability of a right answer, -1..1."""
    return chance(scale.strong, signs) - chance(scale.cheap, signs, offset)


def bar(weights: Weights, quality: float, room: float = 1.0) -> float:
    """The gain up to which the cheap answer is kept. `room` is the free share of the strong model's tightest quota:
    below SCARCE the bar rises towards 1, at which nothing is escalated.
    """
    kept = [most for wished, most in weights.bars if wished >= quality]
    most = kept[0] if kept else -1.0
    want = max(0.0, 1.0 - max(0.0, room) / SCARCE)
    return most + (1.0 - most) * want * want


def moved(offset: float, signs: Sequence[float], scale: Scale, good: bool) -> float:
    """The offset after one answer was said to be right or wrong: one step of stochastic gradient descent."""
    step = LEARN * (float(good) - chance(scale.cheap, signs, offset))
    return max(-FARTHEST, min(FARTHEST, offset + step))
