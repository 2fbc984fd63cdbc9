"""`make faults`: every fault of docs/faults.md, fifty times, thirty-two at once, and what became of each request.

Each repetition is a gateway of its own with two pretend providers, over real sockets (`tests/fault_table.py`). Beside the
wall: how soon a provider learns that a client hung up, and what a rolling restart under load loses. Writes
`bench/results/faults.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.faults_restart import restarted
from tests.fault_table import Struck, strike, table
from tests.wall import wall

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "results" / "faults.json"
CUT = ("cut, and nothing says so", "not whole", "finish missing")  # a cut answer passed off as whole
Found = dict[str, Any]


async def row(fault: str, phase: str, expected: Struck, times: int, at_once: asyncio.Semaphore) -> Found:
    """One cell of the table, so many times."""

    async def one() -> Struck:
        async with at_once:
            with tempfile.TemporaryDirectory() as home:
                return await strike(fault, phase, Path(home))

    seen = Counter(await asyncio.gather(*(one() for _ in range(times))))
    wrong = {" / ".join(struck): count for struck, count in seen.items() if struck != expected}
    return {
        "fault": fault,
        "phase": phase,
        "as_the_table_says": seen[expected],
        "of": times,
        "passed_off_as_whole": sum(n for one, n in seen.items() if any(word in one.seen for word in CUT)),
        "otherwise": wrong,
    }


async def hang_ups(times: int) -> Found:
    """Milliseconds from a client's leaving to the provider's connection being gone."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as home:
            async with wall(Path(home), interval=0.02) as one:
                found.append(1e3 * await one.hang_up(after=3))
                await one.settled()
    return {"median_ms": round(statistics.median(found), 2), "worst_ms": round(max(found), 2), "of": times}


async def measure(times: int, at_once: int) -> Found:
    slots, rows, began = asyncio.Semaphore(at_once), [], time.monotonic()
    for line in table():
        for phase in line.phases():
            rows.append(await row(line.fault, phase, line.expected(phase), times, slots))
            last = rows[-1]
            mark = "ok" if last["as_the_table_says"] == times else f"OTHERWISE {last['otherwise']}"
            print(f"{line.fault:52} {phase:7} {last['as_the_table_says']}/{times} {mark}", flush=True)
    faults = {one["fault"] for one in rows}
    good = {
        name for name in faults if all(r["as_the_table_says"] == times for r in rows if r["fault"] == name)
    }
    found: Found = {
        "faults": len(faults),
        "passed": len(good),
        "repetitions": times,
        "at_once": at_once,
        "passed_off_as_whole": sum(one["passed_off_as_whole"] for one in rows),
        "duplicates": sum(n for one in rows for text, n in one["otherwise"].items() if "not whole" in text),
        "hang_up": await hang_ups(min(times, 50)),
        "rolling_restart": await asyncio.to_thread(restarted),
        "rows": rows,
    }
    print(f"{len(good)} of {len(faults)} faults as the table says, {time.monotonic() - began:.0f} s")
    for name in ("passed_off_as_whole", "duplicates", "hang_up", "rolling_restart"):
        print(f"{name}: {found[name]}")
    return found


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    asked.add_argument("--times", type=int, default=50)
    asked.add_argument("--at-once", type=int, default=32)
    options = asked.parse_args()
    logging.disable(logging.WARNING)  # a broken provider is the point here
    found = asyncio.run(measure(options.times, options.at_once))
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(OUT.relative_to(ROOT))
    return 0 if found["passed"] == found["faults"] and not found["passed_off_as_whole"] else 1


if __name__ == "__main__":
    sys.exit(main())
