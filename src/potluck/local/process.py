"""One child process from start to end: started, ready or failed, stopped. Restarting is `supervisor`'s."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from potluck.errors import ConfigError

_GRACE = 2.0  # seconds between asking and killing
_TAIL = 20  # lines of stderr kept to explain a death


class _Line(msgspec.Struct):
    ready: bool = False
    error: str = ""


class Child:
    """A running child. Make one with `start`; whoever has it must `stop` it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._drain = asyncio.create_task(self._keep_tail())
        self.pid = process.pid

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str], patience: float) -> Child:
        """Start it and wait, at most `patience` seconds, for the line that says it is ready.

        Raises ConfigError with its own words if it fails. A session of its own keeps the terminal's Ctrl-C
        from it: the gateway finishes its answers first.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(env), start_new_session=True
        )
        child = cls(process)
        try:
            async with asyncio.timeout(patience):
                await child._await_ready()
        except BaseException as reason:
            await child.stop(grace=0)
            if isinstance(reason, TimeoutError):
                raise ConfigError(f"it was not ready after {patience:g} s") from None
            raise
        return child

    async def _await_ready(self) -> None:
        assert self._process.stdout
        async for raw in self._process.stdout:
            with contextlib.suppress(msgspec.DecodeError):  # native code may print before us
                line = msgspec.json.decode(raw, type=_Line)
                if line.ready:
                    return
                if line.error:
                    raise ConfigError(line.error)
        status = await self.wait()
        raise ConfigError(f"it ended with {describe(status)}: {self.last_words or 'it said nothing'}")

    @property
    def last_words(self) -> str:
        """The end of what it wrote on stderr."""
        return " ".join(self._tail)[-500:]

    async def wait(self) -> int:
        """Wait until it is dead and all it wrote is read; its exit status, negative for a signal."""
        status = await self._process.wait()
        await asyncio.wait([self._drain])
        return status

    async def stop(self, grace: float = _GRACE) -> None:
        """Ask it to end, kill it after `grace` seconds. Safe to call twice."""
        if self._process.stdin:
            self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            if grace:
                self._process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), grace)
            if self._process.returncode is None:
                self._process.kill()
        await self.wait()

    async def _keep_tail(self) -> None:
        assert self._process.stderr
        with contextlib.suppress(
            ValueError
        ):  # a line longer than the reader's limit: nothing to explain with
            async for raw in self._process.stderr:
                self._tail.append(raw.decode("utf-8", "replace").strip())


def describe(status: int) -> str:
    """An exit status in words; an illegal instruction is what an old processor answers."""
    if status == -4:
        return "an illegal instruction (the processor is older than the model runtime needs)"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
