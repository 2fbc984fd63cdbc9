"""What a batch may take: the surplus before a reset, all of it as its deadline nears, nothing while others ask."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from potluck.app.batches_share import Standing, start_now

DAY = 86_400.0
amounts = st.floats(0, 1e6)


def test_what_interactive_demand_will_need_is_left_and_the_surplus_is_spent() -> None:
    standing = Standing(left=100, rate=0.01, returns_at=6_000)
    assert start_now((standing,), now=0, lines=500, needs=60, deadline=DAY, busy=0) == 40


def test_the_same_quota_has_more_to_spare_just_before_its_reset() -> None:
    standing = Standing(left=100, rate=0.01, returns_at=6_000)
    assert start_now((standing,), now=5_900, lines=500, needs=60, deadline=DAY, busy=0) == 99


def test_nothing_starts_while_somebody_interactive_is_served() -> None:
    assert start_now((), now=0, lines=5, needs=1, deadline=DAY, busy=1) == 0


def test_with_the_deadline_near_everything_needed_is_taken() -> None:
    standing = Standing(left=100, rate=1.0, returns_at=math.inf)
    assert start_now((standing,), now=0, lines=80, needs=60, deadline=DAY, busy=0) == 0
    assert start_now((standing,), now=DAY - 60, lines=80, needs=60, deadline=DAY, busy=0) == 80


@given(amounts, amounts, amounts, st.integers(0, 9_000), amounts, amounts)
def test_it_never_takes_more_than_is_left_or_wanted(
    left: float, rate: float, back: float, lines: int, needs: float, deadline: float
) -> None:
    found = start_now(
        (Standing(left, rate, back),), now=0, lines=lines, needs=needs, deadline=deadline, busy=0
    )
    assert 0 <= found <= min(lines, left)
