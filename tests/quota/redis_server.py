"""A real Redis for tests: one process, on a port of its own, with nothing on disk."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


def program() -> str:
    """The machine's own server, or the one that the test dependencies carry. Skips where there is none."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    carried = Path(sys.executable).with_name("redis-server")
    if found is None and not carried.exists():
        pytest.skip(
            "no redis-server: install Redis or Valkey (the test dependencies carry one for Python < 3.13)"
        )
    return found or str(carried)


class RedisServer:
    """`stop` loses all data, as a server without a disk does; `start` comes back empty on the same port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        argv = [
            program(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"eady to accept connections" in line:
                return
        raise RuntimeError("redis-server did not start")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def freeze(self) -> None:
        """It holds the connections and answers nothing."""
        import signal

        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        import signal

        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        yield server
    finally:
        server.stop()
