"""Numbers as people read them."""

from __future__ import annotations

import math
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from potluck.cli import quota, show


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (0.2, "1s"),
        (59.1, "1m"),
        (252, "4m 12s"),
        (3_600, "1h"),
        (86_399, "23h 59m"),
        (273_600, "3d 4h"),
        (math.inf, "never"),
        (-5, "now"),
    ],
)
def test_a_duration_has_its_two_biggest_units(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (7, "", "7"),
        (1000, "requests", "1,000"),
        (14_400, "requests", "14.4k"),
        (250_000, "tokens", "250k"),
        (2_500_000, "tokens", "2.5M"),
        (1_000_000_000, "tokens", "1B"),
        (100_000, "credits", "$0.10"),
        (1, "credits", "$0.0000"),
        (0, "credits", "$0.00"),
    ],
)
def test_an_amount_is_short(value: float, unit: str, text: str) -> None:
    assert show.amount(value, unit) == text


@given(st.floats(allow_nan=False), st.integers(1, 40))
def test_a_bar_is_as_wide_as_it_should_be_and_empty_only_when_nothing_is_left(
    share: float, width: int
) -> None:
    plain = Text.from_markup(show.bar(share, width)).plain
    assert len(plain) == width
    assert ("█" in plain) == (share > 0)


@given(st.floats(min_value=0, max_value=1e8))
def test_a_duration_never_shows_more_than_two_units(seconds: float) -> None:
    assert 1 <= len(show.duration(seconds).split()) <= 2


def state(scope: str, **changes: object) -> dict[str, object]:
    return {
        "scope": scope,
        "label": "requests/day",
        "unit": "requests",
        "amount": 10,
        "used": 0,
        "held": 0,
        "left": 10,
        "resets_at": 0.0,
        "closed_until": 0.0,
        "why": "",
        "learned": False,
        **changes,
    }


def test_what_is_used_or_closed_is_shown_and_of_an_idle_provider_the_tightest() -> None:
    states = [
        state("a/x", used=1),
        state("a/y"),
        state("b/x", amount=5),
        state("b/y"),
        state("c/x", closed_until=None),
        state("c/y"),
    ]
    assert [s["scope"] for s in quota.touched(states)] == ["a/x", "b/x", "c/x"]


def test_money_is_shown_in_dollars_as_what_is_spent_left_and_allowed() -> None:
    budget = state(
        "a/budget", label="budget/day", unit="credits", amount=2_500_000, used=1_250_000, left=1_200_000
    )
    console = Console(width=100, file=StringIO(), color_system=None)
    console.print(quota.render([budget], 0.0))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("budget/day", "$1.25 spent", "$1.20", "$2.50"):
        assert words in text
