"""Several worker processes behind one listening socket: started, watched, replaced when they die.

Rules: the socket is inherited, so the kernel spreads connections and none is lost while a worker is replaced.
What a worker must know travels in its environment as JSON; provider keys travel as they came, in the
environment, and never on a command line. SIGUSR2 renews the workers one after the other: each is replaced by a fresh
one (new code, same settings) that already serves when the old one begins to drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable

import msgspec

from potluck.app.neighbours import Neighbours
from potluck.config import Settings

SETTINGS = "POTLUCK_WORKER_SETTINGS"
QUICK_DEATH = 5.0  # seconds: a worker that lives shorter than this is restarted with a pause
LONGEST_PAUSE = 30.0
START_SECONDS = 60.0  # a fresh worker that does not serve by then is given up, and the old one stays

_log = logging.getLogger("potluck")


class Crew:
    """The workers of one gateway."""

    def __init__(self, settings: Settings, neighbours: Neighbours, listener: socket.socket) -> None:
        self._settings, self._neighbours, self._listener = settings, neighbours, listener
        self._asked = [asyncio.Event() for _ in range(settings.workers)]  # to renew this worker
        self._renewed = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._draining: set[asyncio.Task[int]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then the workers drain."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self.renew)
        await asyncio.gather(*(self._keep(number, stop) for number in range(self._settings.workers)))
        if self._rolling is not None:
            self._rolling.cancel()
        await asyncio.gather(*self._draining)

    def renew(self) -> None:
        """Replace every worker, one after the other; asked again while it does, it goes on."""
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.create_task(self._roll())

    async def _roll(self) -> None:
        for asked in self._asked:
            self._renewed.clear()
            asked.set()
            await self._renewed.wait()

    async def _keep(self, number: int, stop: asyncio.Event) -> None:
        pause, process = 0.0, None
        loop, asked = asyncio.get_running_loop(), self._asked[number]
        while not stop.is_set():
            born = loop.time()
            process = process or (await self._spawn(number))[0]
            await _first(process.wait(), stop.wait(), asked.wait())
            if stop.is_set():
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                await process.wait()
            elif asked.is_set():
                asked.clear()
                process = await self._replace(number, process)
                self._renewed.set()
            else:
                _log.error("worker %d ended with status %s; starting it again", number, process.returncode)
                pause = min(LONGEST_PAUSE, pause * 2 + 0.5) if loop.time() - born < QUICK_DEATH else 0.0
                process = None
                await _either(stop, pause)

    async def _replace(self, number: int, old: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
        """A fresh worker that serves, the old one draining; or the old one, if no fresh one comes to serve."""
        fresh, serves = await self._spawn(number)
        await _first(fresh.wait(), serves, asyncio.sleep(START_SECONDS))
        if fresh.returncode is not None or not serves.done():
            _log.error("no fresh worker %d came to serve; the old one stays", number)
            if fresh.returncode is None:
                fresh.kill()
            return old
        if old.returncode is None:
            old.send_signal(signal.SIGTERM)
        draining = asyncio.create_task(old.wait())
        self._draining.add(draining)
        draining.add_done_callback(self._draining.discard)
        return fresh

    async def _spawn(self, number: int) -> tuple[asyncio.subprocess.Process, asyncio.Future[None]]:
        """A worker, and what is done once it serves: it then closes its end of a pipe."""
        environ = {**os.environ, **await self._neighbours.model_environ()}
        environ[SETTINGS] = msgspec.json.encode(self._settings).decode()
        ours, its = os.pipe()
        shared = (self._listener.fileno(), its)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "potluck.app.worker", str(number), *map(str, shared)),
                env=environ,
                pass_fds=shared,
            )
        finally:
            os.close(its)
        return process, _closed(ours)


def _closed(pipe: int) -> asyncio.Future[None]:
    """Done when the other end is closed; it closes ours."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def hear() -> None:
        loop.remove_reader(pipe)
        os.close(pipe)
        if not done.done():
            done.set_result(None)

    loop.add_reader(pipe, hear)
    return done


async def _first(*each: Awaitable[object]) -> None:
    """Until one of them is done; the others are cancelled, except futures, which are somebody's."""
    waiting = [asyncio.ensure_future(one) for one in each]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        if isinstance(one, asyncio.Task):
            one.cancel()


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
