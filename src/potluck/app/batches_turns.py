"""Whose turn it is: the batches in progress as one worker sees them, and which of them may start a line now.

Rules: clients share by taking turns (the one with the fewest lines in flight is next); of one client, the batch whose
deadline is nearest goes first. Nothing here awaits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

import msgspec

from potluck.app.batches_room import Room, Rooms
from potluck.app.batches_share import kept_share, needs, places
from potluck.store.batch_list import Batch
from potluck.store.batches import Counts, Line
from potluck.types import Clock, Request

MEAN = 0.05  # weight of the newest line in how long one takes


class Job(msgspec.Struct):
    """One batch in progress as this worker sees it."""

    batch: Batch
    open: int  # lines without an answer
    ready: deque[tuple[Line, bytes]]  # claimed by us, not started
    dry: float = 0.0  # monotonic: nothing can be claimed before

    @property
    def typical(self) -> Request:
        """A request such as its lines are, before they are read."""
        kind = "embeddings" if self.batch.endpoint.endswith("/embeddings") else "chat"
        return Request(self.batch.model or "auto", {}, kind=kind)  # type: ignore[arg-type]


class Turns:
    """`busy`: interactive requests served now; `waiting`: those that wait for room; `most` lines at once."""

    def __init__(
        self, rooms: Rooms, clock: Clock, *, most: int, busy: Callable[[], int], waiting: Callable[[], int]
    ) -> None:
        self._rooms, self._clock, self._most = rooms, clock, most
        self.busy, self.waiting = busy, waiting
        self.jobs: dict[str, Job] = {}
        self.mean = 1.0  # seconds a line takes

    def adopt(self, found: Iterable[tuple[Batch, Counts]]) -> list[Line]:
        """The jobs as they are in the store now; lines that were claimed for what is none any more."""
        known, self.jobs = self.jobs, {}
        for batch, counts in found:
            job = known.pop(batch.id, None) or Job(batch, 0, deque())
            job.batch, job.open = batch, counts.total - counts.completed - counts.failed
            self.jobs[batch.id] = job
        return [line for job in known.values() for line, _ in job.ready]

    def next(self, flying: Collection[Line], passed: Collection[str]) -> Job | None:
        """The job that may start a line; none of those that were `passed` over."""
        busy, waiting = self.busy(), self.waiting()
        mine: dict[str, int] = {}
        for line in flying:
            owner = self.jobs.get(line.batch)
            if owner is not None:
                mine[owner.batch.tenant] = mine.get(owner.batch.tenant, 0) + 1
        able = [
            job
            for id, job in self.jobs.items()
            if id not in passed
            and len(flying) < places(busy=busy, waiting=waiting, kept=self.kept(job), most=self._most)
        ]
        return min(able, key=lambda job: (mine.get(job.batch.tenant, 0), job.batch.deadline), default=None)

    def kept(self, job: Job) -> float:
        """The part of interactive demand that this batch leaves alone: all, until its deadline nears."""
        batch, speed = job.batch, self._rooms.find(job.typical, 1.0).speed
        needed = needs(
            lines=job.open, each=self.mean, most=self._most, speed=speed, window=batch.deadline - batch.at
        )
        return kept_share(now=self._clock.now(), needs=needed, deadline=batch.deadline)

    def room(self, job: Job, request: Request | None = None) -> Room:
        return self._rooms.find(request or job.typical, self.kept(job))

    def took(self, seconds: float) -> None:
        """A line was answered in so long."""
        self.mean += MEAN * (seconds - self.mean)
