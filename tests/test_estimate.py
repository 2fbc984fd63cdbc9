"""What a prompt will cost: an estimate that learns, and is hardly ever too low."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from potluck.estimate import HIGHEST, LOWEST, SLACK, Estimates
from tests.house import house


def trained(ratio: float, scatter: float, requests: int, seed: int = 1) -> Estimates:
    """A family whose provider counts `ratio` times the measure, give or take."""
    chance, estimates = random.Random(seed), Estimates()
    for _ in range(requests):
        measured = chance.randint(50, 4000)
        estimates.learn(
            "m", measured, round(measured * chance.gauss(ratio, scatter)), chance.randint(10, 200)
        )
    return estimates


def test_an_unknown_family_is_taken_at_its_measure() -> None:
    assert Estimates().tokens_in("m", 100) == 100
    assert Estimates().tokens_out("m", 512) == 512


def test_a_family_that_counts_more_is_held_higher_at_once() -> None:
    estimates = trained(1.6, 0.05, 60)
    assert estimates.tokens_in("m", 1000) >= 1500


def test_a_family_that_counts_less_is_held_lower_in_time() -> None:
    assert trained(0.7, 0.03, 30).tokens_in("m", 1000) < 900


def test_what_was_learned_is_too_low_for_hardly_any_request() -> None:
    for ratio in (0.7, 1.0, 1.5):
        estimates, chance = trained(ratio, 0.08, 3000), random.Random(2)
        low = 0
        for _ in range(2000):
            measured = chance.randint(50, 4000)
            low += estimates.tokens_in("m", measured) < measured * chance.gauss(ratio, 0.08)
        assert low / 2000 < 0.005


def test_an_answer_without_a_limit_is_held_as_long_as_answers_of_its_family_are() -> None:
    assert 180 <= trained(1.0, 0.05, 2000).tokens_out("m", 512) <= 260


def test_families_do_not_learn_from_each_other() -> None:
    estimates = trained(1.6, 0.05, 60)
    assert estimates.tokens_in("other", 1000) == 1000


def test_what_was_learned_survives_and_what_is_broken_is_learned_again() -> None:
    estimates = trained(1.6, 0.05, 60)
    again = Estimates()
    again.load(estimates.dump())
    assert again.tokens_in("m", 1000) == estimates.tokens_in("m", 1000)
    again.load(b'{"m": 3}')
    assert again.tokens_in("m", 1000) == 1000


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(-5, 10**9), st.integers(-5, 10**9)), max_size=60)
)
def test_whatever_a_provider_reports_the_estimate_stays_within_its_bounds(
    reports: list[tuple[int, int, int]],
) -> None:
    estimates = Estimates()
    for measured, given_, made in reports:
        estimates.learn("m", measured, given_, made)
    assert LOWEST * 1000 <= estimates.tokens_in("m", 1000) <= HIGHEST * 1000 + SLACK
    assert estimates.tokens_out("m", 512) >= 1


async def test_the_gateway_learns_from_what_is_settled_and_remembers_it(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as home:
        for _ in range(5):
            assert (await home.chat("groq/openai/gpt-oss-120b")).status_code == 200
        learned = home.gateway.estimates.families()
        assert list(learned) == ["gpt-oss-120b"]
        assert learned["gpt-oss-120b"].output.seen == 5
    async with house(tmp_path, ["groq"]) as home:
        assert home.gateway.estimates.families()["gpt-oss-120b"].output.seen == 5
