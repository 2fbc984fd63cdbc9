"""One worker process: `python -m potluck.app.worker NUMBER LISTENER PIPE`, started by `workers.Crew`.

It closes the pipe once it serves.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys

import msgspec
import uvloop

from potluck.app.compose import Gateway, worker_name
from potluck.app.neighbours import Neighbours
from potluck.app.run import serve_on, stop_on_signals
from potluck.app.workers import SETTINGS
from potluck.config import Settings

PR_SET_PDEATHSIG = 1  # prctl(2)


async def main(number: str, fd: int, pipe: int) -> None:
    settings = msgspec.json.decode(os.environ[SETTINGS], type=Settings)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    gateway = Gateway(settings, os.environ, worker=worker_name(number))
    async with Neighbours(settings, dict(os.environ), owner=False) as neighbours:
        neighbours.tell(gateway.use, gateway.inventory.providers)
        with socket.socket(fileno=fd) as listener:
            await serve_on(gateway, listener, stop_on_signals(), lambda: os.close(pipe))


if __name__ == "__main__":
    if sys.platform == "linux":
        # A parent that was killed cannot tell us; the kernel does.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
