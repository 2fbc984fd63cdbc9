"""The counters are exact: they are the measure that the gateway's own arithmetic is held against."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.sim.counters import NEVER, Bucket, Calendar, InFlight, Once, Rolling, counter

moments = st.lists(st.integers(0, 600), min_size=1, max_size=60).map(sorted)


@given(moments, st.integers(1, 5))
def test_no_rolling_window_ever_holds_more_than_its_amount(times: list[int], amount: int) -> None:
    window, accepted = Rolling(amount, 60), []
    for at in times:
        if window.fits(at, 1):
            window.add(at, 1)
            accepted.append(at)
    for start in accepted:
        assert sum(1 for at in accepted if start <= at < start + 60) <= amount


@given(moments, st.integers(1, 5))
def test_a_rolling_window_refuses_only_when_it_is_full(times: list[int], amount: int) -> None:
    window, accepted = Rolling(amount, 60), []
    for at in times:
        if window.fits(at, 1):
            window.add(at, 1)
            accepted.append(at)
        else:
            assert sum(1 for before in accepted if at - 60 < before <= at) == amount


@given(moments, st.integers(1, 5))
def test_the_wait_of_a_rolling_window_is_exact(times: list[int], amount: int) -> None:
    window = Rolling(amount, 60)
    for at in times:
        wait = window.wait(at, 1)
        if wait:
            probe = Rolling(amount, 60)
            probe.entries, probe.total = window.entries.copy(), window.total
            assert not probe.fits(at + wait - 0.001, 1)
            assert probe.fits(at + wait, 1)
        else:
            window.add(at, 1)


def test_an_entry_leaves_a_rolling_window_exactly_after_its_seconds() -> None:
    window = Rolling(1, 60)
    window.add(100, 1)
    assert not window.fits(159.999, 1)
    assert window.fits(160, 1)


@given(moments, st.integers(1, 5))
def test_whoever_obeys_a_rolling_window_never_empties_the_bucket(times: list[int], amount: int) -> None:
    """Why unknown windows are rolling here: it is the strictest reading."""
    window, bucket = Rolling(amount, 60), Bucket(amount, 60)
    for at in times:
        if window.fits(at, 1):
            assert bucket.fits(at, 1)
            window.add(at, 1)
            bucket.add(at, 1)


def test_a_bucket_refills_one_request_of_a_thousand_a_day_in_86_seconds() -> None:
    bucket = Bucket(1000, 86_400)
    bucket.add(0, 1000)
    assert bucket.wait(0, 1) == pytest.approx(86.4)
    assert not bucket.fits(86.3, 1)
    assert bucket.fits(86.4, 1)


def test_the_published_groq_refusal_is_this_buckets_arithmetic() -> None:
    """Limit 200000, Used 197494, Requested 4035: "try again in 11m0.528s" (facts, groq's 429 example)."""
    bucket = Bucket(200_000, 86_400)
    bucket.add(0, 197_494)
    assert bucket.wait(0, 4035) == pytest.approx(660.528)


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-08", 23), ("2026-11-01", 25), ("2026-06-15", 24)],
    ids=["the day the clocks go forward", "the day they go back", "any day"],
)
def test_a_day_in_los_angeles_has_as_many_hours_as_it_has(day: str, hours: int) -> None:
    zone = ZoneInfo("America/Los_Angeles")
    start = datetime.fromisoformat(day).replace(tzinfo=zone).timestamp()
    window = Calendar(1, "day", "America/Los_Angeles")
    window.add(start, 1)
    assert window.full(start) == hours * 3600
    assert not window.fits(start + hours * 3600 - 0.001, 1)
    assert window.fits(start + hours * 3600, 1)


def test_a_month_ends_on_the_first_at_midnight_utc() -> None:
    utc = ZoneInfo("UTC")
    window = Calendar(1, "month", "UTC")
    window.add(datetime(2026, 12, 31, 23, 59, 59, tzinfo=utc).timestamp(), 1)
    first = datetime(2027, 1, 1, tzinfo=utc).timestamp()
    assert not window.fits(first - 0.001, 1)
    assert window.fits(first, 1)


def test_a_correction_replaces_the_estimate_while_it_still_counts() -> None:
    window = Rolling(100, 60)
    entry = window.add(0, 80)
    window.correct(1, entry, 30)
    assert window.used(1) == 30
    window.correct(61, entry, 90)
    assert window.used(61) == 0


def test_what_is_in_flight_counts_until_it_has_left() -> None:
    window = InFlight(1)
    entry = window.add(0, 1)
    assert not window.fits(1_000_000, 1)
    window.correct(1_000_000, entry, 0)
    assert window.fits(1_000_000, 1)


def test_what_is_given_once_never_comes_back() -> None:
    window = Once(5)
    window.add(0, 5)
    assert window.wait(10**10, 1) == NEVER


def test_an_unknown_window_is_an_error_and_not_no_limit() -> None:
    with pytest.raises(ValueError, match="unknown window 'weekly'"):
        counter("weekly", 5)
