"""Microseconds of reserve + settle on the hot path: `python -m bench.micro.hold`.

Three quotas a target, as free tiers have them. `plentiful` is what leases are for; `scarce` are real free limits,
where nearly every request asks the store. Flushed every 500 requests. Prints median and mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from potluck.quota.ledger import Full, Ledger, Short
from potluck.quota.memory import MemoryStore
from potluck.quota.remote import RemoteLedger
from potluck.quota.sqlite import SqliteStore
from potluck.quota.state import Store
from potluck.quota.valkey import ValkeyStore
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


def run(ledger: Ledger, name: str) -> list[float]:
    """µs of each reserve + settle; what flushing costs is charged to the request before it."""
    one, times, usage = target(name), [], Usage(500, 300)
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


async def run_remote(ledger: RemoteLedger, name: str) -> list[float]:
    """The same over a store that is awaited. Waiting is not CPU, but it is what a request sees: it is counted."""
    one, times, usage = target(name), [], Usage(500, 300)
    for turn in range(ROUNDS):
        started = time.perf_counter()
        try:
            try:
                hold = ledger.reserve(one, 500, 500)
            except Short:
                hold = await ledger.reserve_async(one, 500, 500)
        except Full:
            break
        hold.settle(usage)
        times.append((time.perf_counter() - started) * 1e6)
        if turn % 500 == 499:
            started = time.perf_counter()
            await ledger.flush_async()
            times[-1] += (time.perf_counter() - started) * 1e6
    return times


async def over_valkey() -> dict[str, list[float]]:
    """A server of our own, on loopback. Raises RuntimeError without one."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise RuntimeError("no redis-server on this machine")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        argv = [program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert server.stdout is not None
        for line in server.stdout:
            if b"eady to accept connections" in line:
                break
        try:
            found = {}
            for name in CASES:
                store = ValkeyStore(f"unix://{path}")
                ledger = RemoteLedger(store, Wall(), worker=name)
                found[name] = await run_remote(ledger, name)
                await ledger.close_async()
            return found
        finally:
            server.terminate()
            server.communicate()


def measure() -> dict[str, dict[str, list[float]]]:
    """µs of each request, by store and case. A store that cannot be had is left out."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for kind in ("memory", "sqlite"):
            store: Store = MemoryStore() if kind == "memory" else SqliteStore(Path(folder) / "quota.db")
            found[kind] = {name: run(Ledger(store, Wall(), worker=name), name) for name in CASES}
            store.close()
    with contextlib.suppress(RuntimeError):
        found["valkey"] = asyncio.run(over_valkey())
    return found


def main() -> None:
    for kind, cases in measure().items():
        for name, times in cases.items():
            middle, mean = statistics.median(times), statistics.fmean(times)
            print(f"{kind:7} {name:10} {len(times):6} requests  median {middle:6.1f} µs  mean {mean:6.1f} µs")


if __name__ == "__main__":
    main()
