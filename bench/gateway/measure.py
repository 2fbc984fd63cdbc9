"""Runs cells: one system, one kind of traffic, the gateway's CPU time before and after.

Rules: a cell is three slices, and its figures are those of the slice that cost least, for all systems alike:
on a shared machine others only ever add. CPU time is read when the load generator is warm and idle, and again
`SETTLE` seconds after its last answer, so that work done behind the answer (records, logs) is charged too. A
figure comes from answers that were whole and right; the others are counted as `errors`. Nothing is made up: no
answer, no figure.
"""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import msgspec
from bench.gateway import wire
from bench.gateway.check import answer_fault
from bench.gateway.load import Plan, Result
from bench.gateway.proc import Process, gateway_cpu_busy, other_cpu
from bench.gateway.systems import ROOT

Figures = dict[str, Any]
SETTLE = 0.3  # seconds
SLICES = 3
BODY_BYTES = 105_000
STREAMS, STREAM_SECONDS, STREAM_INTERVAL = 1000, 10.0, 0.05


class Load:
    """One load generator, warm and waiting for `go`."""

    def __init__(self, plan: Plan) -> None:
        argv = [sys.executable, "-m", "bench.gateway.load", msgspec.json.encode(plan).decode()]
        cpu = other_cpu()
        self._popen = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=(lambda: os.sched_setaffinity(0, cpu)) if cpu else None,
        )
        assert self._popen.stdout is not None
        if self._popen.stdout.readline() != "ready\n":
            raise RuntimeError("the load generator did not start")

    def go(self) -> None:
        """Start; the run ends by itself."""
        assert self._popen.stdin is not None
        self._popen.stdin.write("go\n")
        self._popen.stdin.flush()

    def result(self) -> Result:
        """Wait for the end of this run."""
        assert self._popen.stdout is not None
        return msgspec.json.decode(self._popen.stdout.readline(), type=Result)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        self._popen.communicate()


def first_answer(process: Process, plan: Plan, began: float, patience: float) -> float:
    """Seconds from `began` (perf_counter) to the first right answer. Raises RuntimeError with the reason."""
    body = wire.request_body(plan.model, stream=False)
    headers = {"content-type": "application/json", **plan.headers}
    said = "never listened"
    while time.perf_counter() - began < patience:
        if process.ended is not None:
            raise RuntimeError(f"ended with status {process.ended}: {process.last_words()}")
        connection = http.client.HTTPConnection("127.0.0.1", plan.port, timeout=10)
        try:
            connection.request("POST", plan.path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200 and answer_fault(text) is None:
                return time.perf_counter() - began
            said = f"answered {answer.status}: {text[:300]!r}"
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise RuntimeError(f"no right answer within {patience:.0f} s: {said} | {process.last_words()}")


def _percentile(values: list[int], share: float) -> int:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@dataclass(frozen=True)
class Slice:
    """A third of a cell: what came back, the gateway's CPU seconds, and what others used of its CPU (0..1)."""

    result: Result
    spent: float
    others: float

    @property
    def rank(self) -> tuple[bool, float]:
        """The smallest is the least disturbed: others can make a request dearer, never cheaper."""
        ok = self.result.ok
        cost = (self.spent or self.result.elapsed) / ok if ok else 0.0
        return not ok, cost


def _slice(load: Load, process: Process | None) -> Slice:
    before, busy, began = process.cpu_seconds() if process else 0.0, gateway_cpu_busy(), time.perf_counter()
    load.go()
    result = load.result()
    if process is None:
        return Slice(result, 0.0, 0.0)
    time.sleep(SETTLE)
    spent, span = process.cpu_seconds() - before, time.perf_counter() - began
    return Slice(result, spent, max(0.0, gateway_cpu_busy() - busy - spent) / span)


def cell(process: Process | None, plan: Plan, floor: Figures | None = None) -> Figures:
    """One kind of traffic for `plan.seconds`. `floor` is the same cell straight to the upstream.

    Figures are those of the least disturbed slice; answers and errors are counted over all of them.
    """
    with Load(msgspec.structs.replace(plan, seconds=plan.seconds / SLICES)) as load:
        slices = [_slice(load, process) for _ in range(SLICES)]
    errors: Counter[str] = Counter()
    for one in slices:
        errors.update(one.result.errors)
    good = [one for one in slices if one.result.ok]
    figures: Figures = {"requests": sum(one.result.ok for one in slices), "errors": errors.total()}
    if errors:
        figures["reasons"] = dict(errors)
    if process and good:
        figures["cpu_us_slices"] = [round(one.spent / one.result.ok * 1e6, 1) for one in good]
        figures["others_percent"] = round(min(slices, key=lambda one: one.rank).others * 100)
    return figures | (_figures(min(good, key=lambda one: one.rank), plan, floor) if good else {})


def _figures(best: Slice, plan: Plan, floor: Figures | None) -> Figures:
    """`rps` is requests per second of CPU time, so per core; `rps_seen` is what the clock saw."""
    result, spent = best.result, best.spent
    p50, p99 = _percentile(result.latencies, 0.5), _percentile(result.latencies, 0.99)
    figures: Figures = {
        "rps_seen": round(result.ok / result.elapsed),
        "p50_total_us": p50,
        "p99_total_us": p99,
    }
    figures["p50_us"] = p50 - (floor["p50_total_us"] if floor else 0)
    figures["p99_us"] = p99 - (floor["p99_total_us"] if floor else 0)
    if spent:
        figures |= {"cpu_us": round(spent / result.ok * 1e6, 1), "rps": round(result.ok / spent)}
    if plan.stream:
        figures["first_us"] = _percentile(result.first_byte, 0.5)
        figures["events_seen"] = round(result.events / result.elapsed)
        figures["events_per_stream"] = round(result.events / result.ok, 1)
        figures["events"] = round(result.events / spent) if spent else None
    return figures


def pace(upstream: int, events: int = wire.EVENTS, interval: float = 0.0) -> None:
    """Set how the upstream streams from now on."""
    with urlopen(f"http://127.0.0.1:{upstream}/pace?events={events}&interval={interval}") as answer:
        answer.read()


def many_streams(process: Process, plan: Plan, upstream: int) -> Figures:
    """1,000 streams open at once at 20 events a second each: how much of a core, how many broke.

    CPU time is taken over 5 s in the middle, when all of them are open.
    """
    events, ramp = int(STREAM_SECONDS / STREAM_INTERVAL), 2.0
    pace(upstream, events, STREAM_INTERVAL)
    try:
        crowd = {"connections": STREAMS, "requests": STREAMS, "stream": True, "events": events}
        with Load(msgspec.structs.replace(plan, **crowd, ramp=ramp, warmup=0.0)) as load:
            load.go()
            time.sleep(ramp + 1.0)
            before, began = process.cpu_seconds(), time.perf_counter()
            time.sleep(5.0)
            spent, span = process.cpu_seconds() - before, time.perf_counter() - began
            result = load.result()
    finally:
        pace(upstream)
    figures: Figures = {"core_percent": round(spent / span * 100, 1), "broken": result.broken}
    if result.errors:
        figures["reasons"] = result.errors
    if result.ok:
        late = _percentile(result.latencies, 0.99) / 1e6 - (events - 1) * STREAM_INTERVAL
        figures |= {"whole": result.ok, "late_p99_ms": round(late * 1000, 1)}
    return figures | {"rss_mb": round(process.rss_mb(), 1)}


def memory(process: Process, plan: Plan, steps: int = 10, requests: int = 10_000) -> Figures:
    """Resident memory over 100,000 requests, and its slope over the second half (MB per 100,000)."""
    samples, errors = [round(process.rss_mb(), 1)], 0
    with Load(msgspec.structs.replace(plan, connections=64, requests=requests, warmup=0.0)) as load:
        for _ in range(steps):
            load.go()
            errors += load.result().broken
            samples.append(round(process.rss_mb(), 1))
    half = samples[len(samples) // 2 :]
    slope = statistics.linear_regression(range(len(half)), half).slope * 100_000 / requests
    return {
        "after_mb": samples[-1],
        "requests": steps * requests,
        "errors": errors,
        "slope_mb": round(slope, 2),
        "samples_mb": samples,
    }
