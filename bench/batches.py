"""`make bench-batches`: 5,000 lines through three restarts and a kill -9, and what a batch costs those who wait.

Two parts, over a real `potluck serve` and a pretend provider in this process that counts every question it is asked.
First each line must be answered exactly once, whatever happens to the gateway; what the provider was asked twice is
reported. Then interactive requests come at random moments, in windows with and without a batch in progress, in
alternating order within one run. Results go to `bench/results/batches.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.batches_house import ROOT, Figures, Gateway, Provider

RESULTS = ROOT / "bench" / "results" / "batches.json"
RATE = 20.0  # interactive requests a second
BAR = 1.1
LOUD = 15.0  # percent of a CPU: with more of it used by others, a window says little about us


async def lives(gateway: Gateway, provider: Provider, lines: int) -> Figures:
    """One batch through three restarts and a kill -9, in four lives and one more."""
    began = time.monotonic()
    id = await gateway.submit("line", lines)
    ends = (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)
    asked_twice: list[int] = []
    for n, how in enumerate(ends, 1):
        await gateway.until(id, done=lines * n // 5)
        await gateway.end(how)
        await gateway.start()
        asked_twice.append(_twice(provider))
    done = await gateway.until(id, status="completed")
    seconds = time.monotonic() - began
    rows = []
    for file in (done["output_file_id"], done["error_file_id"]):
        if file:
            rows += (await gateway.client.get(f"/v1/files/{file}/content")).text.splitlines()
    results = Counter(json.loads(row)["custom_id"] for row in rows)
    wrong = sum(
        json.loads(row)["response"]["body"]["choices"][0]["message"]["content"]
        != "to " + json.loads(row)["custom_id"].replace("-", " ")
        for row in rows
    )
    asked = sum(count for text, count in provider.asked.items() if text.startswith("line "))
    return {
        "lines": lines,
        "lives": [how.name for how in ends],
        "seconds": round(seconds, 1),
        "results": len(rows),
        "lines_with_exactly_one_result": sum(count == 1 for count in results.values()),
        "results_of_another_line": wrong,
        "sent_to_the_provider": asked,
        "sent_twice": _twice(provider),
        "sent_twice_after_each_life": asked_twice,
        "counts": done["request_counts"],
    }


def _twice(provider: Provider) -> int:
    return sum(count - 1 for text, count in provider.asked.items() if text.startswith("line "))


async def window(gateway: Gateway, seconds: float, seed: int) -> list[float]:
    """Interactive requests at random moments: what each took, in seconds."""
    moments, chance = [0.3], random.Random(seed)
    while moments[-1] < seconds:
        moments.append(moments[-1] + chance.expovariate(RATE))
    connections: asyncio.Queue[Any] = asyncio.Queue()
    began = time.monotonic()
    took = await asyncio.gather(*(_ask(gateway, connections, began + at) for at in moments[:-1]))
    while not connections.empty():
        connections.get_nowait()[1].close()
    return took


async def _ask(gateway: Gateway, connections: asyncio.Queue[Any], at: float) -> float:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    if connections.empty():
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    else:
        reader, writer = connections.get_nowait()
    body = json.dumps({"model": "stew", "messages": [{"role": "user", "content": "hello"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    began = time.monotonic()
    writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"an interactive request failed: {answer[:200]!r}")
    await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]))
    took = time.monotonic() - began
    connections.put_nowait((reader, writer))
    return took


async def beside(gateway: Gateway, rounds: int, seconds: float, lines: int) -> Figures:
    """Pairs of windows, without and with a batch, in alternating order."""
    arms: dict[str, list[Window]] = {"without": [], "with": []}
    answered = 0
    for n in range(rounds):
        for arm in ("without", "with") if n % 2 else ("with", "without"):
            id, before = "", 0
            if arm == "with":
                id = await gateway.submit(f"beside {n}", lines)
                before = (await gateway.until(id, done=1))["request_counts"]["completed"]
            others = Others(gateway.process.pid)
            took = await window(gateway, seconds, seed=n)
            arms[arm].append(Window(sorted(took), others.percent()))
            if id:
                answered += (await gateway.batch(id))["request_counts"]["completed"] - before
                await gateway.client.post(f"/v1/batches/{id}/cancel")
                await gateway.until(id, status="cancelled")
            await asyncio.sleep(0.5)
    return _compared(arms, answered / (rounds * seconds), rounds)


def _compared(arms: dict[str, list[Window]], lines_per_second: float, rounds: int) -> Figures:
    """Percentiles over all windows, and over the pairs in which nobody else used the machine much."""
    pairs = list(zip(arms["without"], arms["with"], strict=True))
    quiet = [pair for pair in pairs if max(one.others for one in pair) <= LOUD]
    ratios = [_p99(two.took) / _p99(one.took) for one, two in pairs]
    found: Figures = {"rounds": rounds, "batch_lines_per_second": round(lines_per_second, 1)}
    found["all"], found["quiet"] = _side_by_side(pairs), _side_by_side(quiet)
    found["others_percent"] = [[round(one.others, 1) for one in pair] for pair in pairs]
    found["p99_ratio_of_each_pair"] = [round(one, 3) for one in ratios]
    found["median_p99_ratio_of_pairs"] = round(statistics.median(ratios), 3)
    found["worth_quoting"] = len(quiet) >= max(1, rounds // 2)
    found["p99_ratio"] = (found["quiet"] if found["worth_quoting"] else found["all"])["p99_ratio"]
    return found


def _side_by_side(pairs: list[tuple[Window, Window]]) -> Figures:
    if not pairs:
        return {"pairs": 0}
    found: Figures = {"pairs": len(pairs)}
    for which, arm in enumerate(("without", "with")):
        every = sorted(took for pair in pairs for took in pair[which].took)
        found[arm] = {
            "requests": len(every),
            "p50_ms": round(every[len(every) // 2] * 1e3, 2),
            "p99_ms": round(_p99(every) * 1e3, 2),
        }
    found["p99_ratio"] = round(found["with"]["p99_ms"] / found["without"]["p99_ms"], 3)
    return found


@dataclass(frozen=True)
class Window:
    """What its requests took, in order of seconds; percent of a CPU that strangers used meanwhile."""

    took: list[float]
    others: float


class Others:
    """CPU that is neither the gateway's nor ours, from the moment this is made."""

    def __init__(self, gateway: int) -> None:
        self._ours = (os.getpid(), gateway)
        self._began, self._from = time.monotonic(), self._spent()

    def percent(self) -> float:
        """Of one CPU."""
        seconds = (self._spent() - self._from) / os.sysconf("SC_CLK_TCK")
        return max(0.0, 100.0 * seconds / (time.monotonic() - self._began))

    def _spent(self) -> int:
        """Ticks of all processes that live now, less ours: what every process has in /proc is in one unit."""
        total = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in self._ours:
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    total += sum(int(ticks) for ticks in fields[11:15])  # own and of children that ended
        return total


def _p99(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


async def run(lines: int, rounds: int, seconds: float) -> Figures:
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    gateway = Gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    await gateway.start()
    try:
        found = {"lives": await lives(gateway, provider, lines)}
        found["beside"] = await beside(gateway, rounds, seconds, lines)
    finally:
        await gateway.end(signal.SIGTERM)
        await gateway.client.aclose()
        server.close()
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lines", type=int, default=5_000)
    arguments.add_argument("--rounds", type=int, default=10, help="pairs of windows")
    arguments.add_argument("--seconds", type=float, default=5.0, help="of one window")
    arguments.add_argument("--quick", action="store_true", help="small, and nothing is written down")
    asked = arguments.parse_args()
    quick = (500, 2, 3.0)
    found = asyncio.run(run(*(quick if asked.quick else (asked.lines, asked.rounds, asked.seconds))))
    one, two = found["lives"], found["beside"]
    once = one["lines_with_exactly_one_result"] == one["results"] == one["lines"]
    once = once and not one["results_of_another_line"]
    found["bars"] = {"each_line_exactly_once": once, "interactive_p99": two["p99_ratio"] <= BAR}
    print(json.dumps(found, indent=2))
    print(f"each line answered exactly once: {'yes' if once else 'NO'} ({one['results']} of {one['lines']})")
    print(f"sent to the provider twice: {one['sent_twice']} (in flight at the kill -9)")
    if not two["worth_quoting"]:
        print("others used this machine: the figures of interactive requests are not worth quoting")
    print(f"interactive p99 with a batch / without: {two['p99_ratio']} (bar {BAR})")
    if not asked.quick:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(found["bars"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
