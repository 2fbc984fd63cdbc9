"""Several worker processes behind one listening socket: started, watched, replaced when they die.

Rules: the socket is inherited, so the kernel spreads connections and none is lost while a worker is replaced.
What a worker must know travels in its environment as JSON; provider keys travel as they came, in the
environment, and never on a command line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

import msgspec

from potluck.app.neighbours import Neighbours
from potluck.config import Settings

SETTINGS = "POTLUCK_WORKER_SETTINGS"
QUICK_DEATH = 5.0  # seconds: a worker that lives shorter than this is restarted with a pause
LONGEST_PAUSE = 30.0

_log = logging.getLogger("potluck")


class Crew:
    """The workers of one gateway."""

    def __init__(self, settings: Settings, neighbours: Neighbours, listener: socket.socket) -> None:
        self._settings, self._neighbours, self._listener = settings, neighbours, listener

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then the workers drain."""
        await asyncio.gather(*(self._keep(number, stop) for number in range(self._settings.workers)))

    async def _keep(self, number: int, stop: asyncio.Event) -> None:
        pause = 0.0
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            born = loop.time()
            process = await self._spawn(number)
            exited = asyncio.create_task(process.wait())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((exited, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if stop.is_set():
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                await exited
                return
            _log.error("worker %d ended with status %s; starting it again", number, process.returncode)
            pause = min(LONGEST_PAUSE, pause * 2 + 0.5) if loop.time() - born < QUICK_DEATH else 0.0
            await _either(stop, pause)

    async def _spawn(self, number: int) -> asyncio.subprocess.Process:
        environ = {**os.environ, **await self._neighbours.model_environ()}
        environ[SETTINGS] = msgspec.json.encode(self._settings).decode()
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "potluck.app.worker",
            str(number),
            str(self._listener.fileno()),
            env=environ,
            pass_fds=(self._listener.fileno(),),
        )


async def _either(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
