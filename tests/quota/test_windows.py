"""Every window against a provider that keeps every event and counts them in its own way."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.quota.state import Rule, State, left, settled, spend, tidy
from potluck.quota.windows import next_reset, span
from potluck.types import Window
from tests.quota.conftest import quota

LA = "America/Los_Angeles"
ZONES = st.sampled_from(["UTC", LA, "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Beirut"])
TIMES = st.floats(1.70e9, 1.90e9)


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def same_period(window: Window, a: float, b: float) -> bool:
    """What a provider with a calendar would say, told by dates and not by boundaries."""
    zone = ZoneInfo(window.zone)
    x, y = datetime.fromtimestamp(a, zone), datetime.fromtimestamp(b, zone)
    if window.kind == "month":
        return (x.year, x.month) == (y.year, y.month)
    if window.kind == "fixed":
        x0, y0 = (t.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp() for t in (x, y))
        same = int((a - x0) // window.seconds) == int((b - y0) // window.seconds)
        return x.date() == y.date() and same
    return x.date() == y.date()


@given(TIMES, st.lists(st.floats(0, 30), max_size=60), st.sampled_from([5, 1000, 2000]))
def test_a_rolling_count_is_never_below_the_providers(start: float, gaps: list[float], amount: int) -> None:
    rule, state, now = Rule(quota(amount, Window("rolling", 60))), State(), start
    events: list[float] = []
    for gap in gaps:
        now += gap
        tidy(state, rule, now)
        theirs = sum(now - 60 <= event <= now for event in events)
        assert settled(state, rule, now) >= theirs
        spend(state, rule, rule.span(now)[0], 1)
        events.append(now)
    tidy(state, rule, now + 60 * (1 + 1 / 128) + 0.01)
    assert settled(state, rule, now) == 0, "and it forgets within 1% of the window"


@given(TIMES, st.lists(st.floats(0, 40_000), max_size=40), ZONES, st.sampled_from(["day", "month", "fixed"]))
def test_a_calendar_count_is_never_below_the_providers(
    start: float, gaps: list[float], zone: str, kind: str
) -> None:
    window = Window(kind, 3600.0 * 6, zone)  # type: ignore[arg-type]
    rule, state, now = Rule(quota(10, window)), State(), start
    events: list[float] = []
    for gap in gaps:
        now += gap
        tidy(state, rule, now)
        for skew in (-0.9, 0.0, 0.9):  # the provider's clock is not ours
            theirs = sum(same_period(window, event + skew, now + skew) for event in events)
            assert settled(state, rule, now) >= theirs
        spend(state, rule, rule.span(now)[0], 1)
        events.append(now)


@given(TIMES, ZONES, st.sampled_from(["day", "month", "fixed"]))
def test_a_reset_is_the_first_moment_of_another_period(now: float, zone: str, kind: str) -> None:
    window = Window(kind, 3600.0 * 6, zone)  # type: ignore[arg-type]
    edge = next_reset(window, now)
    assert edge > now
    assert same_period(window, now, edge - 0.001)
    assert not same_period(window, now, edge + 0.001)


@given(TIMES, st.lists(st.tuples(st.floats(0, 20), st.integers(1, 9)), max_size=50))
def test_a_refilling_bucket_is_never_overdrawn(start: float, takes: list[tuple[float, int]]) -> None:
    rule, state, now, level, filled = Rule(quota(30, Window("refill", 60))), State(), start, 30.0, start
    for gap, n in takes:
        now += gap
        tidy(state, rule, now)
        if left(state, rule, now) < n:
            continue
        level, filled = min(30.0, level + (now - filled) * 0.5), now
        level -= n
        assert level > -1e-5
        spend(state, rule, now, n)
    tidy(state, rule, now + 60)
    assert left(state, rule, now + 60) == 30


@given(TIMES, st.lists(st.tuples(st.floats(0.5, 20), st.integers(1, 9)), max_size=50))
def test_a_refilling_bucket_wastes_less_than_one_unit(start: float, takes: list[tuple[float, int]]) -> None:
    rule, state, now, level, filled = Rule(quota(30, Window("refill", 60))), State(), start, 30.0, start
    for gap, n in takes:
        now += gap
        level, filled = min(30.0, level + (now - filled) * 0.5), now
        tidy(state, rule, now)
        assert left(state, rule, now) > level - 1 - 1e-5
        if left(state, rule, now) >= n:
            spend(state, rule, now, n)
            level -= n


@pytest.mark.parametrize(
    ("now", "reset", "hours"),
    [
        ("2026-03-08T00:30", "2026-03-09T00:00", 22.5),  # clocks go forward: a day of 23 hours
        ("2026-11-01T00:30", "2026-11-02T00:00", 24.5),  # and back: one of 25
        ("2026-11-24T23:59:58", "2026-11-25T00:00", 2 / 3600),
    ],
)
def test_a_day_ends_at_midnight_in_los_angeles(now: str, reset: str, hours: float) -> None:
    window = Window("day", zone=LA)
    assert next_reset(window, at(now, LA)) == at(reset, LA)
    assert at(reset, LA) - at(now, LA) == pytest.approx(hours * 3600)


def test_a_second_around_a_reset_belongs_to_both_sides() -> None:
    window = Window("day")
    assert span(window, 10, at("2026-11-24T23:59:58"))[0] == at("2026-11-25T00:00:01")
    assert span(window, 10, at("2026-11-24T23:59:59.5"))[0] == at("2026-11-26T00:00:01")


@pytest.mark.parametrize("now", ["2026-02-28T12:00", "2028-02-29T23:00", "2026-12-31T23:59"])
def test_a_month_ends_on_the_first(now: str) -> None:
    reset = datetime.fromtimestamp(next_reset(Window("month"), at(now)), UTC)
    assert (reset.day, reset.hour, reset.minute) == (1, 0, 0)
    assert timedelta(0) < reset - datetime.fromisoformat(now).replace(tzinfo=UTC) <= timedelta(days=1)


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        ("2026-01-30T12:00", "2026-01-31"),
        ("2026-01-31T12:00", "2026-02-28"),
        ("2028-02-01T12:00", "2028-02-29"),
        ("2026-12-31T12:00", "2027-01-31"),
    ],
)
def test_a_month_from_sign_up_on_the_31st_ends_on_short_months_last_day(now: str, reset: str) -> None:
    window = Window("signup_month", anchor=at("2025-08-31"))
    assert next_reset(window, at(now)) == at(reset)


def test_the_sign_ups_day_counts_in_both_months_until_its_hour() -> None:
    window = Window("signup_month", anchor=at("2025-08-10T15:00"))
    assert span(window, 10, at("2026-11-09T20:00"))[0] == pytest.approx(at("2026-11-10T15:00:01"))
    assert span(window, 10, at("2026-11-10T02:00"))[0] == pytest.approx(at("2026-12-10T15:00:01"))


def test_without_a_sign_up_date_any_31_days_count() -> None:
    assert span(Window("signup_month"), 10, 1e9)[0] == pytest.approx(1e9 + 31 * 86_400, abs=0.01)


def test_a_one_time_credit_never_comes_back_and_expires() -> None:
    window = Window("once", anchor=2000.0)
    assert span(window, 10, 1000.0) == (math.inf, math.inf)
    rule = Rule(quota(10, window))
    assert left(State(), rule, 1999.0) == 10
    assert left(State(), rule, 2000.0) == 0


def test_a_week_starts_on_a_monday() -> None:
    reset = datetime.fromtimestamp(next_reset(Window("fixed", 7 * 86_400), at("2026-11-24")), UTC)
    assert (reset.weekday(), reset.day) == (0, 30)


@settings(max_examples=50)
@given(TIMES, ZONES, st.sampled_from(["rolling", "day", "month", "fixed", "signup_month"]), st.floats(0, 1e6))
def test_every_spend_before_last_counts_equally_long(now: float, zone: str, kind: str, part: float) -> None:
    window = Window(kind, 3600.0, zone, anchor=1.6e9)  # type: ignore[arg-type]
    until, last = span(window, 10_000, now)
    assert last > now
    later = now + (last - now) * (part / 1e6) * 0.999
    assert span(window, 10_000, later) == (until, last)
    assert until > later
