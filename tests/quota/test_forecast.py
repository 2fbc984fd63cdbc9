"""When a quota runs out and when it returns: against a clock that stands still and spends that are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.quota.forecast import DAY, HOUR, Forecast, Pace, Profile, forecast, look
from potluck.quota.ledger import Ledger
from potluck.quota.memory import MemoryStore
from potluck.quota.pace import Paces
from potluck.quota.state import Rule, State, spend
from potluck.types import Target, Usage, Window
from tests.quota.conftest import NOON, Clock, quota, target

FLAT = Profile()
DAYLIGHT = Profile([0.5] * 8 + [1.5] * 12 + [0.5] * 4)  # UTC
PACIFIC = Window("day", zone="America/Los_Angeles")
MIDNIGHT = 1_795_507_200.0  # 2026-11-24 00:00 in Los Angeles, four hours before noon UTC
moments = st.floats(1.7e9, 1.9e9)


class Use:
    """One quota that is used at an even pace, in virtual time."""

    def __init__(self, window: Window, amount: int, profile: Profile = FLAT) -> None:
        self.clock = Clock(MIDNIGHT)
        self.target: Target = target(quota(amount, window))
        self.ledger = Ledger(MemoryStore(), self.clock, worker="one")
        self.paces = Paces(self.clock, worker="one", profile=profile)

    def spend(self, requests: int, every: float) -> Forecast:
        """One request after the other; what is forecast then."""
        for _ in range(requests):
            self.clock.at += every
            self.ledger.reserve(self.target, 0, 0).settle(Usage())
            self.ledger.flush()
            self.paces.forecast(self.ledger.lane(self.target).counters[0])
        self.clock.at += 1.0
        return self.paces.forecast(self.ledger.lane(self.target).counters[0])


@pytest.mark.parametrize("window", [PACIFIC, Window("rolling", DAY), Window("once")])
def test_an_even_pace_is_found_and_carried_on(window: Window) -> None:
    use = Use(window, 100)
    seen = use.spend(60, 60.0)  # one a minute, so 40 minutes are left
    assert seen.rate * HOUR == pytest.approx(60, rel=0.25)
    assert seen.runs_out_at - use.clock.at == pytest.approx(40 * 60, rel=0.3)
    assert seen.risk > 0.99


@pytest.mark.parametrize("window", [PACIFIC, Window("rolling", DAY)])
def test_a_pace_that_leaves_some_over_runs_out_never(window: Window) -> None:
    seen = Use(window, 1000).spend(20, 600.0)
    assert seen.runs_out_at == math.inf
    assert seen.risk < 0.01


def test_a_quota_near_its_reset_is_free_although_little_is_left() -> None:
    use = Use(PACIFIC, 60)
    use.clock.at = MIDNIGHT + 18 * HOUR
    early = use.spend(50, 300.0)  # until 22:10; 12 an hour, 10 left
    assert early.runs_out_at < MIDNIGHT + DAY
    assert early.risk > 0.8
    use.clock.at = MIDNIGHT + DAY - 600
    late = use.paces.forecast(use.ledger.lane(use.target).counters[0])
    assert late.runs_out_at == math.inf
    assert late.risk < 0.05


def test_a_minute_that_gives_back_in_time_is_no_scarcity() -> None:
    assert Use(Window("rolling", 60), 30).spend(20, 5.0).risk < 0.05
    assert Use(Window("rolling", 60), 30).spend(29, 1.0).risk > 0.5


def test_what_is_gone_runs_out_now_and_says_when_it_returns() -> None:
    use = Use(PACIFIC, 5)
    seen = use.spend(5, 60.0)
    assert seen.runs_out_at <= use.clock.at
    assert seen.returns_at == pytest.approx(MIDNIGHT + DAY, abs=2)


def test_a_one_time_credit_never_returns() -> None:
    assert Use(Window("once"), 50).spend(10, 60.0).returns_at == math.inf


def test_after_a_reset_the_pace_goes_on_and_the_count_starts_over() -> None:
    rule, state = Rule(quota(100, PACIFIC)), State()
    pace = look(Pace(), state, rule, 0, FLAT, MIDNIGHT + 1)
    for minute in range(1, 121):
        pace = look(pace, state, rule, minute, FLAT, MIDNIGHT + 60.0 * minute)
    before = pace.rate
    pace = look(pace, state, rule, 60, FLAT, MIDNIGHT + 180 * 60.0)  # 60 were spent since, in a new day
    assert pace.rate == pytest.approx(before, rel=0.1)


def test_hours_that_are_usually_quiet_let_a_quota_last_longer() -> None:
    rule, state = Rule(quota(100, Window("day"))), State()
    spend(state, rule, NOON + 12 * HOUR, 40)
    evening = NOON + 8 * HOUR
    pace = Pace(spent=60.0, mass=3 * HOUR, at=evening)
    flat = forecast(pace, state, rule, 60, FLAT, evening).runs_out_at
    quiet = forecast(pace, state, rule, 60, DAYLIGHT, evening).runs_out_at
    assert flat < quiet


def test_a_quota_that_would_run_out_on_an_even_day_may_outlast_a_quiet_night() -> None:
    rule, state = Rule(quota(100, Window("day"))), State()
    evening = NOON + 8 * HOUR
    pace = Pace(spent=60.0, mass=3 * HOUR, at=evening)  # 20 in an average hour, and four hours to go
    even = forecast(pace, state, rule, 70, FLAT, evening)
    quiet = forecast(pace, state, rule, 70, DAYLIGHT, evening)
    assert even.runs_out_at < quiet.runs_out_at == math.inf
    assert quiet.risk < 0.1 < 0.6 < even.risk


def test_busy_hours_are_learnt_and_little_evidence_hardly_moves_them() -> None:
    assert Profile.of([0.0] * 24).hours == (1.0,) * 24
    much, little = Profile.of([100.0] + [0.0] * 23), Profile.of([1.0] + [0.0] * 23)
    assert much.hours[0] > 10 > 2 > little.hours[0] > 1
    assert sum(much.hours) == pytest.approx(24)


@given(moments, st.floats(0, 40 * DAY))
def test_reaching_what_lies_between_two_moments_leads_from_one_to_the_other(
    start: float, length: float
) -> None:
    for profile in (FLAT, DAYLIGHT):
        mass = profile.between(start, start + length)
        assert profile.reach(start, mass) == pytest.approx(start + length, abs=1e-2)


@given(moments, st.floats(0, 10 * DAY), st.floats(0, 10 * DAY))
def test_business_adds_up(start: float, first: float, second: float) -> None:
    middle, end = start + first, start + first + second
    parts = DAYLIGHT.between(start, middle) + DAYLIGHT.between(middle, end)
    assert parts == pytest.approx(DAYLIGHT.between(start, end), abs=1e-2)


def test_an_untouched_quota_has_no_price_and_no_end() -> None:
    use = Use(PACIFIC, 5)
    lane = use.ledger.lane(use.target)
    assert use.paces.bid(lane, 100, 100) == 0.0
    assert use.paces.forecast(lane.counters[0]).runs_out_at == math.inf


def test_a_scarce_quota_bids_more_for_a_bulky_request() -> None:
    use = Use(Window("day", zone="UTC"), 100)
    tokens = target(quota(20_000, PACIFIC, unit="tokens"), id="acme/tokens")
    for _ in range(15):
        use.clock.at += 60.0
        use.paces.bid(use.ledger.lane(tokens), 500, 500)
        use.ledger.reserve(tokens, 500, 500).settle(Usage(500, 500))
        use.ledger.flush()
    use.clock.at += 120.0
    lane = use.ledger.lane(tokens)
    assert use.paces.bid(lane, 1500, 1500) > use.paces.bid(lane, 500, 500) > 0.5
