"""What the store, the keys, the limits and the guard cost on the hot path: `python bench/micro/store.py`.

Prints nanoseconds a call, the best of several rounds; the writer thread's cost is CPU a record, all in.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from potluck.quota.ledger import Ledger
from potluck.quota.memory import MemoryStore
from potluck.server.guard import check_host, check_origin
from potluck.server.limits import ClientLimiter
from potluck.store.database import Database
from potluck.store.keyring import Keyring
from potluck.store.keys import ClientKey, Limits, create
from potluck.store.migrate import prepare
from potluck.store.records import Record, Recorder
from potluck.types import Attempt, Usage

ROUNDS, CALLS = 7, 20_000

HEADERS = [
    (b"host", b"localhost:8080"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 3.54.0"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-package-version", b"3.54.0"),
    (b"authorization", b"Bearer pk-x"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"content-length", b"123"),
    (b"connection", b"keep-alive"),
]


class WallClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def per_call(work: Callable[[], object], calls: int = CALLS) -> float:
    """Nanoseconds a call, without the loop around it."""

    def nothing() -> None:
        pass

    def best(what: Callable[[], object]) -> float:
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter_ns()
            for _ in range(calls):
                what()
            times.append(time.perf_counter_ns() - start)
        return min(times) / calls

    return best(work) - best(nothing)


def show(what: str, nanoseconds: float) -> None:
    print(f"{what:<52}{nanoseconds:>9,.0f} ns")


def a_record(id: str) -> Record:
    attempt = Attempt("groq/openai/gpt-oss-120b", "ok", "", 200, 1.0, 1.1, 1.5, None)
    return Record(
        id,
        1_795_521_600.0,
        "bob",
        "auto",
        attempt.target,
        "ok",
        200,
        [attempt],
        120,
        340,
        False,
        0,
        99.5,
        512.5,
        "chat",
    )


def records(database: Database) -> None:
    recorder = Recorder(database, interval=1e9)
    one = a_record("r")
    show("Record(...)", per_call(lambda: a_record("r")))
    show("Recorder.record", per_call(lambda: recorder.record(one)))
    recorder.flush()
    made = [a_record(f"{number:016x}") for number in range(50_000)]
    for each in made:
        recorder.record(each)
    start = time.process_time_ns()
    recorder.flush()
    show("writer thread, CPU a record", (time.process_time_ns() - start) / len(made))
    recorder.close()


def keys(database: Database) -> None:
    connection = database.connect()
    _, text = create(connection, "bob", Limits(), now=1.0)
    connection.close()
    keyring = Keyring(database)
    value = f"Bearer {text}".encode()
    show("Keyring.authenticate, seen before", per_call(lambda: keyring.authenticate(value)))
    show("Keyring._look (first sight)", per_call(lambda: keyring._look(value)))
    show("Keyring.refresh, nothing new", per_call(keyring.refresh, 2_000))
    keyring.close()


def limits() -> None:
    limiter = ClientLimiter(Ledger(MemoryStore(), WallClock(), worker="w"))
    free = ClientKey("free", "free")
    some = ClientKey("some", "some", limits=Limits(requests_per_minute=10**9, concurrency=100))
    every = ClientKey(
        "every",
        "every",
        limits=Limits(10**9, 10**9, 10**12, 10**12, 100, 10**12),
    )
    used = Usage(100, 100)
    show("admit + done, no limits", per_call(lambda: limiter.admit(free, 100, 100).done(used)))
    show(
        "admit + done, requests a minute, concurrency",
        per_call(lambda: limiter.admit(some, 100, 100).done(used)),
    )
    show("admit + done, all six limits", per_call(lambda: limiter.admit(every, 100, 100, 1).done(used, 1)))
    show("refuse_early, nothing to refuse", per_call(lambda: limiter.refuse_early(some)))


def guard() -> None:
    none: frozenset[str] = frozenset()
    page = [*HEADERS, (b"origin", b"http://localhost:8080"), (b"sec-fetch-site", b"same-origin")]
    show("check_host, ten headers", per_call(lambda: check_host(HEADERS, none, 8080)))
    show("check_origin, ten headers, no browser", per_call(lambda: check_origin(HEADERS, none)))
    show("check_origin, twelve headers, our own page", per_call(lambda: check_origin(page, none)))


def imports() -> None:
    """What a module adds to a bare interpreter: milliseconds and megabytes."""
    program = (
        "import sys, time\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6\n"
        "before, start = rss(), time.perf_counter()\n"
        "for name in sys.argv[1:]: __import__(name)\n"
        "print(f'{(time.perf_counter() - start) * 1e3:6.0f} ms {rss() - before:6.1f} MB')"
    )
    ours = ["potluck.store.records", "potluck.store.keyring", "potluck.store.migrate"]
    for names in (ours, ["sqlalchemy"], ["sqlalchemy", "alembic.command"]):
        command = [sys.executable, "-c", program, *names]
        cost = min(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)
        )
        print(f"import {' '.join(names)}: {cost.strip()}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database.at(Path(folder) / "potluck.sqlite")
        start = time.perf_counter_ns()
        prepare(database)
        show("prepare, a new file", time.perf_counter_ns() - start)
        start = time.perf_counter_ns()
        prepare(database)
        show("prepare, at head", time.perf_counter_ns() - start)
        records(database)
        keys(database)
    limits()
    guard()
    imports()


if __name__ == "__main__":
    main()
