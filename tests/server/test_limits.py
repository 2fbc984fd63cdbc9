"""What a client key may use, on the real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.errors import ClientLimited, Forbidden, TooLarge
from potluck.quota.ledger import Ledger
from potluck.quota.memory import MemoryStore
from potluck.quota.sqlite import SqliteStore
from potluck.server.limits import FREE_PASS, ClientLimiter, Pass, check_model, client_target, money_target
from potluck.store.keys import ClientKey, Limits
from potluck.types import Usage

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC: a day has twelve hours left
DAY = 86_400.0


class FakeClock:
    def __init__(self, now: float = NOON) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    monotonic = now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(MemoryStore(), clock, worker="w1")


@pytest.fixture
def limiter(ledger: Ledger) -> ClientLimiter:
    return ClientLimiter(ledger)


def key(name: str = "bob", **limits: Any) -> ClientKey:
    return ClientKey(id=name, name=name, limits=Limits(**limits))


def admitted(limiter: ClientLimiter, who: ClientKey, tries: int, tokens: int = 0) -> int:
    """How many of `tries` requests are let in; each ends at once, having used what was estimated."""
    count = 0
    for _ in range(tries):
        try:
            limiter.admit(who, tokens).done(Usage(input=tokens))
            count += 1
        except ClientLimited:
            pass
    return count


def test_a_key_without_limits_costs_nothing_and_leaves_nothing(
    limiter: ClientLimiter, ledger: Ledger
) -> None:
    assert limiter.admit(key(), 10**9, 10**9) is FREE_PASS
    FREE_PASS.done(Usage(1, 1), 5)
    FREE_PASS.release()
    limiter.refuse_early(key())
    assert ledger._counters == {}


def test_a_minute_is_any_sixty_seconds_in_a_row(limiter: ClientLimiter, clock: FakeClock) -> None:
    bob = key(requests_per_minute=10)
    assert admitted(limiter, bob, 6) == 6
    clock.at += 40
    assert admitted(limiter, bob, 20) == 4
    clock.at += 19
    assert admitted(limiter, bob, 20) == 0
    clock.at += 2
    assert admitted(limiter, bob, 20) == 6


def test_a_day_starts_at_midnight_utc(limiter: ClientLimiter, clock: FakeClock) -> None:
    bob = key(requests_per_day=5)
    assert admitted(limiter, bob, 9) == 5
    clock.at += DAY / 2 - 2
    assert admitted(limiter, bob, 9) == 0
    clock.at += 3
    assert admitted(limiter, bob, 9) == 5


def test_retry_after_is_true(limiter: ClientLimiter, clock: FakeClock) -> None:
    bob = key(requests_per_minute=2, requests_per_day=100)
    admitted(limiter, bob, 2)
    clock.at += 15
    with pytest.raises(ClientLimited) as refused:
        limiter.admit(bob)
    wait = refused.value.retry_after or 0.0
    assert 44 <= wait <= 47
    clock.at += wait - 2
    assert admitted(limiter, bob, 1) == 0
    clock.at += 2.001
    assert admitted(limiter, bob, 1) == 1


def test_the_refusal_names_the_key_and_its_limit_and_never_says_zero(limiter: ClientLimiter) -> None:
    bob = key(requests_per_minute=1)
    limiter.admit(bob).done(Usage())
    with pytest.raises(
        ClientLimited, match=r"'bob' is at its limit of 1 requests a minute.*in [1-9][0-9]* s"
    ):
        limiter.admit(bob)


def test_tokens_are_held_by_estimate_and_settled_by_truth(limiter: ClientLimiter) -> None:
    bob = key(tokens_per_minute=1000)
    first = limiter.admit(bob, 100, 700)
    with pytest.raises(ClientLimited):
        limiter.admit(bob, 100, 200)
    first.done(Usage(input=90, output=10))
    assert admitted(limiter, bob, 20, tokens=100) == 9


def test_an_answer_nobody_counted_costs_its_estimate(limiter: ClientLimiter) -> None:
    bob = key(tokens_per_minute=1000)
    limiter.admit(bob, 100, 800).done(None)
    assert admitted(limiter, bob, 5, tokens=100) == 1


def test_an_answer_longer_than_estimated_is_paid_for_by_the_next(limiter: ClientLimiter) -> None:
    bob = key(tokens_per_minute=1000)
    limiter.admit(bob, 10, 10).done(Usage(input=10, output=1500))
    assert admitted(limiter, bob, 5, tokens=1) == 0


def test_a_request_that_never_left_costs_nothing(limiter: ClientLimiter) -> None:
    bob = key(requests_per_minute=1, tokens_per_day=100, concurrency=1, usd_per_day=100)
    for _ in range(5):
        limiter.admit(bob, 100, 0, 100).release()
    limiter.admit(bob, 100, 0, 100)


def test_a_request_beyond_a_whole_limit_is_too_large_rather_than_too_early(limiter: ClientLimiter) -> None:
    with pytest.raises(TooLarge, match="max_tokens"):
        limiter.admit(key(tokens_per_minute=1000), 500, 501)


def test_only_so_many_at_a_time_and_the_next_one_when_one_ends(limiter: ClientLimiter) -> None:
    bob = key(concurrency=2)
    passes = [limiter.admit(bob), limiter.admit(bob)]
    with pytest.raises(ClientLimited, match="2 requests at a time") as refused:
        limiter.admit(bob)
    assert refused.value.retry_after == 1.0
    limiter.refuse_early(bob)  # nobody knows when one ends, so the next one is looked at again
    passes[0].done(None)
    passes[0].done(None)  # the second ending gives nothing back
    limiter.admit(bob)
    with pytest.raises(ClientLimited):
        limiter.admit(bob)


def test_money_is_held_before_it_is_spent(limiter: ClientLimiter, clock: FakeClock) -> None:
    bob = key(usd_per_day=1_000_000)
    dear = limiter.admit(bob, 10, 10, cost=900_000)
    with pytest.raises(ClientLimited, match="1000000 micro-USD a day"):
        limiter.admit(bob, 10, 10, cost=200_000)
    dear.done(Usage(10, 10), cost=300_000)
    limiter.admit(bob, 10, 10, cost=700_000).done(Usage(10, 10), cost=700_000)
    with pytest.raises(ClientLimited):
        limiter.admit(bob, 10, 10)
    clock.at += DAY / 2 + 1
    limiter.admit(bob, 10, 10)


def test_what_was_free_costs_no_money(limiter: ClientLimiter) -> None:
    bob = key(usd_per_day=1)
    for _ in range(10):
        limiter.admit(bob, 10, 10).done(Usage(10, 10), cost=0)


def test_money_that_is_gone_takes_nothing_from_the_other_limits(limiter: ClientLimiter) -> None:
    bob = key(usd_per_day=10, requests_per_minute=2, concurrency=1)
    limiter.admit(bob, cost=10).done(Usage(), cost=10)
    for _ in range(5):
        with pytest.raises(ClientLimited, match="micro-USD"):
            limiter.admit(bob, cost=10)
    assert limiter._ledger.room(client_target(bob) or pytest.fail("bob has limits")).left == 1


def test_a_flood_is_refused_before_anything_is_looked_at_until_there_is_room_again(
    limiter: ClientLimiter, clock: FakeClock
) -> None:
    bob, eve = key(requests_per_minute=3), key("eve", requests_per_minute=3)
    limiter.refuse_early(bob)
    admitted(limiter, bob, 4)
    for _ in range(1000):
        with pytest.raises(ClientLimited, match="'bob'"):
            limiter.refuse_early(bob)
    limiter.refuse_early(eve)
    assert admitted(limiter, eve, 9) == 3, "another client is not held up"
    clock.at += 61
    limiter.refuse_early(bob)
    assert admitted(limiter, bob, 9) == 3


def test_a_large_request_that_must_wait_does_not_hold_up_a_small_one(limiter: ClientLimiter) -> None:
    bob = key(tokens_per_minute=1000)
    limiter.admit(bob, 600).done(Usage(input=600))
    with pytest.raises(ClientLimited):
        limiter.admit(bob, 600)
    limiter.refuse_early(bob)
    assert admitted(limiter, bob, 1, tokens=100) == 1


@pytest.fixture
def workers(tmp_path: Path, clock: FakeClock) -> Iterator[list[ClientLimiter]]:
    stores = [SqliteStore(tmp_path / "quota.sqlite") for _ in range(3)]
    ledgers = [Ledger(store, clock, worker=f"w{number}") for number, store in enumerate(stores)]
    yield [ClientLimiter(ledger) for ledger in ledgers]
    for ledger, store in zip(ledgers, stores, strict=True):
        ledger.close()
        store.close()


def test_a_limit_holds_over_several_workers(workers: list[ClientLimiter]) -> None:
    bob = key(requests_per_day=50)
    total = 0
    for _ in range(40):
        for limiter in workers:
            total += admitted(limiter, bob, 1)
            limiter._ledger.flush()
    assert total == 50


def test_a_limit_holds_over_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    bob, total = key(requests_per_day=10), 0
    for start in range(4):
        store = SqliteStore(tmp_path / "quota.sqlite")
        ledger = Ledger(store, clock, worker=f"start{start}")
        total += admitted(ClientLimiter(ledger), bob, 4)
        ledger.close()
        store.close()
        clock.at += 10
    assert total == 10


Step = st.tuples(st.sampled_from(["ask", "end", "wait"]), st.integers(0, 400))


@settings(deadline=None, max_examples=60)
@given(st.lists(Step, max_size=60), st.integers(1, 6), st.integers(1, 4), st.integers(1, 1000))
def test_no_limit_is_ever_overrun(
    steps: list[tuple[str, int]], a_minute: int, at_once: int, tokens: int
) -> None:
    clock = FakeClock()
    limiter = ClientLimiter(Ledger(MemoryStore(), clock, worker="w1"))
    bob = key(requests_per_minute=a_minute, concurrency=at_once, tokens_per_day=tokens)
    open: list[tuple[Pass, int]] = []
    asked: list[float] = []
    spent = 0
    for step, number in steps:
        if step == "wait":
            clock.at += number / 10
        elif step == "end" and open:
            one, size = open.pop(number % len(open))
            one.done(Usage(input=size))
        elif step == "ask":
            try:
                open.append((limiter.admit(bob, number), number))
            except (ClientLimited, TooLarge):
                continue
            asked.append(clock.at)
            spent += number
        assert len(open) <= at_once
        assert sum(1 for at in asked if at > clock.at - 60) <= a_minute
        assert spent <= tokens


def test_every_limit_becomes_one_quota_of_the_client() -> None:
    full = ClientKey(id="bob", name="bob", limits=Limits(1, 2, 3, 4, 5, 6))
    target, money = client_target(full), money_target(full)
    assert target is not None and money is not None  # noqa: PT018
    quotas = (*target.quotas, *money.quotas)
    assert [quota.amount for quota in quotas] == [1, 2, 3, 4, 5, 6]
    assert len({quota.id for quota in quotas}) == 6
    assert {quota.scope for quota in quotas} == {"client/bob"}
    assert client_target(key(usd_per_day=6)) is None
    assert money_target(key(concurrency=1)) is None


def test_a_model_that_is_not_on_the_list_is_refused_with_the_list() -> None:
    bob = ClientKey(id="bob", name="bob", limits=Limits(models=("auto*", "llama-*")))
    check_model(bob, "auto:code")
    check_model(key(), "anything")
    with pytest.raises(Forbidden, match=r"'gpt-oss-120b', only: auto\*, llama-\*"):
        check_model(bob, "gpt-oss-120b")
