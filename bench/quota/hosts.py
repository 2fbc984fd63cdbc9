"""`python -m bench.quota.hosts`: two hosts share a key through Valkey, and one is cut off from it for a minute.

Two network namespaces are the hosts. The one that is cut off still reaches the provider: the dangerous case. The
provider counts for itself. Needs root, `ip` and redis-server. Prints what each host sent in each second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.gateway.systems import ROOT

LIMIT, WINDOW = 30, 2.0  # requests in rolling seconds
STORE, PROVIDER = "10.213.7.1", "10.213.8.1"
NAMES = ("a", "b")


@dataclass
class Provider:
    """Counts like a strict provider: a request over the limit is an overrun."""

    seen: deque[float] = field(default_factory=deque)
    total: int = 0
    overruns: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = time.monotonic()
        while self.seen and self.seen[0] <= now - WINDOW:
            self.seen.popleft()
        self.seen.append(now)
        self.total += 1
        self.overruns += len(self.seen) > LIMIT
        writer.close()


@dataclass(frozen=True)
class Result:
    """`during`: requests a host sent in each second of the cut."""

    total: int
    overruns: int
    before: dict[str, list[int]]
    during: dict[str, list[int]]
    after: dict[str, list[int]]


def possible() -> str:
    """Why this machine cannot do it; "" if it can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and the `ip` program"
    if shutil.which("redis-server") is None:
        return "needs redis-server"
    done = subprocess.run(["ip", "netns", "add", "potluck-try"], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", "potluck-try"], capture_output=True, check=False)
    return "" if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


def ip(command: str, *, check: bool = True) -> None:
    subprocess.run(["ip", *command.split()], check=check, capture_output=True)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """A bridge with the store's and the provider's address, and a namespace for each host on it."""
    _forget()
    try:
        ip("link add potluck-br type bridge")
        for address in (STORE, PROVIDER):
            ip(f"addr add {address}/24 dev potluck-br")
        ip("link set potluck-br up")
        for number, name in enumerate(NAMES, 2):
            ip(f"netns add potluck-{name}")
            ip(f"link add potluck-v{name} type veth peer name eth0 netns potluck-{name}")
            ip(f"link set potluck-v{name} master potluck-br up")
            for subnet in (7, 8):
                ip(f"-n potluck-{name} addr add 10.213.{subnet}.{number}/24 dev eth0")
            ip(f"-n potluck-{name} link set eth0 up")
        yield
    finally:
        _forget()


def _forget() -> None:
    for name in NAMES:
        ip(f"netns del potluck-{name}", check=False)
        ip(f"link del potluck-v{name}", check=False)
    ip("link del potluck-br", check=False)


async def run(cut: float, calm: float = 3.0) -> Result:
    """`calm` seconds before and after the cut."""
    provider, seconds = Provider(), {name: list[int]() for name in NAMES}
    with network():
        argv = ["redis-server", "--port", "6391", "--bind", STORE, "--protected-mode", "no", "--save", ""]
        redis = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
        server = await asyncio.start_server(provider.serve, PROVIDER, 6392)
        hosts = {name: await _host(name) for name in NAMES}
        try:
            listening = [asyncio.create_task(_listen(hosts[name], seconds[name])) for name in NAMES]
            await asyncio.sleep(calm + 2.0)
            ip(f"-n potluck-a route add blackhole {STORE}/32")
            marks = [min(map(len, seconds.values()))]
            await asyncio.sleep(cut)
            ip(f"-n potluck-a route del blackhole {STORE}/32")
            marks.append(min(map(len, seconds.values())))
            await asyncio.sleep(calm + 2.0)
        finally:
            for host in hosts.values():
                assert host.stdin is not None
                host.stdin.close()
            await asyncio.gather(*(host.wait() for host in hosts.values()))
            server.close()
            redis.terminate()
            await redis.wait()
        await asyncio.gather(*listening)
    parts = [
        {name: all_[slice_] for name, all_ in seconds.items()}
        for slice_ in (slice(0, marks[0]), slice(marks[0], marks[1]), slice(marks[1], None))
    ]
    return Result(provider.total, provider.overruns, *parts)


async def _host(name: str) -> asyncio.subprocess.Process:
    argv = ["ip", "netns", "exec", f"potluck-{name}", sys.executable, "-m", "bench.quota.lone_host"]
    argv += [f"redis://{STORE}:6391/0", f"{PROVIDER}:6392", name]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, cwd=ROOT)


async def _listen(host: asyncio.subprocess.Process, to: list[int]) -> None:
    assert host.stdout is not None
    async for line in host.stdout:
        to.append(int(line))  # noqa: PERF401 the list is read while it grows


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m bench.quota.hosts", description=__doc__)
    asked.add_argument(
        "--cut", type=float, default=60.0, help="seconds that host a is cut off from the store"
    )
    options = asked.parse_args()
    if why := possible():
        raise SystemExit(f"Not possible here: {why}.")
    found = asyncio.run(run(options.cut))
    for part in ("before", "during", "after"):
        for name, counts in getattr(found, part).items():
            print(f"{part:7} {name}: {' '.join(map(str, counts))}")
    print(f"{found.total} requests, {found.overruns} over the limit of {LIMIT} in {WINDOW:g} s")


if __name__ == "__main__":
    main()
