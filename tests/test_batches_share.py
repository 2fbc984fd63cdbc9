"""What a batch may take: the surplus before a reset, all of it as its deadline nears, little while others ask."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from potluck.app.batches_room import shares
from potluck.app.batches_share import EARLY, Standing, kept_share, needs, places, start_now
from potluck.store.reports import Demand

DAY = 86_400.0
amounts = st.floats(0, 1e6)


def test_what_interactive_demand_will_need_is_left_and_the_surplus_is_spent() -> None:
    standing = Standing(left=100, rate=0.01, returns_at=6_000)
    assert start_now((standing,), now=0, lines=500, kept=1.0) == 40


def test_the_same_quota_has_more_to_spare_just_before_its_reset() -> None:
    standing = Standing(left=100, rate=0.01, returns_at=6_000)
    assert start_now((standing,), now=5_900, lines=500, kept=1.0) == 99


def test_one_line_goes_while_somebody_is_served_and_none_while_somebody_waits() -> None:
    assert places(busy=0, waiting=0, kept=1.0, most=8) == 8
    assert places(busy=3, waiting=0, kept=1.0, most=8) == 1
    assert places(busy=3, waiting=1, kept=0.0, most=8) == 0
    assert places(busy=3, waiting=0, kept=0.0, most=8) == 8


def test_with_the_deadline_near_everything_needed_is_taken() -> None:
    standing = Standing(left=100, rate=1.0, returns_at=math.inf)
    far, near = (kept_share(now=now, needs=60, deadline=DAY) for now in (0, DAY - 60))
    assert start_now((standing,), now=0, lines=80, kept=far) == 0
    assert start_now((standing,), now=DAY - 60, lines=80, kept=near) == 80


def test_a_batch_that_the_quotas_cannot_finish_in_time_still_leaves_the_first_half_alone() -> None:
    needed = needs(lines=100_000, each=1.0, most=8, speed=0.01, window=DAY)
    assert needed == EARLY * DAY
    assert kept_share(now=0, needs=needed, deadline=DAY) == 1.0


@given(amounts, amounts, amounts, st.integers(0, 9_000), st.floats(0, 1))
def test_it_never_takes_more_than_is_left_or_wanted(
    left: float, rate: float, back: float, lines: int, kept: float
) -> None:
    assert 0 <= start_now((Standing(left, rate, back),), now=0, lines=lines, kept=kept) <= min(lines, left)


def test_what_batches_spent_is_not_taken_for_interactive_demand() -> None:
    demand = [Demand("a", True, 0, 30), Demand("a", False, 0, 10), Demand("b", True, 0, 60)]
    found = shares({"q": (DAY, ("a", "b")), "only-a": (DAY, ("a",)), "none": (DAY, ("c",))}, demand)
    assert found == {"q": 0.9, "only-a": 0.75}


def test_of_a_short_window_only_the_latest_demand_counts() -> None:
    demand = [Demand("a", True, 30, 1_000), Demand("a", False, 0, 10)]
    assert shares({"minute": (60.0, ("a",))}, demand)["minute"] < 1e-6
