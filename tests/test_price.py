"""The shadow price: risk, bids and charges are pure arithmetic, so what they promise is checked as properties."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.price import BULKY, CHOOSY, bid, charges, risk

amounts = st.floats(0.01, 1e6)
offers = st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1)), min_size=1, max_size=20)


@given(amounts, amounts, st.floats(0.01, 100), st.floats(0, 1e4))
def test_a_risk_is_a_probability(expected: float, supply: float, size: float, evidence: float) -> None:
    assert 0.0 <= risk(expected, supply, size, evidence) <= 1.0


@given(amounts, amounts, amounts)
def test_more_left_is_never_a_higher_risk(expected: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert risk(expected, low) >= risk(expected, high)


def test_what_nobody_asks_for_has_no_risk_and_what_is_gone_has_all() -> None:
    assert risk(0.0, 5.0) == 0.0
    assert risk(5.0, 0.0) == 1.0


@pytest.mark.parametrize(("expected", "supply"), [(20, 25), (50, 40), (100, 110), (10, 10)])
def test_the_risk_is_near_that_of_simulated_demand(expected: float, supply: float) -> None:
    chance, over, rounds = random.Random(1), 0, 4000
    for _ in range(rounds):
        demand, at = 0.0, chance.expovariate(expected)
        while at < 1.0:
            demand += chance.expovariate(1.0)  # sizes of mean 1
            at += chance.expovariate(expected)
        over += demand > supply
    assert risk(expected, supply) == pytest.approx(over / rounds, abs=0.08)


def test_little_evidence_makes_a_comfortable_supply_less_certain() -> None:
    assert risk(50, 80, evidence=1) > risk(50, 80, evidence=100)


def test_a_bulky_request_bids_more_but_never_without_bound() -> None:
    assert bid(0.5, 10, 10) == 0.5
    assert bid(0.5, 20, 10) == 1.0
    assert bid(0.5, 5, 10) == 0.25
    assert bid(0.5, 1e9, 10) == 0.5 * BULKY


def test_the_last_of_its_kind_costs_nearly_all_it_is_worth() -> None:
    assert charges([(4, 1.0)]) == [4.0]


def test_an_equal_with_room_beside_it_makes_it_free() -> None:
    assert charges([(4, 1.0), (4, 0.0)]) == [0.0, 0.0]


def test_an_equal_that_is_as_scarce_is_no_alternative() -> None:
    both = charges([(4, 0.9), (4, 0.9)])
    assert both == pytest.approx([0.9 * (4 - 4 * 0.1)] * 2)


def test_nobody_is_an_alternative_to_itself() -> None:
    assert charges([(4, 0.5), (2, 0.0)])[0] == pytest.approx(0.5 * (2 + CHOOSY * 2))


def test_a_scarce_good_one_yields_to_a_plentiful_worse_one() -> None:
    dear, cheap = charges([(4, 0.95), (2, 0.0)])
    assert 4 - dear < 2 - cheap


def test_a_quota_that_will_not_run_out_is_used_however_good_it_is() -> None:
    dear, cheap = charges([(5, 0.02), (2, 0.0)])
    assert 5 - dear > 2 - cheap


@given(offers)
def test_no_charge_is_negative_or_more_than_what_the_pickiest_would_lose(
    rows: list[tuple[int, float]],
) -> None:
    for (quality, taken), charge in zip(rows, charges(rows), strict=True):
        assert 0.0 <= charge <= CHOOSY * quality * taken + 1e-9
        assert math.isfinite(charge)


@given(offers, st.floats(0, 1))
def test_charges_grow_with_the_risk(rows: list[tuple[int, float]], more: float) -> None:
    quality, taken = rows[0]
    riskier = [(quality, min(1.0, taken + more)), *rows[1:]]
    assert charges(riskier)[0] >= charges(rows)[0] - 1e-9


@given(offers)
def test_the_order_of_the_offers_does_not_matter(rows: list[tuple[int, float]]) -> None:
    backwards = charges(rows[::-1])[::-1]
    assert backwards == pytest.approx(charges(rows))
