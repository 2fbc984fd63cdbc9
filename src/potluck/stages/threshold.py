"""How near is near enough: learned from hits and misses that were confirmed, so that an error rate holds. Pure.

The idea is vCache's (Schroeder et al. 2025, arXiv:2502.03771): no global similarity, but the probability that a stored
answer is right, learned online by a logistic regression, and a bound on the error that the user sets. Two changes, both
measured (docs/decisions/cache.md): what is learned from one neighbourhood helps all others (a common slope, with an
offset of its own for each neighbourhood that shrinks to none where little is known), and besides the similarity it
sees whether the neighbours agree. A miss tells for free whether the candidate would have been right: nothing is asked
only to explore, except the share of hits that is checked.

Rules: `error_rate` bounds the mean over what is served, not each hit: the threshold is the lowest probability at which
the expected errors of the latest candidates at or above it stay within the rate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import exp

import msgspec

WINDOW = 400  # latest candidates by which the threshold is set
FLOOR = 0.5  # nothing less likely than that is served, whatever the rate allows
NEIGHBOURHOODS = 20_000  # of which an offset is remembered; what was not met for longest goes

# Before anything is learned: intercept, similarity, share of votes, lead over other answers, likeness to all that gave
# the answer, lead of that. Fitted to the tuning half of Banking77; some 100 confirmed answers outweigh it.
PRIOR = (-6.0, 6.0, 4.0, 3.0, 0.0, 0.0)
SPREAD = 4.0  # variance of each at the start
OWN_SPREAD = 1.0  # variance of a neighbourhood's offset before it was met


class Near(msgspec.Struct, frozen=True):
    """The best candidate for a question: `group` names the answer, `seen` is what the probability depends on."""

    group: bytes
    seen: tuple[float, ...]

    @classmethod
    def of(
        cls, similarity: float, votes: float, lead: float, likeness: float, like_lead: float, group: bytes
    ) -> Near:
        return cls(group, (1.0, similarity, votes, lead, likeness, like_lead))


class State(msgspec.Struct):
    """What was learned, to be kept over restarts."""

    weights: list[float] = msgspec.field(default_factory=lambda: list(PRIOR))
    spread: list[list[float]] = msgspec.field(
        default_factory=lambda: [[SPREAD * (i == j) for j in range(len(PRIOR))] for i in range(len(PRIOR))]
    )
    latest: list[float] = []
    confirmed: int = 0


class Threshold:
    """One of a gateway. `state` may be written down at any time; offsets of neighbourhoods are learned anew."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self._own: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # group -> offset, its variance

    def probability(self, near: Near) -> float:
        """That the candidate's answer is right."""
        offset = self._own.get(near.group, (0.0, 0.0))[0]
        return _sigmoid(sum(w * x for w, x in zip(self.state.weights, near.seen, strict=True)) + offset)

    def serves(self, near: Near, error_rate: float) -> bool:
        """Whether the answer may be given; every candidate is asked about once, since this sets the threshold too."""
        likely = self.probability(near)
        latest = self.state.latest
        latest.append(likely)
        del latest[:-WINDOW]
        return likely >= max(FLOOR, lowest(latest, error_rate))

    def confirm(self, near: Near, right: bool) -> None:
        """One answer that was compared: a step of recursive logistic regression (Spiegelhalter and Lauritzen 1990)."""
        state, x = self.state, near.seen
        likely = self.probability(near)
        curve, miss = likely * (1.0 - likely), float(right) - likely
        along = [sum(row[j] * x[j] for j in range(len(x))) for row in state.spread]
        scale = curve / (1.0 + curve * sum(a * b for a, b in zip(along, x, strict=True)))
        for row, a in zip(state.spread, along, strict=True):
            for j, b in enumerate(along):
                row[j] -= scale * a * b
        step = miss * (1.0 - scale * sum(a * b for a, b in zip(along, x, strict=True)))
        state.weights = [w + step * a for w, a in zip(state.weights, along, strict=True)]
        offset, variance = self._own.pop(near.group, (0.0, OWN_SPREAD))
        variance = variance / (1.0 + variance * curve)
        self._own[near.group] = (offset + variance * miss, variance)
        while len(self._own) > NEIGHBOURHOODS:
            self._own.popitem(last=False)
        state.confirmed += 1


def lowest(latest: Sequence[float], error_rate: float) -> float:
    """The lowest probability to serve at, so that those at or above it err by `error_rate` in the mean; 2.0 = none."""
    found, errors = 2.0, 0.0
    for count, likely in enumerate(sorted(latest, reverse=True), 1):
        errors += 1.0 - likely
        if errors <= error_rate * count:
            found = likely
    return found


def _sigmoid(value: float) -> float:
    if value >= 0.0:
        return 1.0 / (1.0 + exp(-min(value, 500.0)))
    grown = exp(max(value, -500.0))
    return grown / (1.0 + grown)
