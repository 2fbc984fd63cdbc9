"""Identical requests in flight are sent once, whatever becomes of the one that goes."""

from __future__ import annotations

import asyncio

import pytest

from potluck.errors import Unavailable
from potluck.stages.cache import Cache
from tests.stages.cached import Clock, Model, ask, outcome, said


async def test_identical_requests_in_flight_are_sent_once(cache: Cache, model: Model) -> None:
    model.gate = asyncio.Event()
    kinds = [False, True, False]
    asking = [asyncio.create_task(_answer(cache, model, stream)) for stream in kinds]
    await model.asked.wait()
    model.gate.set()
    assert await asyncio.gather(*asking) == ["Paris"] * 3
    assert model.calls == 1


async def test_one_follower_takes_over_when_the_leader_fails(cache: Cache, model: Model) -> None:
    model.gate, model.failure = asyncio.Event(), Unavailable("down")
    leader = asyncio.create_task(_answer(cache, model, False))
    await model.asked.wait()
    followers = [asyncio.create_task(_answer(cache, model, False)) for _ in range(3)]
    await asyncio.sleep(0)
    model.gate.set()
    with pytest.raises(Unavailable):
        await leader
    model.failure = None
    assert await asyncio.gather(*followers) == ["Paris"] * 3
    assert model.calls == 2


async def test_one_follower_takes_over_when_the_leader_hangs_up(cache: Cache, model: Model) -> None:
    leading = await cache(ask(stream=True), model)
    followers = [asyncio.create_task(_answer(cache, model, True)) for _ in range(3)]
    await asyncio.sleep(0)
    assert model.calls == 1
    leading.close()
    assert await asyncio.gather(*followers) == ["Paris"] * 3
    assert model.calls == 2


async def test_followers_of_an_answer_that_cannot_be_shared_all_go(cache: Cache) -> None:
    model = Model(finish="length")
    model.gate = asyncio.Event()
    asking = [asyncio.create_task(_answer(cache, model, False)) for _ in range(3)]
    await model.asked.wait()
    model.gate.set()
    assert await asyncio.gather(*asking) == ["Paris"] * 3
    assert model.calls == 3


async def test_a_follower_waits_no_longer_than_its_deadline(cache: Cache, model: Model, clock: Clock) -> None:
    leading = await cache(ask(stream=True), model)
    assert await outcome(cache, model, ask(deadline=clock.monotonic())) == "miss"
    leading.close()
    assert model.calls == 2


async def _answer(cache: Cache, model: Model, stream: bool) -> str:
    return await said(await cache(ask(stream=stream), model))
