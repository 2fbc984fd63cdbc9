"""What may still be spent, where: a reservation takes from every quota of a target, or from none.

    reserve  before sending: the estimate is held      settle  usage is known: the truth replaces it
    release  it never left: all of it comes back       doubt   it was sent, usage unknown: it stands

Rules: nothing here awaits (`remote.py` does, for a store across a network), so a reservation is atomic on the
event loop. The hot path spends a leased slice in memory; only when that is short does it go to the store. One
ledger belongs to one event loop. `worker` must be unique among all that share the store, also across
restarts. `flush` must be called every 0.25-1 s: it is the sign of life, and it gives back what is not needed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import Callable, Iterable, Sequence

from potluck.errors import TargetFailed
from potluck.quota import learn
from potluck.quota.counter import Counter
from potluck.quota.hold import Hold
from potluck.quota.lane import Lane, Note
from potluck.quota.observe import readings, verdict
from potluck.quota.room import Full, QuotaState, Room, Short
from potluck.quota.state import STEP, Store, StoreLost
from potluck.quota.step import Draft, Outcome, apply, step
from potluck.types import Clock, Target

__all__ = ["Full", "Hold", "Ledger", "QuotaState", "Room", "Short"]

_log = logging.getLogger("potluck.quota")
LOST = "Quota: %s. What is leased goes on, nothing more is leased."


class Ledger:
    def __init__(
        self, store: Store, clock: Clock, *, worker: str, jitter: Callable[[], float] = random.random
    ) -> None:
        self.worker = worker
        self._store, self._wall, self._jitter = store, clock.now, jitter
        self._high = 0.0
        self._lanes: dict[str, Lane] = {}
        self._counters: dict[str, Counter] = {}
        self._notes: dict[str, Note] = {}  # closures a remote store has not been told yet
        self._version = -1
        self._freed: Callable[[str], None] | None = None

    def time(self) -> float:
        """Epoch seconds that never run back: an NTP step must not reopen a window.

        After a longer step (the clock had been wrong) time goes on from where it is now; each quota's own
        state knows what was seen, and every lease is asked for again.
        """
        now = self._wall()
        if now >= self._high:
            self._high = now
        elif self._high - now > STEP:
            self._high = now
            for counter in self._counters.values():
                counter.expires, counter.last, counter.next_event = 0.0, -math.inf, 0.0
        return self._high

    def reserve(self, target: Target, tokens_in: int, tokens_out: int) -> Hold:
        """Take the estimate from every quota or from none. Raises `Full`; `Short` if the store must be
        awaited.
        """
        lane = self._lanes.get(target.id)
        if lane is None or lane.target is not target:
            lane = self._open(target)
        now = self.time()
        if now < lane.closed or tokens_in + tokens_out >= lane.fits:
            raise self._refusal(lane, tokens_in + tokens_out, now)
        if not self._fast(lane, tokens_in, tokens_out, now):
            if self._store.remote:
                raise Short
            self._slow(lane, tokens_in, tokens_out, now)
        return Hold(self.time, lane, tokens_in, tokens_out)

    async def reserve_async(self, target: Target, tokens_in: int, tokens_out: int) -> Hold:  # see `remote.py`
        return self.reserve(target, tokens_in, tokens_out)

    def _fast(self, lane: Lane, tokens_in: int, tokens_out: int, now: float) -> bool:
        """Spend from the leases if all of them suffice. Two passes: nothing is taken unless everything is."""
        for counter in lane.units:
            if counter.free < 1 or now >= counter.expires:
                return False
        for counter, a, b in lane.sized:
            if counter.free < a * tokens_in + b * tokens_out or now >= counter.expires:
                return False
        for counter in lane.units:
            counter.crowded = counter.held > 0
            counter.free -= 1
            counter.held += 1
        for counter, a, b in lane.sized:
            need = a * tokens_in + b * tokens_out
            counter.crowded = counter.held > 0
            counter.free -= need
            counter.held += need
        return True

    def _slow(self, lane: Lane, tokens_in: int, tokens_out: int, now: float) -> None:
        """Lease what is short, all quotas in one step. A refusal is remembered until something changes."""
        needs = lane.needs(tokens_in, tokens_out)
        version = self._store.version()  # before the step: what others change after it must be noticed
        for counter, need in zip(lane.counters, needs, strict=True):
            if counter.still_full(need, version, now):
                raise Full(counter.rule.quota, counter.retry_at)
        try:
            outcome = self._sync(lane.counters, needs)
        except StoreLost as lost:
            raise Full(lane.counters[0].rule.quota, now + 1.0, str(lost)) from lost
        self._take(lane, needs, outcome, version)

    def _take(self, lane: Lane, needs: Sequence[int], outcome: Outcome, version: int) -> None:
        if outcome.blocked >= 0:
            counter, need = lane.counters[outcome.blocked], needs[outcome.blocked]
            counter.refuse(need, version, outcome.retry_at)
            raise Full(counter.rule.quota, outcome.retry_at)
        for counter, need in zip(lane.counters, needs, strict=True):
            counter.crowded = counter.held > 0
            counter.free -= need
            counter.held += need

    def _sync(self, counters: Sequence[Counter], needs: Sequence[int], keep: bool = True) -> Outcome:
        now, worker, exclusive = self.time(), self.worker, self._store.exclusive
        drafts = [Draft(counter, need, keep) for counter, need in zip(counters, needs, strict=True)]
        ids = [counter.id for counter in counters]
        outcome = self._store.step(ids, lambda states: step(states, drafts, worker, now, exclusive))
        seen = max(outcome.times)
        if self._high < seen <= self._high + STEP:
            self._high = seen
        apply(counters, drafts, outcome, now)
        return outcome

    def _tell(self, counters: Sequence[Counter], keep: bool = True) -> None:
        """A step that asks for nothing. A lost store is told later: everything stays pending, leases run out."""
        try:
            self._sync(counters, [0] * len(counters), keep)
        except StoreLost as lost:
            _log.warning(LOST, lost)

    def room(self, target: Target) -> Room:
        """What is left at a target as far as this worker knows: cheap, a router asks about all of them."""
        lane = self._lanes.get(target.id)
        if lane is None or lane.target is not target:
            lane = self._open(target)
        now, worker = self.time(), self.worker
        share, scarcest, units = 1.0, None, 0
        opens = lane.closed if lane.closed > now else 0.0
        for counter in lane.counters:
            available = counter.available(now, worker)
            if counter.closed > now:
                available, opens = 0, max(opens, counter.closed)
            elif available < counter.rule.scale:
                if (counter.pending or counter.spent) and not self._store.remote:
                    self._tell([counter])
                    available = counter.available(now, worker)
                if available < counter.rule.scale:
                    opens = max(opens, counter.opens_at(1, now))
            part = available / (counter.allowed or 1)
            if scarcest is None or part < share:
                share, scarcest, units = part, counter.rule.quota, available // counter.rule.scale
        return Room(0.0 if opens else min(1.0, share), opens, scarcest, units)

    def lane(self, target: Target) -> Lane:
        """A target's counters: for forecasts and prices, which only read them."""
        lane = self._lanes.get(target.id)
        return lane if lane is not None and lane.target is target else self._open(target)

    def cool(self, target: Target, until: float, reason: str) -> None:
        """Close one target until `until` for every worker, across restarts; a moment in the past reopens it."""
        lane = self._open(target)
        self._note(Note(lane.id, until, reason))

    def observe(self, target: Target, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """What an answer's headers say about limits and what is left. The provider's own count wins."""
        lane = self._lanes.get(target.id) or self._open(target)
        if not lane.headers:
            return
        now = self.time()
        for reading in readings(lane.headers, headers, now):
            for counter in lane.counters:
                if learn.adopt(counter, reading, now, self.worker) and not self._store.remote:
                    self._tell([counter])

    def refused(self, target: Target, failure: TargetFailed, tokens: int = 0) -> float:
        """Close the right quota until the right time; epoch seconds when such a request may go there again.

        `tokens`: the estimate that was refused; with a 413 no request of that size is sent there for a day.
        """
        lane, now = self._open(target), self.time()
        judged = verdict(failure, lane.strikes, self._jitter())
        if judged is None:
            return now
        lane.strikes += 1
        if judged.size:
            if tokens:
                self._note(Note(lane.id, -1.0, "", tokens, now + judged.seconds))
            return math.inf
        counter = learn.blamed(lane.counters, judged, now, self.worker)
        if counter is None:
            until = max(lane.closed, now + (judged.seconds or learn.BLIND.get(judged.means, 60.0)))
            self._note(Note(lane.key_id if judged.key else lane.id, until, judged.why))
            return until
        until = learn.close(counter, judged, now)
        if not self._store.remote:
            self._tell([counter])
        return until

    def snapshot(self, targets: Iterable[Target]) -> list[QuotaState]:
        """Every quota of these targets once, for people and metrics."""
        now, seen = self.time(), {}
        for target in targets:
            for counter in self._open(target).counters:
                seen[counter.id] = counter
        return [counter.describe(now, self.worker) for counter in seen.values()]

    def watch(self, freed: Callable[[str], None] | None) -> None:
        """Tell `freed` the provider of every hold that ends from now on, or nobody: somebody waits for room."""
        self._freed = freed
        for lane in self._lanes.values():
            lane.freed = freed

    def flush(self) -> None:
        """Tell the store what was spent, renew what is in use, return what is not, hear what others did."""
        version = self._store.version()
        for counters, keep in self._due():
            self._tell(counters, keep)
        if version != self._version:
            self._version = version
            self._reread(list(self._lanes.values()), list(self._counters.values()))

    def close(self) -> None:
        """Give back what is unspent; what is in flight stands as spent. The store is the caller's to close."""
        if (counters := list(self._counters.values())) and not self._store.remote:
            self._tell(counters, keep=False)

    def _due(self) -> list[tuple[list[Counter], bool]]:
        """Counters to tell the store about: those in use keep their leases, the idle ones give them back."""
        for lane in self._lanes.values():
            if lane.lingering:
                lane.let_go(self.time())
        busy, idle = list[Counter](), list[Counter]()
        for counter in self._counters.values():
            if counter.held or counter.spent or counter.pending or counter.facts:
                busy.append(counter)
            elif counter.free:
                (busy if self._store.exclusive else idle).append(counter)
        return [(counters, keep) for counters, keep in ((busy, True), (idle, False)) if counters]

    def _reread(self, lanes: Sequence[Lane], counters: Sequence[Counter]) -> None:
        now = self.time()
        ids = [lane.id for lane in lanes] + [lane.key_id for lane in lanes]
        try:
            states = self._store.read([*ids, *(counter.id for counter in counters)])
        except StoreLost as lost:
            _log.warning(LOST, lost)
            return
        for lane, own, key in zip(lanes, states, states[len(lanes) :], strict=False):
            lane.look(own, key, now)
        for counter, state in zip(counters, states[len(ids) :], strict=True):
            counter.look(state, now)

    def _note(self, note: Note) -> None:
        """A closed target or key holds here at once, elsewhere from their next flush on."""
        now = self.time()
        for lane in self._lanes.values():
            if note.id in (lane.id, lane.key_id):
                lane.hear(note, now)
        if self._store.remote:
            self._notes[note.id] = note
        else:
            with contextlib.suppress(StoreLost):
                self._store.step([note.id], lambda states: note.write(states[0]))

    def _refusal(self, lane: Lane, tokens: int, now: float) -> Full:
        if now < lane.closed:
            return Full(None, lane.closed, f"{lane.target.id} is cooling down: {lane.why}")
        return Full(None, math.inf, f"{lane.target.id} refused {lane.fits:.0f} tokens; this is {tokens}")

    def _open(self, target: Target) -> Lane:
        """A target's lane. Counters are shared by every target that falls under the same quota."""
        lane = self._lanes.get(target.id)
        if lane is not None and (lane.target is target or lane.target == target):
            lane.target = target
            return lane
        fresh, counters = [], []
        for quota in target.quotas:
            counter = self._counters.get(quota.id)
            if counter is None:
                counter = self._counters[quota.id] = Counter(quota)
                fresh.append(counter)
            counters.append(counter)
        lane = self._lanes[target.id] = Lane(target, counters)
        lane.freed = self._freed
        if not self._store.remote:
            self._reread([lane], fresh)
        return lane
