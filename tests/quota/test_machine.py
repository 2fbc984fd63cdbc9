"""Any story of workers, crashes and restarts over one SQLite file, against a provider that counts as it
likes.

The provider may count a request at any moment between its reservation and its end, whichever hurts most. So
at each moment everything that was in flight at some time of the running window may have been counted in it,
and must fit.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from potluck.quota.ledger import Full, Hold, Ledger
from potluck.quota.sqlite import SqliteStore
from potluck.types import Quota, Usage, Window
from tests.quota.conftest import Clock, quota, target

LA = "America/Los_Angeles"
START = datetime(2026, 11, 1, 0, 30, tzinfo=ZoneInfo(LA)).timestamp()  # the day that has 25 hours
TIGHT = target(
    quota(4, Window("rolling", 10)),
    quota(300, Window("fixed", 60, "UTC"), "tokens"),
    quota(40, Window("day", zone=LA)),
    quota(3, Window("concurrent"), "concurrent"),
    quota(900, Window("rolling", 3600), "output_tokens"),
)
WIDE = target(quota(2000, Window("rolling", 100), scope="wide"), quota(5000, Window("day"), scope="wide"))


class Sent:
    """One request as the provider sees it: from when until when it may be counted, and for how much at most."""

    def __init__(self, hold: Hold, worker: int, start: float, tokens_in: int, tokens_out: int) -> None:
        self.hold, self.worker, self.start, self.end = hold, worker, start, float("inf")
        self.tokens_in, self.tokens_out, self.never = tokens_in, tokens_out, False

    def costs(self, quota: Quota) -> int:
        if self.never:
            return 0
        sizes = {"tokens": self.tokens_in + self.tokens_out, "output_tokens": self.tokens_out}
        return sizes.get(quota.unit, 1)


def began(window: Window, now: float) -> float:
    """When the running window of the provider began."""
    if window.kind == "rolling":
        return now - window.seconds
    if window.kind == "fixed":
        return now // window.seconds * window.seconds
    local = datetime.fromtimestamp(now, ZoneInfo(window.zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock, self.names, self.sent = Clock(START), 0, list[Sent]()
        self.stores: list[SqliteStore] = []
        self.ledgers: list[Ledger] = []
        self.refusals: list[tuple[float, float]] = []
        for _ in range(2):
            self.stores.append(SqliteStore(self.folder / "quota.db", self.clock.now))
            self.ledgers.append(self._ledger(self.stores[-1]))

    def _ledger(self, store: SqliteStore) -> Ledger:
        self.names += 1
        return Ledger(store, self.clock, worker=f"w{self.names}")

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)

    @rule(
        worker=st.integers(0, 1), tokens=st.tuples(st.integers(0, 90), st.integers(0, 90)), wide=st.booleans()
    )
    def reserve(self, worker: int, tokens: tuple[int, int], wide: bool) -> None:
        try:
            hold = self.ledgers[worker].reserve(WIDE if wide else TIGHT, *tokens)
        except Full as full:
            self.refusals.append((self.clock.at, full.retry_at))
            return
        self.sent.append(Sent(hold, worker, self.clock.at, *tokens))
        self.sent[-1].hold_target = WIDE if wide else TIGHT  # type: ignore[attr-defined]

    @precondition(lambda self: any(sent.end == float("inf") for sent in self.sent))
    @rule(data=st.data(), part=st.floats(0, 1), how=st.sampled_from(["settle", "doubt", "release"]))
    def end(self, data: st.DataObject, part: float, how: str) -> None:
        open = [sent for sent in self.sent if sent.end == float("inf")]
        sent = open[data.draw(st.integers(0, len(open) - 1))]
        sent.end = self.clock.at
        if how == "settle":
            sent.tokens_in, sent.tokens_out = int(sent.tokens_in * part), int(sent.tokens_out * part)
            sent.hold.settle(Usage(sent.tokens_in, sent.tokens_out))
        elif how == "doubt":
            sent.hold.doubt()
        else:
            sent.never = True
            sent.hold.release()

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.9, 4.0, 9.9, 30.0, 61.0, 1000.0, 22 * 3600.0]))
    def time_passes(self, seconds: float) -> None:
        """In steps of a second with flushes, as in life: a worker that is not dead gives signs of life."""
        target = self.clock.at + seconds
        while self.clock.at < target:
            self.clock.at = min(target, self.clock.at + (1.0 if seconds < 100 else seconds / 10))
            for ledger in self.ledgers:
                ledger.flush()

    @rule(seconds=st.sampled_from([0.4, 5.0]))
    def the_clock_steps_back(self, seconds: float) -> None:
        """NTP. Real time goes on: the same moments come twice, and the provider's windows do not."""
        for ledger in self.ledgers:
            before = ledger.time()
            self.clock.at -= seconds
            assert ledger.time() == before
            self.clock.at += seconds

    @rule(worker=st.integers(0, 1))
    def a_worker_is_killed(self, worker: int) -> None:
        self._end_all(worker)
        self.ledgers[worker] = self._ledger(self.stores[worker])

    @rule(worker=st.integers(0, 1))
    def a_worker_restarts(self, worker: int) -> None:
        self.ledgers[worker].close()
        self._end_all(worker)
        self.stores[worker].close()
        self.stores[worker] = SqliteStore(self.folder / "quota.db", self.clock.now)
        self.ledgers[worker] = self._ledger(self.stores[worker])

    def _end_all(self, worker: int) -> None:
        for sent in self.sent:
            if sent.worker == worker and sent.end == float("inf"):
                sent.end = self.clock.at

    @invariant()
    def a_refusal_names_a_later_moment(self) -> None:
        assert all(retry_at > at for at, retry_at in self.refusals)

    @invariant()
    def no_limit_is_overrun(self) -> None:
        for place in (TIGHT, WIDE):
            mine = [sent for sent in self.sent if sent.hold_target is place]  # type: ignore[attr-defined]
            for limit in place.quotas:
                if limit.unit == "concurrent":
                    used = sum(sent.end == float("inf") for sent in mine)
                else:
                    since = began(limit.window, self.clock.at)
                    used = sum([sent.costs(limit) for sent in mine if sent.end >= since])
                assert used <= limit.amount, f"{used} of {limit}"


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
