"""What is learned from confirmed answers keeps the error rate that the user has set."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.stages.threshold import FLOOR, Near, State, Threshold, lowest

shares = st.floats(0, 1, allow_nan=False)


def near(similarity: float, group: bytes = b"g") -> Near:
    return Near.of(similarity, 1.0, 0.2, similarity, 0.2, group)


def played(rate: float, seed: int, questions: int = 6_000) -> tuple[int, int]:
    """Hits and wrong hits of a stream in which each neighbourhood has its own threshold, unknown at the start."""
    chance, threshold = random.Random(seed), Threshold()
    turning = [chance.uniform(0.55, 0.95) for _ in range(40)]
    hits = wrong = 0
    for number in range(questions):
        which = chance.randrange(40)
        similarity = chance.uniform(0.4, 1.0)
        right = chance.random() < 1 / (1 + math.exp(-30 * (similarity - turning[which])))
        found = near(similarity, bytes([which]))
        serves = threshold.serves(found, rate)
        if serves and chance.random() >= 0.03:
            if number > questions // 4:  # when it has seen something
                hits, wrong = hits + 1, wrong + (not right)
        else:
            threshold.confirm(found, right)
    return hits, wrong


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1])
def test_the_error_rate_that_was_set_holds(rate: float) -> None:
    found = [played(rate, seed) for seed in range(3)]
    hits, wrong = (sum(column) for column in zip(*found, strict=True))
    assert wrong / hits <= 1.3 * rate  # the stream is random: three of them err by a fifth of the rate
    assert hits > 1_000, "a threshold that serves nobody keeps every rate"


def test_a_neighbourhood_that_errs_is_trusted_less_and_another_one_hardly() -> None:
    threshold = Threshold()
    for _ in range(10):
        threshold.confirm(near(0.9, b"bad"), False)
        threshold.confirm(near(0.9, b"good"), True)
    assert threshold.probability(near(0.9, b"bad")) < 0.4 < threshold.probability(near(0.9, b"good"))


@given(shares, st.booleans(), st.lists(st.tuples(shares, st.booleans()), max_size=20))
def test_a_confirmed_answer_never_lowers_its_own_probability(
    similarity: float, right: bool, before: list[tuple[float, bool]]
) -> None:
    threshold = Threshold()
    for value, outcome in before:
        threshold.confirm(near(value), outcome)
    found = near(similarity)
    likely = threshold.probability(found)
    threshold.confirm(found, right)
    then = threshold.probability(found)
    assert then >= likely - 1e-9 if right else then <= likely + 1e-9
    assert 0.0 <= then <= 1.0


@given(st.lists(shares, max_size=100), st.floats(0.001, 0.5))
def test_what_is_at_or_above_the_threshold_errs_by_the_rate_at_most(latest: list[float], rate: float) -> None:
    found = lowest(latest, rate)
    served = [1 - likely for likely in sorted(latest, reverse=True) if likely > found]
    assert sum(served) <= rate * len(served) + 1e-9


def test_nothing_unlikely_is_served_whatever_the_rate_allows() -> None:
    threshold = Threshold()
    for _ in range(50):
        threshold.serves(near(1.0), 0.5)
    unlikely = Near.of(0.3, 0.1, -0.5, 0.1, -0.5, b"g")
    assert threshold.probability(unlikely) < FLOOR
    assert not threshold.serves(unlikely, 0.5)


def test_what_was_learned_survives_a_restart() -> None:
    threshold = Threshold()
    for n in range(30):
        threshold.confirm(near(n / 30), n > 20)
    again = Threshold(msgspec.json.decode(msgspec.json.encode(threshold.state), type=State))
    strange = near(0.8, b"never seen")
    assert again.probability(strange) == threshold.probability(strange)
