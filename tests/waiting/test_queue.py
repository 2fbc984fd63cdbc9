"""What the queue promises, one promise a test, on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.errors import Exhausted
from potluck.types import Reply
from potluck.waiting import Bounds
from potluck.waiting.line import AGAIN, PASSES
from tests.waiting.scene import Counter, Hands, ask, rest

Waits = asyncio.Task[Reply]


@pytest.fixture
def hands() -> Hands:
    return Hands()


async def start(counter: Counter, *requests: object) -> list[Waits]:
    """Each asks after the one before it waits."""
    tasks = []
    for request in requests:
        tasks.append(asyncio.create_task(counter.walk(request)))  # type: ignore[arg-type]
        await rest()
    return tasks


async def test_who_waits_is_served_when_a_window_opens_and_not_before(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 30
    request = ask("one")
    (task,) = await start(counter, request)
    await hands.move(29.9)
    assert not task.done()
    counter.refill(1)
    await hands.move(0.2)
    assert task.done()
    assert request.trace.waited == pytest.approx(30, abs=0.1)


async def test_who_waits_is_served_at_once_when_another_answer_ends(hands: Hands) -> None:
    counter = Counter(hands, 1)
    counter.opens = hands.at + 50
    _, second = await start(counter, ask("first"), ask("second"))
    await hands.move(3)
    counter.end("first")
    await hands.move(0)
    assert second.done()
    assert counter.served == ["first", "second"]


async def test_an_opening_wakes_as_many_as_there_is_room_for(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 10
    tasks = await start(counter, *[ask(str(n)) for n in range(50)])
    await hands.move(9.9)
    walked = counter.walks
    counter.refill(7)
    await hands.move(0.15)
    assert sum(task.done() for task in tasks) == 7
    assert counter.walks - walked == 8  # the eighth finds nothing, and nobody after it is woken
    await cancel(tasks)


async def test_nothing_is_tried_while_nothing_opens(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 50
    tasks = await start(counter, *[ask(str(n)) for n in range(20)])
    walked = counter.walks
    rang = await hands.move(49)
    assert counter.walks - walked <= 10  # one look every five seconds, by one of them
    assert rang <= 20
    await cancel(tasks)


async def test_a_noisy_provider_is_not_tried_more_often_than_every_50_ms(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 50
    tasks = await start(counter, ask("one"))
    await hands.move(1)
    walked = counter.walks
    for _ in range(1000):
        counter.hear("acme")
        await hands.move(0.001)
    assert counter.walks - walked <= 1 / AGAIN + 1
    await cancel(tasks)


async def test_a_newcomer_never_overtakes_those_who_wait_for_the_same(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 5
    first, second = await start(counter, ask("first"), ask("second"))
    counter.refill(1)  # the window has opened and the timer has not rung yet
    third = (await start(counter, ask("third")))[0]
    await hands.move(5.1)
    assert first.done()
    assert not second.done()
    assert not third.done()
    await cancel([second, third])


async def test_who_will_not_wait_is_refused_while_others_wait_and_told_when_to_come_back(
    hands: Hands,
) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 5
    first, hasty = await start(counter, ask("first"), ask("hasty", wait=0))
    refused = hasty.exception()
    assert isinstance(refused, Exhausted)
    assert refused.status == 429
    assert refused.retry_after == pytest.approx(5, abs=0.01)
    assert counter.walks == 1
    await cancel([first])


async def test_an_opening_that_comes_too_late_is_refused_at_once(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 61
    (task,) = await start(counter, ask("one", wait=60))
    refused = task.exception()
    assert isinstance(refused, Exhausted)
    assert refused.retry_after == pytest.approx(61)
    assert "60 s at most" in str(refused)
    assert len(counter.queue) == 0


async def test_who_hears_that_the_opening_has_moved_too_far_gives_up_at_once(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 10
    (task,) = await start(counter, ask("one", wait=10))
    counter.opens += 3  # somebody else was faster
    await hands.move(5.1)
    refused = task.exception()
    assert isinstance(refused, Exhausted)
    assert refused.retry_after == pytest.approx(8, abs=0.1)
    assert "waited 5.0 s in vain" in str(refused)


async def test_a_wait_in_vain_ends_when_it_was_to_end(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 10
    request = ask("second", wait=10.4)
    first, task = await start(counter, ask("first"), request)
    counter.opens += 20  # somebody else was faster
    await hands.move(10.3)
    assert not task.done()
    await hands.move(0.2)
    refused = task.exception()
    assert isinstance(refused, Exhausted)
    assert refused.retry_after == pytest.approx(19.6, abs=0.2)
    assert request.trace.waited == pytest.approx(10.4, abs=0.2)
    await cancel([first])


async def test_a_full_queue_refuses_with_a_true_retry_after(hands: Hands) -> None:
    counter = Counter(hands, 0, Bounds(total=3, each=2))
    counter.opens = hands.at + 20
    tasks = await start(counter, ask("1"), ask("2"), ask("3"), ask("4", tenant="b"), ask("5", tenant="c"))
    assert [task.done() for task in tasks] == [False, False, True, False, True]
    for task, why in ((tasks[2], "2 requests of this client"), (tasks[4], "3 requests wait")):
        refused = task.exception()
        assert isinstance(refused, Exhausted)
        assert why in str(refused)
        assert refused.retry_after == pytest.approx(20, abs=0.01)
    await cancel(tasks)


async def test_who_leaves_frees_its_place_and_is_never_served(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 5
    first, second = await start(counter, ask("first"), ask("second"))
    first.cancel()
    await rest()
    assert len(counter.queue) == 1
    counter.refill(1)
    await hands.move(5.1)
    assert second.done()
    assert counter.served == ["second"]


async def test_who_leaves_in_the_moment_of_its_turn_passes_the_turn_on(hands: Hands) -> None:
    counter = Counter(hands, 1)
    counter.opens = hands.at + 50
    _, leaver, second = await start(counter, ask("flying"), ask("leaver"), ask("second"))
    counter.end("flying")
    hands.ring()  # it is its turn, and its task has not run yet
    leaver.cancel()
    await hands.move(0)
    assert leaver.cancelled()
    assert second.done()
    assert counter.served == ["flying", "second"]


async def test_clients_take_turns_however_many_requests_one_of_them_has(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 5
    greedy = [ask(f"a{n}", tenant="a") for n in range(20)]
    modest = [ask(f"b{n}", tenant="b") for n in range(3)]
    tasks = await start(counter, *greedy, *modest)
    counter.refill(6)
    await hands.move(5.1)
    assert Tally(id[0] for id in counter.served) == {"a": 3, "b": 3}
    await cancel(tasks)


async def test_priority_orders_a_clients_own_requests(hands: Hands) -> None:
    counter = Counter(hands, 0)
    counter.opens = hands.at + 5
    tasks = await start(counter, ask("low", priority="low"), ask("normal"), ask("high", priority="high"))
    counter.refill(3)
    await hands.move(5.1)
    assert counter.served == ["high", "normal", "low"]
    await cancel(tasks)


async def test_a_big_request_is_passed_by_small_ones_a_few_times_and_then_no_more(hands: Hands) -> None:
    counter = Counter(hands, 1)
    counter.opens = hands.at + 30
    tasks = await start(counter, ask("big", tokens=20))
    for number in range(PASSES + 3):
        tasks += await start(counter, ask(f"small{number}"))
        if f"small{number}" in counter.served:
            counter.end(f"small{number}")
        await hands.move(0.1)
    assert len(counter.served) == PASSES
    counter.refill(19)
    await hands.move(30)
    assert counter.served[PASSES] == "big"
    await cancel(tasks)


async def test_lines_that_want_different_models_do_not_hold_each_other_up(hands: Hands) -> None:
    counter = Counter(hands, 5)
    counter.opens = hands.at + 30
    big, small = await start(counter, ask("big", tokens=9), ask("other", model="llama"))
    assert small.done()
    assert not big.done()
    await cancel([big])


async def cancel(tasks: list[Waits]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(4, 30), min_size=2, max_size=5),
    ranks=st.lists(st.sampled_from(["high", "normal", "low"]), min_size=5, max_size=5),
    opened=st.lists(st.integers(1, 5), min_size=1, max_size=15),
)
def test_while_clients_are_backlogged_their_shares_follow_their_weights(
    counts: list[int], ranks: list[str], opened: list[int]
) -> None:
    """Goyal, Vin and Cheng 1996, theorem 1: |W_f/w_f - W_g/w_g| <= l_f/w_f + l_g/w_g while both are backlogged."""
    weights = {"high": 4.0, "normal": 2.0, "low": 1.0}

    async def play() -> None:
        hands = Hands()
        counter = Counter(hands, 0)
        tasks: list[Waits] = []
        for tenant, (count, rank) in enumerate(zip(counts, ranks, strict=False)):
            wanted = [
                ask(f"{tenant}/{n}", tenant=str(tenant), priority=rank, wait=9e4)  # type: ignore[arg-type]
                for n in range(count)
            ]
            tasks += await start(counter, *wanted)
        for tokens in opened:
            counter.refill(tokens)
            await hands.move(6)
            got = Tally(id.split("/")[0] for id in counter.served)
            backlogged = [t for t, count in enumerate(counts) if got[str(t)] < count]
            for f in backlogged:
                for g in backlogged:
                    w, v = weights[ranks[f]], weights[ranks[g]]
                    assert abs(got[str(f)] / w - got[str(g)] / v) <= 1 / w + 1 / v + 1e-9
        await cancel(tasks)

    asyncio.run(play())
