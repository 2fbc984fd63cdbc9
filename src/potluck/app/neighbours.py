"""What runs beside the gateway on this machine: the local model, servers found on loopback, pretend providers.

Rules: one process owns them, the parent; workers learn the local model's address from their environment. All of
it may be missing, and the gateway says why and goes on with the providers there are keys for.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence

import msgspec

from potluck import catalog, sim
from potluck.config import Provider, Settings
from potluck.errors import ConfigError
from potluck.local.discovery import discover
from potluck.local.endpoint import Endpoint, targets
from potluck.local.registry import Models
from potluck.local.supervisor import LocalModel
from potluck.types import Target

DISCOVER_EVERY = 60.0  # seconds between two looks at the loopback ports

_log = logging.getLogger("potluck")
Use = Callable[[tuple[Target, ...]], None]


class Neighbours:
    """`environ` and `settings` are what the gateway is to be built with. `status` is a sentence for people."""

    def __init__(self, settings: Settings, environ: dict[str, str], *, owner: bool = True) -> None:
        self.settings, self.environ = settings, environ
        self.status = "no local model"
        self._owner = owner
        self._local: LocalModel | None = None
        self._pretend: subprocess.Popen[str] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._known = asyncio.Event()  # whether it is decided where the local model will be
        self._use: Use = lambda targets: None
        self._near: list[Target] = []
        self._embedded: list[Target] = []

    async def __aenter__(self) -> Neighbours:
        """Starts what takes long in the background; what must be known at once (addresses) is known after this."""
        if self._owner and self.settings.sim:
            await self._pretend_providers()
        if not self._owner:
            endpoint = Endpoint.from_env(self.environ)
            self._embedded = targets(endpoint) if endpoint else []
        elif self.settings.local.enabled:
            self._tasks.append(asyncio.create_task(self._start_model()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._local is not None:
            await self._local.stop()
        if self._pretend is not None:
            self._pretend.terminate()
            await asyncio.to_thread(self._pretend.wait)
            if self._pretend.stdout is not None:
                self._pretend.stdout.close()

    def tell(self, use: Use, providers: Mapping[str, catalog.Provider]) -> None:
        """`use` hears of the targets on this machine, now and whenever they change."""
        self._use = use
        self._changed()
        if self.settings.local.discover:
            self._tasks.append(asyncio.create_task(self._look_around(providers)))

    def _changed(self) -> None:
        self._use((*self._embedded, *self._near))

    async def model_environ(self) -> dict[str, str]:
        """What workers must be told: where the local model is. Waits until that is known, not until it runs."""
        if self._owner and self.settings.local.enabled:
            await self._known.wait()
        return {**self.environ, **(self._local.endpoint.to_env() if self._local else {})}

    async def _start_model(self) -> None:
        try:
            local = await self._model()
            self.status = f"the local model {local.model.name} is loading"
            self._local = local
            self._known.set()
            await local.start()
        except ConfigError as error:
            self._local, self.status = None, str(error)
            _log.warning("%s", error)
            return
        finally:
            self._known.set()
        self._embedded = local.targets()
        self.status = f"the local model {local.model.name} is ready"
        self._changed()

    async def _model(self) -> LocalModel:
        chosen, models = self.settings.local, Models(self.settings.home)
        if chosen.model:
            models.use(chosen.model)
        model = await models.ready()
        try:
            embedder = await models.embedder()
        except ConfigError as error:  # a model of the user's own chats without it
            _log.warning("no embeddings on this machine: %s", error)
            embedder = None
        return LocalModel(model, embedder, context=chosen.context)

    async def _look_around(self, providers: Mapping[str, catalog.Provider]) -> None:
        chosen = self.settings.providers
        places = [
            (
                one.id,
                chosen[one.id].base_url if one.id in chosen and chosen[one.id].base_url else one.base_url,
            )
            for one in providers.values()
            if one.local and (one.id not in chosen or chosen[one.id].enabled)
        ]
        at = dict(places)
        while True:
            found = await discover(places, ours=self._our_ports())
            near: list[Target] = []
            for provider, models in found.items():
                contexts = {model.model: model.context for model in models}
                near += catalog.local_targets(providers[provider], contexts, base_url=at[provider])
            if near != self._near:
                self._near = near
                self._changed()
            await asyncio.sleep(DISCOVER_EVERY)

    def _our_ports(self) -> Sequence[int]:
        ports = [self.settings.port]
        if self._local is not None:
            ports += [self._local.endpoint.port, self._local.endpoint.embeddings_port]
        return ports

    async def _pretend_providers(self) -> None:
        origin, self._pretend = await asyncio.to_thread(sim.start_process)
        told = sim.environment(origin)
        choices = dict(self.settings.providers)
        for name, entry in told.items():
            self.environ[entry["key_env"]] = entry["key"]
            choices[name] = Provider(base_url=entry["base_url"], key_env=entry["key_env"])
        self.settings = msgspec.structs.replace(self.settings, providers=choices)
