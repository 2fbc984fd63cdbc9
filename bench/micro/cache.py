"""What the cache costs: `python -m bench.micro.cache` writes bench/results/cache.json.

CPU is this process's own time, the best of several rounds. Latencies over HTTP are of one client on one connection to
a gateway in another process. The look-up is measured over vectors like those of real questions: some thousand
directions, each with near neighbours, in ten conversations' contexts.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from potluck.stages.cache import Cache, Rules
from potluck.stages.guard import against, conflict, marks
from potluck.stages.threshold import Near, Threshold
from potluck.store.cache import SqliteAnswers
from potluck.store.vectors import WIDTH, TwoTiers, short
from potluck.techniques import Cache as Said
from potluck.types import Event, Reply, Request, Trace, Usage

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "cache.json"
QUESTION = "I tried to top up my card with 50 dollars from my bank in Paris, how long until it arrives?"
CONTEXTS = [bytes([n]) * 16 for n in range(10)]


class Wall:
    now, monotonic = staticmethod(time.time), staticmethod(time.monotonic)


def cpu(work: Callable[[], object], calls: int, rounds: int = 7) -> float:
    """Microseconds of CPU a call, the best round."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time_ns()
        for _ in range(calls):
            work()
        best = min(best, (time.process_time_ns() - started) / calls / 1e3)
    return best


def a_request() -> Request:
    messages = [{"role": "system", "content": "Be brief and kind."}, {"role": "user", "content": QUESTION}]
    body = {"messages": messages, "max_tokens": 200, "temperature": 0}
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}
    return Request("auto", raw, tenant="t", trace=Trace(id="r"))


def exact() -> dict[str, float]:
    """Microseconds of CPU that the stage adds to a hit: everything from the request to the reply."""

    async def model(request: Request) -> Reply:
        return Reply.of(Event(text="It takes a day. " * 20, finish="stop", usage=Usage(40, 80)))

    async def measured(folder: Path) -> dict[str, float]:
        store = SqliteAnswers(folder / "cache.sqlite", max_bytes=2**28)
        stage = Cache(store, Wall(), Rules(Said()))
        await stage(a_request(), model)
        store.flush()
        best = {"making_the_request": float("inf"), "hit": float("inf"), "hit_from_disk": float("inf")}
        for _ in range(7):
            for name in best:
                started = time.process_time_ns()
                for _ in range(2_000):
                    if name == "hit_from_disk":
                        store._near.clear()
                    request = a_request()
                    if name != "making_the_request":
                        await stage(request, model)
                best[name] = min(best[name], (time.process_time_ns() - started) / 2_000 / 1e3)
        stage.close()
        base = best.pop("making_the_request")
        return {name: round(value - base, 1) for name, value in best.items()}

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measured(Path(folder)))


def pieces() -> dict[str, float]:
    """Microseconds of CPU of the parts of a semantic look-up beside embedding and index."""
    one, other = marks(QUESTION), marks("How long does a top up of 50 dollars from a bank in Paris take?")
    near, threshold = Near.of(0.9, 0.8, 0.1, 0.8, 0.1, b"g"), Threshold()
    return {
        "marks_of_a_question": round(cpu(lambda: marks(QUESTION), 2_000), 1),
        "comparing_two_marks": round(cpu(lambda: conflict(one, other), 20_000), 2),
        "guard_of_two_questions": round(cpu(lambda: against(QUESTION, QUESTION), 1_000), 1),
        "threshold_decides": round(cpu(lambda: threshold.serves(near, 0.02), 1_000), 1),
        "threshold_learns": round(cpu(lambda: threshold.confirm(near, True), 5_000), 1),
    }


def over_http(seconds_idle: float = 0.5) -> dict[str, float]:
    """Milliseconds of a hit as a client sees it, one connection."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    child.start()
    try:
        port = ours.recv()
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": QUESTION}]})
        connection = http.client.HTTPConnection("127.0.0.1", port)
        times = []
        for n in range(5_500):
            started = time.perf_counter()
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if n and answer.headers["x-potluck-cache"] != "hit":
                raise SystemExit(f"no hit: {answer.status} {answer.headers}")
            times.append((time.perf_counter() - started) * 1e3)
            if n == 500:
                time.sleep(seconds_idle)
        connection.close()
    finally:
        ours.send("stop")
        child.join()
    settled = np.array(times[500:])
    return {
        name: round(float(np.percentile(settled, at)), 3)
        for name, at in (("p50", 50), ("p99", 99), ("p999", 99.9))
    }


def http_rounds() -> list[dict[str, float]]:
    """Three rounds, all of them reported: a neighbour on the machine shows in one, a slow gateway in all."""
    return [over_http() for _ in range(3)]


def _serve(pipe: Connection) -> None:
    from tests.house import house

    async def serve() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with house(Path(folder), ["groq"], stages=("cache",)) as here:
                pipe.send(here.port)
                await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def look_up(count: int, kept: Path | None) -> dict[str, Any]:
    """Milliseconds of a search for ten neighbours among `count`, indexed, and among those not yet indexed."""
    vectors = _like_questions(count)
    folder = kept or Path(tempfile.mkdtemp())
    took = _built(folder, vectors)
    tiers = TwoTiers(folder, settle=10**9)
    found: dict[str, Any] = {"entries": count, "build_seconds": took, "upto": tiers.upto}
    asked = np.random.default_rng(3).integers(count, size=1_500)
    noisy = _noisy(vectors[asked], 0.15, np.random.default_rng(4))
    found["indexed"] = _timed(tiers, noisy, asked)
    found["recall_at_10"] = _recall(tiers, noisy[:200], asked[:200], vectors)
    for number in range(10_000):
        tiers.add(2 * count + number, vectors[number], CONTEXTS[number % len(CONTEXTS)])
    found["indexed_and_10000_fresh"] = _timed(tiers, noisy, asked)
    tiers.close()
    if kept is None:
        shutil.rmtree(folder)
    return found


def _like_questions(count: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(max(1, count // 20), WIDTH)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return _noisy(centres[generator.integers(len(centres), size=count)], 0.7, generator)


def _noisy(vectors: np.ndarray, amount: float, generator: np.random.Generator) -> np.ndarray:
    noise = generator.normal(size=vectors.shape).astype(np.float32) * (amount / WIDTH**0.5)
    moved = vectors + noise
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


def _built(folder: Path, vectors: np.ndarray) -> float:
    """Seconds in which the child process adds them and builds the index; 0 if that was done before."""
    if (folder / "upto").exists():
        return 0.0
    folder.mkdir(parents=True, exist_ok=True)
    contexts = np.array([short(CONTEXTS[n % len(CONTEXTS)]) for n in range(len(vectors))])
    np.savez(
        folder / "coming.npz", numbers=np.arange(1, len(vectors) + 1), contexts=contexts, vectors=vectors
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "potluck.store.settling", str(folder)], check=True)
    return round(time.monotonic() - started, 1)


def _timed(tiers: TwoTiers, queries: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    times = []
    for query, row in zip(queries, rows, strict=True):
        started = time.perf_counter()
        tiers.search(query, CONTEXTS[int(row) % len(CONTEXTS)], 10)
        times.append((time.perf_counter() - started) * 1e3)
    settled = np.array(times[200:])
    return {
        "p50": round(float(np.percentile(settled, 50)), 3),
        "p99": round(float(np.percentile(settled, 99)), 3),
    }


def _recall(tiers: TwoTiers, queries: np.ndarray, rows: np.ndarray, vectors: np.ndarray) -> float:
    """Of the ten true nearest in the context, how many are found."""
    found = 0
    for query, row in zip(queries, rows, strict=True):
        context = int(row) % len(CONTEXTS)
        among = np.arange(context, len(vectors), len(CONTEXTS))
        true = set((among[np.argsort(-(vectors[among] @ query))[:10]] + 1).tolist())
        found += len(true & {number for number, _ in tiers.search(query, CONTEXTS[context], 10)})
    return round(found / (10 * len(queries)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--index", type=Path, help="where the index is kept for the next run")
    parser.add_argument("--only", help="one row of bench/results/cache.json")
    asked = parser.parse_args()
    figures: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, work in (
        ("exact_hit_cpu_us", exact),
        ("semantic_parts_cpu_us", pieces),
        ("exact_hit_over_http_ms", http_rounds),
        ("semantic_look_up_ms", lambda: look_up(asked.entries, asked.index)),
    ):
        if asked.only and name != asked.only:
            continue
        figures[name] = work()
        print(name, figures[name], flush=True)
        RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
