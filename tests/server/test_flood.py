"""One client floods, another works: a real gateway in a process of its own, its CPU and memory read from /proc.

Nothing here is an absolute time, for the machine may be busy: times are compared with times of the same run, and
the gateway's CPU for a refusal with its CPU for an answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from potluck.app.compose import database
from potluck.config import Settings
from potluck.store import keys
from tests.server.flooding import CONNECTIONS, Streams, ask
from tests.test_workers import potluck, provider

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and calls from 127.0.0.2")

SETTINGS = (
    "max_connections_per_client = 64\nmax_body_bytes = 65536\npacing.enabled = false\n"
    "timeouts.client_header = 1.0\ntimeouts.client_body = 2.0\n"
)


class Gateway:
    """What the tests know of the process: where it listens, what it uses, and the keys it lets in."""

    def __init__(self, port: int, pid: int, flooder: str, neighbour: str) -> None:
        self.port, self.pid, self.flooder, self.neighbour = port, pid, flooder, neighbour

    def cpu(self) -> float:
        """Seconds of CPU used so far: utime and stime of proc(5)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def open(self, address: str) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    async def timed(self, streams: Streams, key: str, *, wanted: int = 200) -> float:
        """Seconds until the answer, whose status must be the wanted one."""
        began = time.perf_counter()
        assert await ask(streams, key) == wanted
        return time.perf_counter() - began


@asynccontextmanager
async def gateway(home: Path) -> AsyncIterator[Gateway]:
    """64 connections of one address, a second for a head, two for a body; one key may ask 60 times a minute."""
    with closing(database(Settings(data_dir=str(home))).connect()) as connection:
        _, flooder = keys.create(connection, "flooder", keys.Limits(requests_per_minute=60), now=time.time())
        _, neighbour = keys.create(connection, "neighbour", keys.Limits(), now=time.time())
    async with (
        provider(10**9) as world,
        potluck(home, world, limit=10**9, workers=1, settings=SETTINGS) as served,
    ):
        yield Gateway(served.client.base_url.port or 0, served.process.pid, flooder, neighbour)


async def flood(one: Gateway) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.server.flooding",
        str(one.port),
        one.flooder,
        stdout=asyncio.subprocess.PIPE,
    )


async def test_a_flood_from_one_client_is_refused_and_hardly_felt_by_another(tmp_path: Path) -> None:
    async with gateway(tmp_path) as one:
        streams = await one.open("127.0.0.2")
        calm = [await one.timed(streams, one.neighbour) for _ in range(300)]
        memory = one.memory()
        flooding = await flood(one)
        told = asyncio.create_task(flooding.communicate())
        felt = []
        while not told.done():
            felt.append(await one.timed(streams, one.neighbour))  # each and every one succeeds
        counts = json.loads((await told)[0])
        after = [await one.timed(streams, one.neighbour) for _ in range(100)]
        grown = one.memory() - memory
        streams[1].close()
    assert counts["attempts"] == CONNECTIONS
    assert counts["connection 503"] > CONNECTIONS / 2  # the others found a free place, and said nothing
    assert counts["request 200"] <= 60 < counts["request 429"]
    assert counts["slow head 408"]
    assert len(felt) > 100
    assert statistics.median(felt) <= 5 * statistics.median(calm)
    assert statistics.median(after) <= 3 * statistics.median(calm)
    assert grown < 32 * 1024 * 1024


async def test_a_refusal_costs_the_gateway_a_fraction_of_an_answer(tmp_path: Path) -> None:
    """Of the CPU of its process, so that neither the client nor a busy machine counts."""
    many = 1500
    async with gateway(tmp_path) as one:
        served = await one.open("127.0.0.2")
        refused = await one.open("127.0.0.1")
        for _ in range(60):
            await one.timed(refused, one.flooder)
        costs = []
        for streams, key, wanted in ((served, one.neighbour, 200), (refused, one.flooder, 429)):
            before = one.cpu()
            for _ in range(many):
                await one.timed(streams, key, wanted=wanted)
            costs.append(one.cpu() - before)
        for streams in (served, refused):
            streams[1].close()
    assert costs[1] < 0.8 * costs[0]  # measured: 0.46
