"""Headers and refusals: how they read, and what they close."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import errors
from potluck.quota.ledger import Full, Ledger
from potluck.quota.observe import count, reset_seconds
from potluck.quota.state import Store
from potluck.types import Behaviour, RateHeader, Target, Usage, Window
from tests.quota.conftest import NOON, Clock, drain, quota, target

MINUTE, LA = Window("rolling", 60), "America/Los_Angeles"
Open = Callable[[], Store]
HEADERS = Behaviour(
    rate_headers=(
        RateHeader("x-limit-day", "limit", "requests", "day"),
        RateHeader("x-left-day", "remaining", "requests", "day"),
        RateHeader("x-left-tokens", "remaining", "tokens", "minute"),
    )
)


def taught(id: str = "acme/m") -> Target:
    quotas = (quota(100, Window("day", zone=LA)), quota(8000, MINUTE, "tokens"), quota(30, MINUTE))
    return target(*quotas, id=id, behaviour=HEADERS)


def ledger_of(store: Store, clock: Clock, worker: str = "a") -> Ledger:
    return Ledger(store, clock, worker=worker, jitter=lambda: 0.0)


@pytest.mark.parametrize(
    ("text", "format", "seconds"),
    [
        ("2m59.56s", "duration", 179.56),
        ("7.66s", "duration", 7.66),
        ("194ms", "duration", 0.194),
        ("1h23m45.6s", "duration", 5025.6),
        ("6m 11.52s", "duration", 371.52),
        ("26.284", "seconds", 26.284),
        ("60", "seconds", 60.0),
        ("23s", "seconds", 23.0),
        (str(int(NOON) + 5), "epoch", 5.0),
        (str((int(NOON) + 5) * 1000), "epoch_ms", 5.0),
        (str((int(NOON) + 5) * 1000), "epoch", 5.0),
        (str(int(NOON) + 5), "seconds", 5.0),
        (str(int(NOON) - 5), "epoch", 0.0),
        ("Tue, 24 Nov 2026 12:00:09 GMT", "http_date", 9.0),
        ("soon", "duration", None),
        ("5 bananas 3s", "duration", None),
        ("", "seconds", None),
    ],
)
def test_a_reset_reads_in_every_format_seen(text: str, format: str, seconds: float | None) -> None:
    assert reset_seconds(text, format, NOON) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(), st.sampled_from(["seconds", "duration", "epoch", "epoch_ms", "http_date"]))
def test_no_header_text_breaks_the_reader(text: str, format: str) -> None:
    seconds = reset_seconds(text, format, NOON)
    assert seconds is None or 0 <= seconds < math.inf
    assert count(text) >= -1


@given(st.integers(0, 86_399_999))
def test_a_written_duration_reads_back(ms: int) -> None:
    hours, minutes, rest = ms // 3_600_000, ms // 60_000 % 60, ms % 60_000
    text = f"{hours}h{minutes}m{rest / 1000}s"
    assert reset_seconds(text, "duration", NOON) == pytest.approx(ms / 1000)


def test_a_lower_remaining_is_adopted_because_someone_else_spends_the_key(
    open_store: Open, clock: Clock
) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    hold = ledger.reserve(one, 10, 10)
    ledger.observe(one, [(b"X-Left-Day", b"3")])
    hold.settle(Usage(10, 10))
    assert ledger.room(one).left == 3
    other = ledger_of(open_store(), clock, "b")
    for _ in range(3):
        other.reserve(one, 1, 1)
    with pytest.raises(Full):
        other.reserve(one, 1, 1)


def test_a_higher_remaining_is_not_adopted_while_others_are_in_flight(open_store: Open, clock: Clock) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    for _ in range(5):
        ledger.reserve(one, 10, 10)
    ledger.observe(one, [(b"x-left-day", b"100")])
    assert ledger.room(one).left == 25, "the minute's thirty less five"
    [day] = [state for state in ledger.snapshot([one]) if state.label == "requests/day"]
    assert day.left == 95


def test_a_higher_remaining_is_adopted_from_a_request_that_was_alone(open_store: Open, clock: Clock) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    for _ in range(20):
        ledger.reserve(one, 1, 1).doubt()
    ledger.reserve(one, 1, 1)
    ledger.observe(one, [(b"x-left-day", b"99")])
    [day] = [state for state in ledger.snapshot([one]) if state.label == "requests/day"]
    assert day.left >= 97


def test_a_higher_remaining_is_old_news_when_others_began_since(open_store: Open, clock: Clock) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    for _ in range(20):
        ledger.reserve(one, 1, 1).doubt()
    for _ in range(5):
        ledger.reserve(one, 1, 1)
    ledger.observe(one, [(b"x-left-day", b"100")])
    [day] = [state for state in ledger.snapshot([one]) if state.label == "requests/day"]
    assert day.left == 75


def test_a_lease_larger_than_what_the_provider_has_left_is_cut(open_store: Open, clock: Clock) -> None:
    ledger = ledger_of(open_store(), clock)
    one = target(quota(12_800, Window("day")), behaviour=HEADERS)
    ledger.reserve(one, 0, 0).settle(Usage())
    ledger.observe(one, [(b"x-left-day", b"7")])
    assert len(drain(ledger, one, 100)) == 7


def test_a_learned_limit_survives_a_restart_and_is_told(open_store: Open, clock: Clock) -> None:
    one, first = taught(), ledger_of(open_store(), clock)
    first.observe(one, [(b"x-limit-day", b"20"), (b"x-left-day", b"19")])
    first.close()
    ledger = ledger_of(open_store(), clock, "b")
    [day] = [state for state in ledger.snapshot([one]) if state.learned]
    assert (day.amount, day.published) == (20, 100)


def test_a_day_that_is_gone_stays_closed_until_midnight_whatever_the_hint(
    open_store: Open, clock: Clock
) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    until = ledger.refused(one, errors.RateLimited("gone", means="day", unit="requests", retry_after=7))
    assert until == pytest.approx(NOON + 20 * 3600, abs=2), "midnight in Los Angeles is 08:00 UTC"
    clock.at += 60
    with pytest.raises(Full) as full:
        ledger_of(open_store(), clock, "b").reserve(one, 1, 1)
    assert full.value.retry_at == until
    clock.at = until + 0.1
    ledger.reserve(one, 1, 1)


def test_a_minutes_refusal_closes_a_minute_and_not_the_day(open_store: Open, clock: Clock) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    until = ledger.refused(one, errors.RateLimited("slow", means="minute", unit="tokens", retry_after=7))
    assert until == NOON + 7
    assert ledger.room(one).opens_at == NOON + 7
    clock.at += 7.01
    ledger.reserve(one, 1, 1)


def test_a_size_that_was_refused_is_not_sent_again_but_smaller_ones_are(
    open_store: Open, clock: Clock
) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    assert ledger.refused(one, errors.NeverFits("big", status=413), tokens=5000) == math.inf
    other = ledger_of(open_store(), clock, "b")
    with pytest.raises(Full) as full:
        other.reserve(one, 4000, 1000)
    assert full.value.retry_at == math.inf
    other.reserve(one, 3000, 1000)


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (errors.OutOfCredit("no money"), 3600),
        (errors.Denied("who are you", status=403), 3600),
        (errors.Gone("retired", status=404), 86_400),
        (errors.Busy("overloaded"), 5),
        (errors.Busy("overloaded", retry_after=11), 11),
        (errors.NeverFits("limit: 0", status=429), 86_400),
        (errors.RateLimited("?", means="unknown"), 5),
    ],
)
def test_a_refusal_closes_the_target_for_as_long_as_it_means(
    open_store: Open, clock: Clock, failure: errors.TargetFailed, seconds: float
) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    assert ledger.refused(one, failure) == NOON + seconds
    assert ledger.room(one).opens_at == NOON + seconds
    with pytest.raises(Full):
        ledger_of(open_store(), clock, "b").reserve(one, 1, 1)
    clock.at += seconds
    ledger.reserve(one, 1, 1)


def test_an_outage_is_not_the_ledgers_business(open_store: Open, clock: Clock) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    assert ledger.refused(one, errors.Unavailable("502")) == NOON
    ledger.reserve(one, 1, 1)


def test_a_bad_key_closes_every_target_of_that_key(open_store: Open, clock: Clock) -> None:
    ledger, one, two = ledger_of(open_store(), clock), taught(), taught(id="acme/other")
    ledger.room(two)
    ledger.refused(one, errors.Denied("bad key", status=401))
    assert ledger.room(two).opens_at == NOON + 3600


def test_a_provider_that_lies_is_not_believed_upwards_after_a_refusal(open_store: Open, clock: Clock) -> None:
    ledger, one = ledger_of(open_store(), clock), taught()
    ledger.observe(one, [(b"x-limit-day", b"5000")])
    ledger.refused(one, errors.RateLimited("gone", means="day", unit="requests"))
    ledger.observe(one, [(b"x-limit-day", b"5000")])
    [day] = [state for state in ledger.snapshot([one]) if state.label == "requests/day"]
    assert (day.amount, day.learned) == (100, False)


def test_refusals_that_nobody_explains_wait_longer_each_time_until_one_is_answered(
    open_store: Open, clock: Clock
) -> None:
    ledger, one = ledger_of(open_store(), clock), target(quota(100, MINUTE))
    waits = []
    for usage in (Usage(), Usage(), Usage(10, 5), Usage()):
        ledger.reserve(one, 10, 10).settle(usage)  # a refusal that counted is settled with nothing
        until = ledger.refused(one, errors.RateLimited("slow down", means="never"))
        waits.append(until - clock.at)
        clock.at = until
    assert waits == [5, 10, 5, 10]
