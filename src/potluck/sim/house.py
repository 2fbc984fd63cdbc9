"""The pretend world for whoever is outside it: its URLs and keys, and ways to start it elsewhere.

Rules: the keys are pretend too, and say so; nothing here reads the caller's environment.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from potluck.sim.provider import table
from potluck.sim.world import ACCOUNT, Wanted, World, serve
from potluck.types import Clock


def environment(world: World | str) -> dict[str, dict[str, str]]:
    """What it takes to talk to each pretend provider: ``{"groq": {base_url, key, key_env}}``.

    `world` may be the origin of one that runs elsewhere; then all providers are listed. An `account` is added
    where the real URL holds one.
    """
    names = world.names if isinstance(world, World) else tuple(table())
    origin = world.origin if isinstance(world, World) else world
    found = {}
    for name in names:
        row = table()[name]
        found[name] = {"key_env": row.key_env, "key": f"pretend-{name}"}
        found[name]["base_url"] = f"{origin}/{name}{row.base.replace('{account}', ACCOUNT)}"
        if "{account}" in row.base:
            found[name]["account"] = ACCOUNT
    return found


def variables(world: World | str) -> dict[str, str]:
    """The environment variables of all pretend keys."""
    return {entry["key_env"]: entry["key"] for entry in environment(world).values()}


def start_process(providers: Sequence[str] = (), port: int = 0) -> tuple[str, subprocess.Popen[str]]:
    """Start ``python -m potluck.sim`` and wait until it listens: its origin, and the process to terminate.

    Raises RuntimeError if it ends before it listens.
    """
    command = [sys.executable, "-m", "potluck.sim", "--port", str(port)]
    command += [part for name in providers for part in ("--provider", name)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 our own interpreter
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.stdout.close()
        raise RuntimeError(f"the pretend providers ended with status {process.wait()} before they listened")
    return str(json.loads(line)["url"]), process


@contextmanager
def thread(wanted: Wanted = None, *, clock: Clock | None = None) -> Iterator[World]:
    """Serve on an event loop of its own, in a thread, for callers that block theirs."""
    loop = asyncio.new_event_loop()
    opened: asyncio.Future[World] = loop.create_future()
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        try:
            async with serve(wanted, clock=clock) as world:
                opened.set_result(world)
                ready.set()
                await stop.wait()
        except Exception as error:
            opened.set_exception(error)
            ready.set()

    worker = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    worker.start()
    ready.wait()
    try:
        yield opened.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        worker.join()
        loop.close()
