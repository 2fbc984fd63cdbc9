"""The ledger's promises, over every store."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from potluck.quota.lane import LINGER
from potluck.quota.ledger import Full, Ledger
from potluck.quota.state import Store
from potluck.types import Usage, Window
from tests.quota.conftest import Clock, drain, quota, target

MINUTE = Window("rolling", 60)
DAY = Window("day")
Open = Callable[[], Store]


def test_a_reservation_takes_from_every_quota_or_from_none(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    both = target(quota(10, MINUTE), quota(100, MINUTE, "tokens"))
    ledger.reserve(both, 60, 20)
    with pytest.raises(Full) as full:
        ledger.reserve(both, 15, 10)
    assert full.value.quota == both.quotas[1]
    assert [state.held for state in ledger.snapshot([both])] == [1, 80]


def test_the_truth_replaces_the_estimate(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    one = target(quota(1000, MINUTE, "tokens"))
    hold = ledger.reserve(one, 500, 500)
    assert ledger.room(one).left == 0
    hold.settle(Usage(100, 50))
    assert ledger.room(one).left == 850
    hold.release()
    assert ledger.room(one).left == 850, "the first ending wins"


def test_a_request_that_never_left_costs_nothing(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    one = target(quota(1, DAY))
    ledger.reserve(one, 0, 0).release()
    ledger.reserve(one, 0, 0).doubt()
    with pytest.raises(Full):
        ledger.reserve(one, 0, 0)


def test_more_than_the_limit_never_fits(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    with pytest.raises(Full) as full:
        ledger.reserve(target(quota(100, MINUTE, "tokens")), 90, 11)
    assert full.value.retry_at == math.inf


def test_two_workers_share_fifty_requests_exactly(open_store: Open, clock: Clock) -> None:
    one, store = target(quota(50, DAY)), open_store
    workers = [Ledger(store(), clock, worker=name) for name in "ab"]
    holds = [hold for turn in range(100) for hold in drain(workers[turn % 2], one, 1)]
    assert len(holds) == 50


def test_a_worker_that_is_done_gives_its_lease_to_the_others_within_a_flush(
    open_store: Open, clock: Clock
) -> None:
    one = target(quota(1280, DAY))
    first, second = (Ledger(open_store(), clock, worker=name) for name in "ab")
    first.reserve(one, 0, 0).settle(Usage())
    got = len(drain(second, one, 2000))
    first.flush()
    first.flush()
    assert got + len(drain(second, one, 2000)) == 1279


def test_a_small_step_back_of_the_clock_reopens_nothing(open_store: Open, clock: Clock) -> None:
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(5, Window("fixed", 60)))
    clock.at += 0.2 + 60
    drain(ledger, one, 5)
    clock.at -= 30
    assert not drain(ledger, one, 5)
    assert not drain(Ledger(open_store(), clock, worker="b"), one, 5), (
        "nor for a worker that started after it"
    )


@pytest.mark.parametrize("window", [MINUTE, DAY, Window("refill", 60)])
def test_an_hour_back_over_midnight_reopens_no_window_and_stops_no_minute(
    open_store: Open, clock: Clock, window: Window
) -> None:
    clock.at += 12 * 3600 + 600  # ten past midnight
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(5, window))
    for hold in drain(ledger, one, 9):
        hold.settle(Usage())
    ledger.flush()
    clock.at -= 3600
    assert not drain(ledger, one, 5)
    again = Ledger(open_store(), clock, worker="b")
    assert not drain(again, one, 5)
    clock.at += 61
    assert len(drain(again, one, 9)) == (0 if window == DAY else 5)


def test_a_clock_that_was_days_ahead_leaves_the_day_spent(open_store: Open, clock: Clock) -> None:
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(5, DAY))
    for hold in drain(ledger, one, 9):
        hold.settle(Usage())
    ledger.flush()
    clock.at -= 2 * 86_400
    assert not drain(ledger, one, 5)
    clock.at += 86_400
    assert len(drain(ledger, one, 9)) == 5


@pytest.mark.parametrize(("into", "back", "window"), [(5, 10, Window("fixed", 60)), (600, 3600, DAY)])
def test_what_is_spent_after_a_step_back_counts_in_the_period_that_had_begun(
    open_store: Open, clock: Clock, into: float, back: float, window: Window
) -> None:
    one = target(quota(5, window))
    clock.at += 12 * 3600 + into
    first = Ledger(open_store(), clock, worker="a")
    for hold in drain(first, one, 2):
        hold.settle(Usage())
    first.flush()
    clock.at -= back
    second = Ledger(open_store(), clock, worker="b")
    for hold in drain(second, one, 3):
        hold.settle(Usage())
    second.flush()
    clock.at += back + 5
    assert not drain(Ledger(open_store(), clock, worker="c"), one, 5)


def test_a_suspended_hour_costs_nothing(open_store: Open, clock: Clock) -> None:
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(5, MINUTE))
    for hold in drain(ledger, one, 5):
        hold.settle(Usage())
    clock.at += 3600
    assert len(drain(ledger, one, 9)) == 5


def test_a_bucket_refills_one_by_one(open_store: Open, clock: Clock) -> None:
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(6, Window("refill", 60)))
    for hold in drain(ledger, one, 9):
        hold.settle(Usage())
    with pytest.raises(Full) as full:
        ledger.reserve(one, 0, 0)
    assert full.value.retry_at == pytest.approx(clock.at + 10, abs=0.1)
    clock.at = full.value.retry_at
    assert len(drain(ledger, one, 9)) == 1


def test_concurrency_comes_back_however_a_hold_ends(open_store: Open, clock: Clock) -> None:
    ledger, one = (
        Ledger(open_store(), clock, worker="a"),
        target(quota(3, Window("concurrent"), "concurrent")),
    )
    settled, doubted, released = drain(ledger, one, 9)
    settled.settle(Usage(5, 5))
    doubted.doubt()
    released.release()
    assert len(drain(ledger, one, 9)) == 2
    clock.at += LINGER  # the provider has noticed by now that we hung up
    ledger.flush()
    assert len(drain(ledger, one, 9)) == 1


def test_an_answer_that_was_cut_off_is_in_flight_a_moment_longer(open_store: Open, clock: Clock) -> None:
    ledger, one = (
        Ledger(open_store(), clock, worker="a"),
        target(quota(1, Window("concurrent"), "concurrent")),
    )
    freed: list[str] = []
    ledger.watch(freed.append)
    [cut] = drain(ledger, one, 2)
    cut.settle(Usage(5, 5), cut=True)
    cut.settle(Usage(5, 5))  # the first ending wins
    clock.at += LINGER / 2
    ledger.flush()
    assert (drain(ledger, one, 2), freed) == ([], [])
    clock.at += LINGER / 2
    ledger.flush()
    assert freed == ["acme"]
    assert len(drain(ledger, one, 2)) == 1


def test_a_cooldown_reaches_other_workers_and_can_be_lifted(open_store: Open, clock: Clock) -> None:
    one = target(quota(9, DAY))
    first, second = (Ledger(open_store(), clock, worker=name) for name in "ab")
    second.room(one)
    first.cool(one, clock.at + 50, "because")
    second.flush()
    assert second.room(one).opens_at == clock.at + 50
    with pytest.raises(Full, match="because"):
        second.reserve(one, 0, 0)
    first.cool(one, 0.0, "")
    first.reserve(one, 0, 0)


def test_money_and_neurons_are_charged_by_the_token(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    quotas = quota(1000, Window("month"), "credits"), quota(100, DAY, "neurons")
    one = msgspec.structs.replace(
        target(*quotas), price_in=0.05, price_out=0.5, neurons_in=26_668.0, neurons_out=204_805.0
    )
    ledger.reserve(one, 100, 100).settle(Usage(100, 100))
    money, neurons = ledger.snapshot([one])
    assert (money.used, money.left) == (55, 945), "0.05 + 0.5 micro-USD for each of a hundred"
    assert (neurons.used, neurons.left) == (23, 76), "2.7 + 20.5 neurons; the rest of one is not left"


def test_an_unknown_price_is_a_high_one(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    one = target(quota(1_000_000, Window("month"), "credits"))
    ledger.reserve(one, 1000, 1000).settle(Usage(1000, 1000))
    assert ledger.snapshot([one])[0].used == 40_000


def test_more_than_was_estimated_is_counted_too(open_store: Open, clock: Clock) -> None:
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(100, DAY, "tokens"))
    ledger.reserve(one, 10, 10).settle(Usage(10, 200))
    ledger.flush()
    assert ledger.room(one).left == 0
    with pytest.raises(Full):
        Ledger(open_store(), clock, worker="b").reserve(one, 1, 0)


def test_two_targets_under_one_account_share_its_count(open_store: Open, clock: Clock) -> None:
    ledger = Ledger(open_store(), clock, worker="a")
    one, two = (target(quota(5, DAY), id=name) for name in ("acme/1", "acme/2"))
    assert len(drain(ledger, one, 3)) + len(drain(ledger, two, 9)) == 5


def test_room_says_what_is_tightest_and_when_it_opens(open_store: Open, clock: Clock) -> None:
    ledger, one = Ledger(open_store(), clock, worker="a"), target(quota(4, MINUTE), quota(100, DAY))
    assert ledger.room(one).share == 1.0
    for hold in drain(ledger, one, 3):
        hold.settle(Usage())
    room = ledger.room(one)
    assert (room.share, room.left, room.opens_at, room.scarcest) == (0.25, 1, 0.0, one.quotas[0])
    ledger.reserve(one, 0, 0).settle(Usage())
    assert ledger.room(one).opens_at == pytest.approx(clock.at + 60, abs=0.1)
