"""Works batches off on what the quotas have left over: one task in each worker, all of them share the store.

Rules: a line is claimed with a lease that its worker renews while it lives, so that after `kill -9` another worker
asks it again when the lease ended, and never earlier. Toward a provider that is "at least once" for the lines that
were in flight at the kill, and exactly once for all others; toward the client each line has exactly one result. Lines
start only where there is room to spare (`batches_room`), one at a time while anybody interactive is served, and none
while one waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from potluck.app import batches_room
from potluck.app.batches_room import Rooms
from potluck.app.batches_turns import Job, Turns
from potluck.app.batches_work import Work
from potluck.errors import ConfigError
from potluck.server.lines import Lines, Outcome
from potluck.store import batch_list, batches, reports
from potluck.store.aside import Aside
from potluck.store.batch_list import Batch
from potluck.store.batches import Answered, Counts, Line
from potluck.store.database import Connection
from potluck.store.keys import ClientKey
from potluck.surfaces.batch_lines import body_of
from potluck.surfaces.routes import POSTS
from potluck.surfaces.surface import Asked
from potluck.types import Clock, Request

LOOK = 0.5  # seconds between looks at the store while there are batches: how soon a cancellation is seen
IDLE = 2.0  # … while there are none: how soon another worker's upload is seen
BLOCKED = 0.05  # … at what stands in the way
LEASE, RENEW = 30.0, 10.0  # seconds a line is its worker's, and how often the worker says that it lives
CHORE = 30.0  # seconds a batch as a whole is its worker's while it reads or writes files
LEARN, DEMAND = 15.0, 3600.0  # seconds between readings of who spent what, and how far back they go
GRACE = 3.0  # seconds that lines in flight have to end when their batch is cancelled,
LAST = 10.0  # … or their worker ends

_log = logging.getLogger("potluck")


class Found(msgspec.Struct):
    """What one look at the store says. `ending`: cancelled, but lines in flight still have their grace."""

    jobs: list[tuple[Batch, Counts]]
    chores: list[Batch]  # to be read, or to be ended
    ending: set[str]


class Runner:
    """`who`: the key of a tenant, None if it works no more. `at_once`: lines claimed together."""

    def __init__(
        self,
        aside: Aside,
        work: Work,
        lines: Lines,
        rooms: Rooms,
        turns: Turns,
        clock: Clock,
        *,
        worker: str,
        at_once: int,
        who: Callable[[str], ClientKey | None],
    ) -> None:
        self._aside, self._work, self._lines, self._rooms, self.turns = aside, work, lines, rooms, turns
        self._clock, self._worker, self._at_once, self._who = clock, worker, at_once, who
        self._flying: dict[asyncio.Task[None], Line] = {}
        self._answered: deque[Answered] = deque()
        self._chore: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._look_at = self._renew_at = self._learn_at = 0.0
        self._resting = False
        self._troubles = (OSError, ConfigError, aside.database.dbapi.Error)

    def wake(self) -> None:
        """There is something new."""
        self._look_at = 0.0
        self._woken.set()

    def rest(self) -> None:
        """The gateway is about to end: no more lines start."""
        self._resting = True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause = LOOK
            try:
                pause = await self._turn()
            except self._troubles as error:
                _log.warning("batches could not be worked on, trying again: %s", error)
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()

    async def stop(self) -> None:
        """After `run` was cancelled: lines in flight get a moment to end, the others are given back."""
        self._resting = True
        if self._chore is not None:
            self._chore.cancel()
        if self._flying:
            _, late = await asyncio.wait(self._flying, timeout=LAST)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._aside.do(partial(batches.let_go, worker=self._worker))
            await self._aside.do(partial(batch_list.let_go, worker=self._worker))
        except self._troubles as error:
            _log.warning("lines of batches could not be given back, they wait for their lease: %s", error)

    @property
    def flying(self) -> int:
        """Lines in flight."""
        return len(self._flying)

    async def _turn(self) -> float:
        """One round: seconds until the next one, unless something happens."""
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK
            await self._look(now)
        jobs = self.turns.jobs
        if jobs:
            await self._start()
        elif self._chore is None and self._look_at:  # 0: somebody woke us while we looked
            self._look_at = now + IDLE
        pause = BLOCKED if any(job.ready for job in jobs.values()) else self._look_at - now
        return max(0.0, min(pause, self._look_at - now))

    async def _look(self, now: float) -> None:
        found = await self._aside.do(self._read)
        for line in self.turns.adopt(found.jobs):
            await self._aside.do(partial(batches.give_back, line=line, worker=self._worker))
        jobs = self.turns.jobs
        for task, line in self._flying.items():
            if line.batch not in jobs and line.batch not in found.ending:
                task.cancel()
        if jobs and now >= self._renew_at:
            self._renew_at = now + RENEW
            held = [*self._flying.values(), *(line for job in jobs.values() for line, _ in job.ready)]
            until = self._clock.now() + LEASE
            await self._aside.do(partial(batches.renew, lines=held, worker=self._worker, until=until))
        if jobs and now >= self._learn_at:
            self._learn_at = now + LEARN
            await self._learn()
        if self._chore is None and found.chores and not self._resting:
            self._chore = asyncio.create_task(self._do(found.chores))

    def _read(self, connection: Connection) -> Found:
        """Every unfinished batch, moved to the status that it has reached by itself."""
        now, found = self._clock.now(), Found([], [], set())
        for batch in batch_list.unfinished(connection):
            if batch.status == "in_progress":
                counts = batches.counts(connection, batch.id)
                if counts.total > counts.completed + counts.failed and now < batch.deadline:
                    found.jobs.append((batch, counts))
                else:
                    batch_list.move(connection, batch, "finalizing", finalizing=now)
                    self._look_at = 0.0  # and then its files are written
            elif batch.status == "cancelling" and now < batch.cancelling + GRACE:
                if batches.held(connection, batch.id, now):
                    found.ending.add(batch.id)
                else:
                    found.chores.append(batch)
            else:
                found.chores.append(batch)
        return found

    async def _learn(self) -> None:
        quotas, at = self._rooms.quotas(), self._clock.now()

        def learn(connection: Connection) -> dict[str, float]:
            return batches_room.shares(quotas, reports.demand(connection, at, DEMAND))

        self._rooms.learn(await self._aside.do(learn))

    async def _do(self, chores: list[Batch]) -> None:
        """The first of these that no other worker does."""
        try:
            for batch in chores:
                lease = partial(
                    batch_list.lease, batch=batch, worker=self._worker, now=self._clock.now(), seconds=CHORE
                )
                if await self._aside.do(lease):
                    await (
                        self._work.read(batch) if batch.status == "validating" else self._work.write(batch)
                    )
                    break
        except self._troubles as error:
            _log.warning("a batch could not be read or written, trying again: %s", error)
        except Exception:
            _log.exception("reading or writing a batch failed in a way it must not; trying again")
        finally:
            self._chore = None
            self.wake()

    async def _start(self) -> None:
        """Starts lines until there is no place, no room, or no line."""
        passed: set[str] = set()
        while not self._resting:
            job = self.turns.next(self._flying.values(), passed)
            if job is None:
                return
            if not job.ready and not await self._claim(job):
                passed.add(job.batch.id)
                continue
            room = self.turns.room(job)
            if room.lines <= 0:
                passed.add(job.batch.id)
                continue
            room.lines -= 1
            line, raw = job.ready.popleft()
            task = asyncio.create_task(self._line(job, line, raw))
            self._flying[task] = line
            task.add_done_callback(self._landed)

    async def _claim(self, job: Job) -> bool:
        now = self._clock.monotonic()
        if now < job.dry:
            return False
        batch, most = job.batch, self._at_once

        def claim(connection: Connection) -> list[tuple[Line, bytes]]:
            lines = batches.claim(
                connection, batch.id, self._worker, most, now=self._clock.now(), lease=LEASE
            )
            return self._work.asked(batch, lines)

        job.ready.extend(await self._aside.do(claim))
        if not job.ready:  # all are with other workers, or come back later
            job.dry = now + LOOK
            if not self._flying:
                self._look_at = 0.0  # it may be done
        return bool(job.ready)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.pop(task, None)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a line of a batch was lost until its lease ends", exc_info=error)

    async def _line(self, job: Job, line: Line, raw: bytes) -> None:
        batch, began = job.batch, self._clock.monotonic()
        body, _ = body_of(raw)

        def room(request: Request) -> tuple[str, ...] | None:
            found = self.turns.room(job, request)
            return found.targets if found.targets or not found.known else None

        asked, key = Asked(body, batch.endpoint), self._who(batch.tenant)
        outcome = await self._lines.answer(POSTS[batch.endpoint], asked, key, line.tries, room)
        if outcome.again is None:
            self.turns.took(self._clock.monotonic() - began)
        await self._keep(line, outcome)

    async def _keep(self, line: Line, outcome: Outcome) -> None:
        """Writes down what became of a line; until it is written, it is tried. Several lines share a transaction."""
        keep: Callable[[Connection], None] = self._drain
        if outcome.again is None:
            of = (outcome.request, outcome.status, outcome.body, outcome.tokens_in, outcome.tokens_out)
            self._answered.append(Answered(line.batch, line.number, *of))
        else:
            after = self._clock.now() + outcome.again
            keep = partial(
                batches.give_back, line=line, worker=self._worker, after=after, tried=outcome.tried
            )
        while True:
            try:
                return await self._aside.do(keep)
            except self._troubles as error:
                _log.warning("what became of a line of a batch could not be stored, trying again: %s", error)
                await asyncio.sleep(LOOK)

    def _drain(self, connection: Connection) -> None:
        rows = list(self._answered)
        if rows:
            batches.answer_all(connection, rows)
        for _ in rows:
            self._answered.popleft()
