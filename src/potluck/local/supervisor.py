"""The local model as the gateway sees it: one address, while the process behind it comes and goes.

Rules: address and key are chosen before the first start and never change, so several workers can be told once
and need not hear of a restart. One process, the parent, owns the `LocalModel`; workers get its `endpoint` and
build their targets from that. A death is answered with a restart, ever later; after too many quick ones it
gives up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import msgspec

from potluck.errors import ConfigError
from potluck.local.availability import unavailable
from potluck.local.child import KEY
from potluck.local.endpoint import Endpoint, targets
from potluck.local.process import Child, describe
from potluck.local.registry import Model
from potluck.types import Secret, Target

State = Literal["new", "starting", "ready", "restarting", "failed", "stopped"]
COMMAND = (sys.executable, "-m", "potluck.local.child")
log = logging.getLogger(__name__)

# What the child needs of our environment. Provider keys are not: native code needs none.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONHOME", "SYSTEMROOT")
_NATIVE = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Policy(msgspec.Struct, frozen=True):
    """How patient to be; seconds, but for `quick_deaths`."""

    start: float = 60.0  # loading takes 1 s for the built-in model, longer for gigabytes on a slow disk
    first_delay: float = 0.1
    longest_delay: float = 10.0
    steady: float = 30.0  # having lived this long, a death counts as the first
    quick_deaths: int = 5  # after this many in a row, give up

    def delay(self, deaths: int) -> float:
        """How long to wait before the next start; doubles with each quick death."""
        return min(self.longest_delay, self.first_delay * 2.0 ** (deaths - 1))


class LocalModel:
    """A model process, kept alive from `start` to `stop`.

    `context` in tokens of one conversation (cut to what the model was trained for), `parallel` answers at
    once. `on_state` hears of every change of state. Use it from one event loop, in the main thread (on Linux
    the child dies with the thread that started it).
    """

    def __init__(
        self,
        model: Model,
        embedder: Model | None = None,
        *,
        context: int = 4096,
        parallel: int = 2,
        policy: Policy | None = None,
        command: Sequence[str] = COMMAND,
        on_state: Callable[[State], object] = lambda state: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.embedder = model, embedder
        self.context = min(context, model.context) if model.context else context
        self.parallel = parallel
        self.state: State = "new"
        self.why = ""  # why it is not ready, in a sentence
        self.restarts = 0
        self._policy, self._command = policy or Policy(), tuple(command)
        self._on_state, self._sleep, self._monotonic = on_state, sleep, monotonic
        self._held: list[socket.socket] = []
        self._endpoint: Endpoint | None = None
        self._child: Child | None = None
        self._watcher: asyncio.Task[None] | None = None

    def reserve(self) -> Endpoint:
        """Choose ports and key, and keep the ports; called by `start` if nobody did before."""
        if self._endpoint is None:
            chat, vectors = self._hold_port(), self._hold_port() if self.embedder else 0
            self._endpoint = Endpoint(
                name=self.model.name,
                base_url=f"http://127.0.0.1:{chat}/v1",
                key=Secret(secrets.token_urlsafe(24)),
                context=self.context,
                quality=self.model.quality,
                embedder=self.embedder.name if self.embedder else "",
                embeddings_url=f"http://127.0.0.1:{vectors}/v1" if vectors else "",
            )
        return self._endpoint

    def _hold_port(self) -> int:
        """A free port, bound but not listened on; the child binds it a second time.

        So nobody else gets it while the child is down, and above all no other user of this machine can listen
        there for our key and prompts.
        """
        holder = socket.socket()
        if hasattr(socket, "SO_REUSEPORT"):
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if hasattr(socket, "SO_REUSEPORT"):
            self._held.append(holder)
        else:
            holder.close()
        return port

    @property
    def endpoint(self) -> Endpoint:
        return self.reserve()

    @property
    def base_url(self) -> str:
        return self.endpoint.base_url

    @property
    def embeddings_url(self) -> str:
        return self.endpoint.embeddings_url

    @property
    def key(self) -> Secret:
        return self.endpoint.key

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        return self._child.pid if self._child else None

    def targets(self) -> list[Target]:
        return targets(self.endpoint)

    async def start(self) -> None:
        """Start the child and keep it alive from now on. Raises ConfigError that says why it cannot run."""
        self._enter("starting")
        try:
            if why := unavailable():
                raise ConfigError(why)
            self._child = await self._spawn()
        except BaseException as reason:
            self._enter("failed", str(reason))
            self._let_go()
            raise
        self._enter("ready")
        self._watcher = asyncio.create_task(self._watch(self._child))

    async def stop(self) -> None:
        """End the child and give the ports back. Safe to call twice, and after a failed start."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        if self._child:
            await self._child.stop()
            self._child = None
        self._let_go()
        self._enter("stopped")

    async def __aenter__(self) -> LocalModel:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _spawn(self) -> Child:
        try:
            return await Child.start(self._argv(), self._env(os.environ), self._policy.start)
        except (ConfigError, OSError) as reason:
            raise ConfigError(
                f"The local model {self.model.name} ({self.model.path}) does not start: {reason}. "
                "Try another with `potluck models use NAME`; the gateway itself can run without it."
            ) from None

    def _argv(self) -> list[str]:
        endpoint, model = self.reserve(), self.model
        argv = [*self._command, f"--model={model.path}", f"--alias={model.name}", f"--port={endpoint.port}"]
        argv += [f"--context={self.context}", f"--parallel={self.parallel}", f"--parent={os.getpid()}"]
        if self.embedder:
            argv += [f"--embedder={self.embedder.path}", f"--embedder-alias={self.embedder.name}"]
            argv += [f"--embedder-port={endpoint.embeddings_port}"]
        return argv

    def _env(self, environ: Mapping[str, str]) -> dict[str, str]:
        kept = {name: environ[name] for name in (*_INHERITED, *_NATIVE) if name in environ}
        return {**kept, KEY: self.key.reveal()}

    async def _watch(self, child: Child) -> None:
        """Restart whatever dies; ends only by `stop` or by giving up."""
        deaths, born = 0, self._monotonic()
        while True:
            status = await child.wait()
            self._child = None
            deaths = 1 if self._monotonic() - born >= self._policy.steady else deaths + 1
            self.why = f"{describe(status)}: {child.last_words or 'no last words'}"
            while True:
                if deaths > self._policy.quick_deaths:
                    self._give_up(deaths)
                    return
                log.warning("local model died (%s); restarting", self.why)
                self._enter("restarting", self.why)
                await self._sleep(self._policy.delay(deaths))
                try:
                    child = self._child = await self._spawn()
                    break
                except ConfigError as reason:
                    deaths, self.why = deaths + 1, str(reason)
            self.restarts, born = self.restarts + 1, self._monotonic()
            self._enter("ready")

    def _give_up(self, deaths: int) -> None:
        log.error("local model died %d times in a row and stays down: %s", deaths, self.why)
        self._enter("failed", f"it died {deaths} times in a row, last by {self.why}")

    def _enter(self, state: State, why: str = "") -> None:
        self.state, self.why = state, why
        self._on_state(state)

    def _let_go(self) -> None:
        while self._held:
            self._held.pop().close()
