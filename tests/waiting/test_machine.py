"""The queue against every order of arriving, opening, ending, leaving and passing of time that Hypothesis finds."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from potluck.errors import Exhausted
from potluck.types import Priority, Reply, Request
from potluck.waiting import Bounds
from potluck.waiting.line import LOOK
from tests.waiting.scene import Counter, Hands, ask, rest

TENANTS = st.sampled_from(["a", "b", "c"])
RANKS = st.sampled_from(["high", "normal", "low"])
BOUNDS = Bounds(total=6, each=4, implicit=0.5)


class Waiting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.hands = Hands()
        self.counter = Counter(self.hands, 2, BOUNDS)
        self.tasks: dict[str, tuple[Request, asyncio.Task[Reply]]] = {}
        self.left: set[str] = set()
        self.number = 0

    def go(self, seconds: float = 0.0) -> None:
        self.loop.run_until_complete(self.hands.move(seconds))

    def waiting(self) -> list[str]:
        return [id for id, (_, task) in self.tasks.items() if not task.done()]

    @rule(tenant=TENANTS, wait=st.sampled_from([0.0, 1.0, 20.0, 200.0]), rank=RANKS, big=st.booleans())
    def arrive(self, tenant: str, wait: float, rank: Priority, big: bool) -> None:
        self.number += 1
        id = f"{tenant}{self.number}"
        request = ask(id, tenant=tenant, wait=wait, now=self.hands.at, priority=rank, tokens=2 if big else 1)

        async def begin() -> asyncio.Task[Reply]:
            task = asyncio.ensure_future(self.counter.walk(request))
            await rest()
            return task

        self.tasks[id] = (request, self.loop.run_until_complete(begin()))

    @precondition(lambda self: self.counter.flying)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.counter.end(data.draw(st.sampled_from(sorted(self.counter.flying))))

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), turn=st.booleans())
    def leave(self, data: st.DataObject, turn: bool) -> None:
        """At rest, or (`turn`) when timers have rung and tasks have not run yet."""
        id = data.draw(st.sampled_from(sorted(self.waiting())))
        if turn and self.hands.pending():
            self.hands.ring()
        self.tasks[id][1].cancel()
        self.left.add(id)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0, 7.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.go(seconds)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def expect(self, seconds: float) -> None:
        """What is known of the next opening changes."""
        self.counter.opens = self.hands.at + seconds

    @invariant()
    def the_bounds_hold(self) -> None:
        self.loop.run_until_complete(rest())
        waiting = self.waiting()
        assert len(self.counter.queue) == len(waiting) <= BOUNDS.total
        for tenant in "abc":
            assert sum(id.startswith(tenant) for id in waiting) <= BOUNDS.each
        assert self.counter.queue.busy == bool(waiting)

    @invariant()
    def who_left_is_not_served(self) -> None:
        assert not self.left & set(self.counter.served)

    @invariant()
    def who_was_not_served_was_told_why_and_when(self) -> None:
        for id, (_, task) in self.tasks.items():
            if task.done() and not task.cancelled() and task.exception() is not None:
                refused = task.exception()
                assert isinstance(refused, Exhausted)
                assert refused.retry_after is not None
                assert refused.retry_after >= 0
                assert id not in self.counter.served

    @invariant()
    def nobody_waits_longer_than_it_wanted(self) -> None:
        for id in self.waiting():
            assert self.tasks[id][0].wait_until >= self.hands.at - 0.6

    def teardown(self) -> None:
        """No lost wake-up: once everything has ended there is room, so within a look all are served or refused."""
        for id in list(self.counter.flying):
            self.counter.end(id)
        for _ in range(20):
            self.go(LOOK + 0.1)
            for id in list(self.counter.flying):
                self.counter.end(id)
        assert not self.waiting()
        assert self.counter.free == 2
        assert self.hands.pending() == 0
        for _, task in self.tasks.values():
            assert task.cancelled() or task.exception() is None or isinstance(task.exception(), Exhausted)
        self.loop.close()


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Prompt(Waiting):
    """With room that is only ever freed by what ends, nobody waits while there is room for it."""

    @invariant()
    def there_is_no_room_while_somebody_waits(self) -> None:
        self.go(0.06)
        small = [id for id in self.waiting() if self.tasks[id][0].tokens_in <= self.counter.free]
        barred = [line for line in self.counter.queue._lines.values() if line.barred]
        assert not small or barred


TestPrompt = Prompt.TestCase
TestPrompt.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
