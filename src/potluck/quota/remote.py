"""The ledger over a store across a network: the same arithmetic, with the steps awaited.

Rules: the hot path is the same and awaits nothing: `reserve` spends from leases, and raises `Short` when one is
short; only then is `reserve_async` awaited. One step at a time leaves a worker, because a step reports what the
worker holds, and two reports of one moment would each forget what the other was granted. Whoever waited for the
step before tries the leases again first, so a crowd that waits for a plentiful quota is served by one step.

While the store is lost nothing is leased: what is scarce is refused with a moment to try again, what is plentiful
goes on until its lease ends, and what was spent stays pending until it can be told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from potluck.quota.counter import Counter
from potluck.quota.hold import Hold
from potluck.quota.lane import Lane, Note
from potluck.quota.ledger import LOST, Full, Ledger
from potluck.quota.room import QuotaState
from potluck.quota.state import STEP, State, StoreLost
from potluck.quota.step import Draft, Outcome, apply, step
from potluck.quota.valkey import ValkeyStore
from potluck.types import Clock, Target

_log = logging.getLogger("potluck.quota")

AGAIN = 1.0  # seconds after which a refusal for want of the store may be tried again


class RemoteLedger(Ledger):
    """As `Ledger`; end it with `close_async`."""

    def __init__(self, store: ValkeyStore, clock: Clock, *, worker: str) -> None:
        super().__init__(store, clock, worker=worker)
        self._remote, self._turn = store, asyncio.Lock()
        self._wall = store.time  # every host counts by the server's clock
        self._flushing: asyncio.Task[None] | None = None
        self._grumbled = False
        self._unread: set[str] = set()  # targets whose closures and counts were never read

    @property
    def lost(self) -> str:
        """Why the store could not be asked last time; "" if it could."""
        return self._remote.trouble

    def flush(self) -> None:
        """Starts a flush beside what runs; without an event loop (a command that only looks) it is waited for."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._glance(self.flush_async()))
            return
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self.flush_async())

    def snapshot(self, targets: Iterable[Target]) -> list[QuotaState]:
        targets = list(targets)
        if self._unread or any(target.id not in self._lanes for target in targets):
            super().snapshot(targets)  # opens their lanes, so that the flush reads them
            self.flush()
        return super().snapshot(targets)

    def close(self) -> None:
        """For a command that only looked; a gateway awaits `close_async`."""
        asyncio.run(self._glance(self.close_async()))

    async def _glance(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            await self._remote.close_async()  # its connection ends with this event loop

    async def reserve_async(self, target: Target, tokens_in: int, tokens_out: int) -> Hold:
        """What `reserve` could not do from the leases. Raises `Full`."""
        async with self._turn:
            lane = self.lane(target)
            try:
                if lane.id in self._unread:
                    await self._read([lane])
                now = self.time()
                if now < lane.closed or tokens_in + tokens_out >= lane.fits:
                    raise self._refusal(lane, tokens_in + tokens_out, now)
                if not self._fast(lane, tokens_in, tokens_out, now):
                    await self._lease(lane, lane.needs(tokens_in, tokens_out), now)
            except StoreLost as lost:
                raise Full(lane.counters[0].rule.quota, self.time() + AGAIN, str(lost)) from lost
        return Hold(self.time, lane, tokens_in, tokens_out)

    async def flush_async(self) -> None:
        """As `flush`. Raises nothing: what could not be told is told next time."""
        async with self._turn:
            try:
                version = self._remote.version()
                for counters, keep in self._due():
                    await self._report(counters, [0] * len(counters), keep)
                for id, note in list(self._notes.items()):
                    await self._remote.step_async([id], _writing(note))
                    if self._notes.get(id) is note:
                        del self._notes[id]
                await self._remote.look()
                if self._unread or version != self._remote.version():
                    await self._read(list(self._lanes.values()))
                self._grumbled = False
            except StoreLost as lost:
                self._grumble(lost)

    async def close_async(self) -> None:
        """Gives back what is unspent, and closes the connection."""
        if self._flushing is not None:
            await asyncio.wait((self._flushing,))
        counters = list(self._counters.values())
        async with self._turn:
            try:
                if counters:
                    await self._report(counters, [0] * len(counters), keep=False)
            except StoreLost as lost:
                self._grumble(lost)
        await self._remote.close_async()

    def _grumble(self, lost: StoreLost) -> None:
        if not self._grumbled:  # four times a second would bury everything else
            _log.warning(LOST, lost)
        self._grumbled = True

    async def _lease(self, lane: Lane, needs: Sequence[int], now: float) -> None:
        version = self._remote.version()
        for counter, need in zip(lane.counters, needs, strict=True):
            if counter.still_full(need, version, now):
                raise Full(counter.rule.quota, counter.retry_at)
        outcome = await self._report(lane.counters, needs, keep=True)
        self._take(lane, needs, outcome, self._remote.version())

    async def _report(self, counters: Sequence[Counter], needs: Sequence[int], keep: bool) -> Outcome:
        """One step. What this worker did while it was under way is in the next one's report."""
        drafts = [Draft(counter, need, keep) for counter, need in zip(counters, needs, strict=True)]
        worker = self.worker
        outcome = await self._remote.step_async(
            [counter.id for counter in counters],
            lambda states, now: step(states, drafts, worker, now, exclusive=False),
        )
        seen = max(outcome.times, default=0.0)
        if self._high < seen <= self._high + STEP:
            self._high = seen
        apply(counters, drafts, outcome, seen or self.time())
        return outcome

    async def _read(self, lanes: Sequence[Lane]) -> None:
        """What others did, and what is closed."""
        counters = list(self._counters.values())
        ids = [lane.id for lane in lanes] + [lane.key_id for lane in lanes]
        states: list[State] = await self._remote.read_async([*ids, *(counter.id for counter in counters)])
        now = self.time()
        for lane, own, key in zip(lanes, states, states[len(lanes) :], strict=False):
            if lane.id not in self._notes and lane.key_id not in self._notes:
                lane.look(own, key, now)
        for counter, state in zip(counters, states[len(ids) :], strict=True):
            counter.look(state, now)
        self._unread -= {lane.id for lane in lanes}

    def _open(self, target: Target) -> Lane:
        known = self._lanes.get(target.id)
        lane = super()._open(target)
        if lane is not known:
            self._unread.add(lane.id)
        return lane

    def _note(self, note: Note) -> None:
        older = self._notes.get(note.id)
        super()._note(note)
        if older is not None and note.until < 0:  # both a closure and a size: the closure must still be told
            self._notes[note.id] = Note(note.id, older.until, older.why, note.size, note.size_until)


def _writing(note: Note) -> Callable[[list[State], float], None]:
    return lambda states, now: note.write(states[0])
