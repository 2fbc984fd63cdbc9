"""Microseconds of reserve + settle on the hot path: `python bench/micro/ledger.py`.

Three quotas a target, as free tiers have them. `plentiful` is what leases are for; `scarce` are real free limits,
where nearly every request asks the store. Flushed every 500 requests. Prints median and mean.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from potluck.quota.ledger import Full, Ledger
from potluck.quota.memory import MemoryStore
from potluck.quota.sqlite import SqliteStore
from potluck.quota.state import Store
from potluck.types import Quota, Target, Usage, Window

CASES = {"plentiful": (10**6, 10**10, 10**7), "middling": (3000, 10**7, 14_400), "scarce": (900, 10**6, 1000)}
ROUNDS = 20_000


class Wall:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def target(name: str) -> Target:
    minute, tokens, day = CASES[name]
    quotas = (
        Quota(name, "requests", minute, Window("rolling", 60)),
        Quota(name, "tokens", tokens, Window("rolling", 60)),
        Quota(name, "requests", day, Window("day", zone="America/Los_Angeles")),
    )
    return Target(id=name, provider="p", model="m", name="m", base_url="", quotas=quotas)


def run(store: Store, name: str) -> list[float]:
    one, ledger, times, usage = target(name), Ledger(store, Wall(), worker=name), [], Usage(500, 300)
    for turn in range(ROUNDS):
        started = time.perf_counter()
        try:
            hold = ledger.reserve(one, 500, 500)
        except Full:
            break
        hold.settle(usage)
        times.append((time.perf_counter() - started) * 1e6)
        if turn % 500 == 499:
            started = time.perf_counter()
            ledger.flush()
            times[-1] += (time.perf_counter() - started) * 1e6
    ledger.close()
    return times


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("memory", "sqlite"):
            store: Store = MemoryStore() if kind == "memory" else SqliteStore(Path(folder) / "quota.db")
            for name in CASES:
                times = run(store, name)
                middle, mean = statistics.median(times), statistics.fmean(times)
                print(
                    f"{kind:7} {name:10} {len(times):6} requests  median {middle:6.1f} µs  mean {mean:6.1f} µs"
                )
            store.close()


if __name__ == "__main__":
    main()
