"""Several processes, one set of quotas: real `potluck serve`, real sockets, a strict provider that counts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from potluck import sim

POT = """
id = "pot"
name = "A pot with a limit"
category = "dedicated"
base_url = "{url}"
key_env = ["POT_KEY"]
trains_on_data = false

[[quota]]
unit = "requests"
amount = {limit}
window = "day"
reset = "utc_midnight"
scope = "account"
basis = "assumed"
source = "ME"

[[model]]
id = "stew"
name = "stew"
source = "ME"
specialities = ["general"]
quality = 2

[sources.ME]
where = "this test"
seen = 2026-11-23
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    def __init__(self, process: asyncio.subprocess.Process, client: httpx2.AsyncClient) -> None:
        self.process, self.client = process, client

    async def ask(self, **fields: Any) -> httpx2.Response:
        body = {
            "model": "pot/stew",
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 4,
            **fields,
        }
        return await self.client.post("/v1/chat/completions", json=body)

    def workers(self) -> set[str]:
        """The worker processes that are there now, the draining ones too."""
        pid = self.process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@asynccontextmanager
async def potluck(
    home: Path, world: sim.World, *, limit: int, workers: int, settings: str = ""
) -> AsyncIterator[Served]:
    """The real command, in processes of its own, until the block ends. `settings`: more lines of its file."""
    providers = home / "providers"
    providers.mkdir(exist_ok=True)
    (providers / "pot.toml").write_text(POT.format(url=world.url("openai"), limit=limit))
    port = free_port()
    (home / "potluck.toml").write_text(
        f'port = {port}\nworkers = {workers}\ndata_dir = "{home}"\nproviders_dir = "{providers}"\n'
        f'log_level = "error"\n{settings}[local]\nenabled = false\ndiscover = false\n'
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POTLUCK_")} | {
        "POT_KEY": "k"
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "potluck",
        "serve",
        "--config",
        str(home / "potluck.toml"),
        env=environ,
        start_new_session=True,
    )
    limits = httpx2.Limits(max_connections=200)
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False, limits=limits
    ) as client:
        try:
            await until_ready(client, process)
            yield Served(process, client)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def until_ready(client: httpx2.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(20):
        while process.returncode is None:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError("the gateway ended before it was ready")


@asynccontextmanager
async def provider(limit: int) -> AsyncIterator[sim.World]:
    async with sim.serve({"openai": sim.Options(tokens=2, models=("stew",))}) as world:
        world.provider("openai").limit({"requests/day": limit})
        yield world


async def test_200_clients_race_for_50_requests_over_two_workers_and_exactly_50_arrive(
    tmp_path: Path,
) -> None:
    async with provider(1000) as world, potluck(tmp_path, world, limit=50, workers=2) as served:
        answers = await asyncio.gather(*(served.ask() for _ in range(200)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert sum(answer.status_code == 200 for answer in answers) == 50
        assert world.provider("openai").counts.received == 50
        assert len(refused) == 150
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


async def test_after_a_kill_in_mid_flight_nothing_is_over_spent(tmp_path: Path) -> None:
    limit = 60
    async with provider(limit) as world:
        async with potluck(tmp_path, world, limit=limit, workers=1) as served:
            flying = [asyncio.create_task(served.ask()) for _ in range(20)]
            await flying[0]
            os.killpg(served.process.pid, signal.SIGKILL)
            await asyncio.gather(*flying, return_exceptions=True)
        async with potluck(tmp_path, world, limit=limit, workers=1) as served:
            for _ in range(limit + 5):
                await served.ask()
        counts = world.provider("openai").counts
        assert counts.refused == 0
        assert counts.received <= limit


async def test_what_was_spent_is_still_spent_after_a_restart(tmp_path: Path) -> None:
    async with provider(1000) as world:
        for _ in range(2):
            async with potluck(tmp_path, world, limit=10, workers=1) as served:
                for _ in range(7):
                    await served.ask()
        assert world.provider("openai").counts.received == 10


async def rolled(served: Served, clients: int, rounds: int, how: signal.Signals) -> tuple[int, int]:
    """Requests asked and lost while every worker is renewed so many times. Nobody retries."""
    done, counts = asyncio.Event(), [0, 0]

    async def client(number: int) -> None:
        while not done.is_set():
            counts[0] += 1
            try:
                answer = await served.ask(stream=bool(number % 2))
                whole = answer.status_code == 200 and (not number % 2 or "[DONE]" in answer.text)
            except httpx2.TransportError:
                whole = False
            counts[1] += not whole

    asking = [asyncio.create_task(client(number)) for number in range(clients)]
    for _ in range(rounds):
        before = served.workers()
        served.process.send_signal(how)
        async with asyncio.timeout(60):
            while before & served.workers():
                await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*asking)
    return counts[0], counts[1]


async def test_a_rolling_restart_under_load_loses_no_request(tmp_path: Path) -> None:
    async with provider(limit=10**9) as world, potluck(tmp_path, world, limit=10**9, workers=2) as served:
        asked, lost = await rolled(served, clients=8, rounds=1, how=signal.SIGUSR2)
    assert lost == 0
    assert asked > 16
