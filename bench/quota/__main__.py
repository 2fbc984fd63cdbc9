"""`python -m bench.quota`: 20 pretend providers with the catalog's limits, a crowd, and who breaks which limit.

Two parts. Virtual days give the yield (`yields.py`). A run in real time gives the rest: the same crowd and the same
fresh providers for each system in turn; some clients leave, some streams are cut, and half-way one of Potluck's workers
is killed. Everything is the providers' own count. Results go to `bench/results/quota.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.gateway.proc import Process, allow_many_sockets
from bench.gateway.systems import ROOT
from bench.micro import hold
from bench.quota import report, world, yields
from bench.quota.clients import Ask, Seen, crowd, read, stretch
from bench.quota.systems import SYSTEMS, Running, Unavailable, kill_a_worker

from potluck.errors import PotluckError

CLIENTS, RATE = 256, 25.0  # requests a second offered: more than the free tiers have
LEARN = 0.2  # share of the run that counts as the first learning
LEFT_OUT = ("openai",)  # of the 21 pretend providers: no free tier
WORK = ROOT / "bench" / ".work" / "quota"
Figures = dict[str, Any]


def pretend(work: Path, providers: list[str]) -> tuple[Process, str]:
    """The pretend providers, fresh, in a process of their own: an answer takes 0.3 s, so that many overlap."""
    argv = [sys.executable, "-m", "potluck.sim", "--delay", "0.3"]
    argv += [part for name in providers for part in ("--provider", name)]
    process = Process(
        argv, cpu=set(), log=work / "sim.log", env=dict(os.environ) | {"PYTHONUNBUFFERED": "1"}, cwd=ROOT
    )
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        lines = (work / "sim.log").read_text().splitlines()
        if lines:
            return process, str(json.loads(lines[0])["url"])
        time.sleep(0.05)
    raise RuntimeError(f"the pretend providers did not start: {process.last_words()}")


def providers() -> list[str]:
    from potluck.sim.provider import table

    return [name for name in table() if name not in LEFT_OUT]


def live(name: str, asks: list[Ask], seconds: float, seed: int) -> Figures:
    """One system in real time."""
    work = WORK / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    names = providers()
    simulated, origin = pretend(work, names)
    try:
        running = SYSTEMS[name](work, origin, names)
        try:
            return asyncio.run(_live(running, name, origin, names, asks, seconds, seed))
        finally:
            running.stop()
    except (Unavailable, PotluckError, RuntimeError, OSError) as error:
        return {"error": str(error)}
    finally:
        simulated.stop()


async def _live(
    running: Running, name: str, origin: str, names: list[str], asks: list[Ask], seconds: float, seed: int
) -> Figures:
    learning = [ask for ask in asks if ask.at < seconds * LEARN]
    rest = [Ask(ask.at - seconds * LEARN, ask.tokens_in, ask.tokens_out) for ask in asks[len(learning) :]]

    async def send(part: list[Ask], n: int) -> Seen:
        return await crowd(running.url, running.model, running.headers, part, clients=CLIENTS, seed=seed + n)

    first = await send(learning, 0)
    before = await asyncio.to_thread(world.state, origin)
    await asyncio.to_thread(world.disturb, origin, names, 3)
    sending = asyncio.create_task(send(rest, 1))
    await asyncio.sleep(seconds * (1 - LEARN) / 2)
    killed = name == "potluck" and kill_a_worker(running.process)
    seen = await sending
    await asyncio.sleep(1.5)  # the last hang-ups settle, the last flush is told
    after = await asyncio.to_thread(world.state, origin)
    figures = report.live(before, after, first, seen) | {"killed_a_worker": killed}
    if name == "potluck":
        await asyncio.sleep(6.0)  # what the killed worker had out is settled when its lease ends
        figures |= await asyncio.to_thread(accounting, running.port, world.state(origin))
    return figures


def accounting(port: int, found: dict[str, Any]) -> Figures:
    """Potluck's ledger against the providers' own count, over day and month limits."""
    with urlopen(f"http://127.0.0.1:{port}/potluck/v1/quota") as answer:
        rows = json.load(answer)
    ours: world.Table = {}
    for row in rows:
        key = (row["scope"].split("/")[0], row["label"])
        ours[key] = ours.get(key, 0.0) + row["used"] + row["held"]
    theirs = world.counted(found)
    by_unit = world.errors(theirs, ours)
    rows = {" ".join(key): (round(theirs[key]), round(ours.get(key, 0.0))) for key in sorted(theirs)}
    return {
        "undercount": max((under for under, _ in by_unit.values()), default=None),
        "overcount": max((over for _, over in by_unit.values()), default=None),
        "by_unit": by_unit,
        "theirs_and_ours": rows,
    }


def costs() -> Figures:
    found: Figures = {f"hold_us_{kind}": None for kind in ("memory", "sqlite", "valkey")}
    for kind, cases in hold.measure().items():
        times = [each for case in cases.values() for each in case]
        how = statistics.median if kind == "memory" else statistics.fmean
        found[f"hold_us_{kind}"] = round(how(times), 1)
        print(
            f"  {kind:7} " + "  ".join(f"{case} {statistics.fmean(t):.1f}" for case, t in cases.items()),
            flush=True,
        )
    return found


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m bench.quota", description=__doc__)
    asked.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with traces/"
    )
    asked.add_argument("--minutes", type=float, default=10.0, help="of real time, for each system")
    asked.add_argument("--only", default=",".join(SYSTEMS))
    asked.add_argument("--seed", type=int, default=7)
    asked.add_argument("--quick", action="store_true", help="one minute a system, two days")
    options = asked.parse_args()
    allow_many_sockets()
    try:
        trace = read(options.data / "traces")
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    seconds = 60.0 if options.quick else options.minutes * 60.0
    asks = stretch(trace, round(seconds * RATE), seconds, options.seed)
    names = options.only.split(",")
    results: Figures = {}
    for name in names:
        print(f"{name}: {len(asks)} requests in {seconds:.0f} s, {CLIENTS} clients …", flush=True)
        results[name] = live(name, asks, seconds, options.seed)
        print(f"  {results[name]}", flush=True)
    if "potluck" in results and "error" not in results["potluck"]:
        print("yield, virtual days:", flush=True)
        found = yields.measured((1500,) if options.quick else (1500, 3000, 6000))
        results["potluck"] |= {"yield": round(yields.mean(found), 4), "yield_by_day": found}
        print("reserve + settle, mean µs:", flush=True)
        results["potluck"] |= costs()
    report.show(results)
    whole = not options.quick and set(names) == set(SYSTEMS)
    out = ROOT / "bench" / "results" / "quota.json" if whole else WORK / "quota.json"
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(out.relative_to(ROOT))


if __name__ == "__main__":
    main()
