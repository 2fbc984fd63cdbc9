"""`python -m bench.gateway`: installs the peers, measures every system, prints a table, writes the results.

Rules: one system runs at a time, all of them in one run against one upstream process. A system that cannot be
had or started is reported with the reason. Results go to `bench/results/gateway.json` only when all systems
were asked for; a partial or quick run goes to `bench/.work/`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from bench.gateway import measure, report
from bench.gateway.install import Unavailable, ensure
from bench.gateway.load import Plan
from bench.gateway.measure import Figures
from bench.gateway.proc import Process, allow_many_sockets, gateway_cpu, other_cpu
from bench.gateway.systems import ROOT, SYSTEMS, WORK, Launch, Site, System, environment

CELLS = {
    "json_1": Plan(port=0, connections=1),
    "json_64": Plan(port=0, connections=64),
    "stream_16": Plan(port=0, connections=16, stream=True),
}
BODIES = Plan(port=0, connections=16, pad_bytes=measure.BODY_BYTES)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def version(system: System) -> str:
    """What the installed program says of itself."""
    folder = WORK.parent / ".peers" / system.name
    cwd = folder if folder.is_dir() else ROOT
    done = subprocess.run(system.version, capture_output=True, text=True, cwd=cwd, check=False)
    return (done.stdout or done.stderr).strip().rpartition("/")[2] if done.returncode == 0 else "unknown"


def start(system: System, site: Site, launch: Launch, plan: Plan) -> tuple[Process, float]:
    """The system, answering, and the seconds that took. Raises RuntimeError with the reason."""
    began = time.perf_counter()
    process = Process(
        launch.argv, cpu=gateway_cpu(), log=site.work / "log", env=environment(launch), cwd=site.work
    )
    try:
        return process, measure.first_answer(process, plan, began, system.patience)
    except BaseException:
        process.stop()
        raise


def started(system: System, site: Site, launch: Launch, plan: Plan) -> tuple[Process, float]:
    """As `start`; the time is the median of three starts where they are quick."""
    times: list[float] = []
    while True:
        process, seconds = start(system, site, launch, plan)
        times.append(seconds)
        if seconds > 3.0 or len(times) == 3:
            return process, round(statistics.median(times), 3)
        process.stop()


def measured(system: System, upstream: int, floor: Figures, seconds: float) -> Figures:
    """All figures of one system, or its `error`."""
    work = WORK / system.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    site = Site(work, free_port(), upstream)
    try:
        ensure(system.name)
        figures: Figures = {"version": version(system)}
        launch = system.prepare(site)
        plan = Plan(port=site.port, model=launch.model, headers=launch.headers, seconds=seconds, warmup=1.0)
        process, figures["startup_s"] = started(system, site, launch, plan)
    except (Unavailable, RuntimeError, OSError) as error:
        return {"error": str(error)}
    try:
        fill(figures, process, plan, system, floor, upstream)
    finally:
        process.stop()
    return figures


def fill(
    figures: Figures, process: Process, plan: Plan, system: System, floor: Figures, upstream: int
) -> None:
    """The cells of one running system, in an order that keeps the memory figure clean."""
    for name, shape in CELLS.items():
        print(f"  {system.name}: {name} …", flush=True)
        figures[name] = measure.cell(process, _like(shape, plan), floor[name])
    if system.thorough:
        print(f"  {system.name}: bodies, 100,000 requests, 1,000 streams …", flush=True)
        figures["bodies"] = measure.cell(process, _like(BODIES, plan), floor["bodies"])
        figures["memory"] = measure.memory(process, plan)
    figures["rss_mb"] = round(process.rss_mb(), 1)
    if system.thorough:
        figures["streams_1000"] = measure.many_streams(process, plan, upstream)


def _like(shape: Plan, plan: Plan) -> Plan:
    return msgspec.structs.replace(
        plan, connections=shape.connections, stream=shape.stream, pad_bytes=shape.pad_bytes
    )


def about() -> Figures:
    """The machine and the run; figures of two machines are not comparable."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu.partition(":")[2].strip(),
        "cpus": len(os.sched_getaffinity(0)),
        "pinned": bool(gateway_cpu()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def run(names: list[str], seconds: float) -> Figures:
    """Every system of `names` against one upstream process."""
    (WORK / "upstream").mkdir(parents=True, exist_ok=True)
    port = free_port()
    argv = [sys.executable, "-m", "bench.gateway.upstream", str(port)]
    log = WORK / "upstream" / "log"
    upstream = Process(argv, cpu=other_cpu(), log=log, env=dict(os.environ), cwd=ROOT)
    results: Figures = {}
    try:
        plan = Plan(port=port, seconds=seconds)
        measure.first_answer(upstream, plan, time.perf_counter(), 10.0)
        print("  direct …", flush=True)
        shapes = {**CELLS, "bodies": BODIES}
        floor = {name: measure.cell(None, _like(shape, plan)) for name, shape in shapes.items()}
        for system in SYSTEMS:
            if system.name in names:
                results[system.name] = measured(system, port, floor, seconds)
        results["_direct"] = floor
    finally:
        upstream.stop()
    return results


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two runs at once would measure each other: the second one is refused."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("Another bench is running here, and each would slow the other: wait for it to end.")
        yield


def main() -> int:
    """Exit status 1 only when Potluck itself could not be measured."""
    every = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--only", default=",".join(every), help="systems, separated by commas")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one cell (default 6)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    args = parser.parse_args()
    names = args.only.split(",")
    whole = set(names) == set(every) and args.seconds >= 5
    out = args.out or (ROOT / "bench" / "results" if whole else WORK) / "gateway.json"
    allow_many_sockets()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is stopped on the way out
    began, machine = time.perf_counter(), about()
    os.sched_setaffinity(0, other_cpu() or os.sched_getaffinity(0))
    with alone():
        results = run(names, args.seconds)
    results["_about"] = {**machine, "seconds": round(time.perf_counter() - began)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    report.show(results)
    print(f"\n{out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}")
    return 1 if "error" in results.get("potluck", {}) else 0


if __name__ == "__main__":
    sys.exit(main())
