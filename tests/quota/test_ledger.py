"""The ledger's promises, over every store."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

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
