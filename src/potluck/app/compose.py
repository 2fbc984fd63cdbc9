"""Builds one gateway out of its parts: catalog and keys → pool, store → ledger, pipeline → web application.

Rules: everything is made here and handed in; no part looks another one up. A gateway is built for one worker
process; several workers share the stores on disk, and the parent process owns the local model.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from importlib.resources import files

import msgspec

from potluck import catalog
from potluck.app import parts
from potluck.app.background import Background
from potluck.app.desks import desks
from potluck.app.learned import remember, remembered
from potluck.app.pacing import pacing
from potluck.app.remote import RemoteModels
from potluck.app.retention import Retention
from potluck.app.stages import Staged
from potluck.app.tokens import tokenizer
from potluck.app.told import QuotaEndpoints
from potluck.app.views import Views
from potluck.config import Settings
from potluck.delivery import Patience, Sender
from potluck.dispatch import Dispatch
from potluck.errors import ConfigError
from potluck.health import Health
from potluck.quota.ledger import Ledger
from potluck.quota.pace import Paces
from potluck.quota.remote import RemoteLedger
from potluck.quota.sqlite import SqliteStore
from potluck.quota.valkey import ValkeyStore
from potluck.router import Pool
from potluck.server.chat import Chat
from potluck.server.gate import Gate
from potluck.server.guard import stays_home
from potluck.server.limits import ClientLimiter
from potluck.server.memory import Memory
from potluck.server.meters import Meters
from potluck.server.protocol import Door
from potluck.server.web import Web
from potluck.stages.choices import Choices
from potluck.stages.rerank import Reranking
from potluck.store import migrate
from potluck.store.database import Database
from potluck.store.keyring import Keyring
from potluck.store.records import Recorder
from potluck.store.savings import Savings
from potluck.surfaces import openai
from potluck.types import Target
from potluck.upstream import Upstream
from potluck.waiting import Queue

TICK = 0.25  # seconds between flushes of the ledger
SLOW_TICKS = 4  # every so many ticks: client keys and counters
RARE_TICKS = 240  # … what was learned of token counts is written down

_log = logging.getLogger("potluck")


class SystemClock:
    """The real clocks. `now` is epoch seconds, `monotonic` never goes back."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def worker_name(number: int | str) -> str:
    """A name that no other process ever had: the ledger tells by it whose leases are whose.

    A process id would not do: in a container, every start has the same one.
    """
    return f"{number}-{os.urandom(6).hex()}"


class Inventory(msgspec.Struct, frozen=True):
    """What there is: every provider of the catalog, and the targets that the keys at hand open."""

    providers: dict[str, catalog.Provider]
    targets: tuple[Target, ...]


def inventory(settings: Settings, environ: Mapping[str, str], *, listed: bool = True) -> Inventory:
    """Raises ConfigError for a broken provider file, naming file and line.

    `listed`: with the models that remote hosts listed when a gateway last ran here.
    """
    providers = catalog.load(catalog.SHIPPED, *settings.provider_directories)
    if settings.sim:  # what answers on loopback then is a pretence, and bills nobody
        pretended = {name for name, said in settings.providers.items() if "://127.0.0.1:" in said.base_url}
        providers |= {
            name: msgspec.structs.replace(providers[name], bills_past_quota=False)
            for name in pretended & providers.keys()
        }
    found = catalog.targets(
        providers,
        environ,
        never_bill=settings.never_bill,
        anonymous=settings.anonymous_providers,
        choices=settings.providers,
    )
    if listed:
        found += RemoteModels(settings, providers, environ, SystemClock()).targets
    return Inventory(providers, tuple(found))


def database(settings: Settings) -> Database:
    """The store of records and client keys, its tables up to date."""
    store = Database.at(settings.home / "potluck.sqlite")
    migrate.prepare(store)
    return store


def open_ledger(settings: Settings, *, worker: str) -> Ledger:
    """Raises ConfigError when the store's client is not installed."""
    if not settings.store:
        return Ledger(SqliteStore(settings.home / "quota.sqlite"), SystemClock(), worker=worker)
    try:
        store = ValkeyStore(settings.store, remember=settings.home / "quota-epoch")
    except ImportError as missing:
        raise ConfigError(
            "`store` names a Valkey server: install its client with potluck[valkey]."
        ) from missing
    return RemoteLedger(store, SystemClock(), worker=worker)


class Gateway:
    """One worker: `asgi` serves, `start` and `stop` run with the event loop."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        worker: str = "",
        extra: tuple[Target, ...] = (),
    ) -> None:
        self.settings, self.worker = settings, worker or worker_name(0)
        self.inventory = inventory(settings, environ, listed=False)
        self.clock, self.health, self.meters = SystemClock(), Health(), Meters()
        self.remote = RemoteModels(settings, self.inventory.providers, environ, self.clock)
        self.use(extra)
        self.database = database(settings)
        self.ledger = open_ledger(settings, worker=self.worker)
        self.paces = Paces(self.clock, worker=self.worker)
        self.tokenizer = tokenizer(settings.tokenizer)
        self.estimates = remembered(settings, self.tokenizer)
        self.endpoints = QuotaEndpoints(settings.home, self.ledger, self.clock)
        self.queue = Queue(self.clock, self.ledger.watch, parts.bounds(settings))
        self.pacing = pacing(settings, self.inventory.providers)
        self.meters.waiting = self.queue.__len__
        # A store that lost its keys, or a worker started after it was emptied, must not open a door to the network.
        self.keyring = Keyring(self.database, open_without_keys=stays_home(settings.host))
        self.savings = Savings(self.clock.now)
        self.recorder = Recorder(
            self.database, record_prompts=settings.record_prompts, beside=(self.savings.write,)
        )
        self.memory = Memory(self.database)
        self.upstream = Upstream()
        self.door = Door(parts.door_limits(settings), openai.render_error)
        self.views = Views(self)
        self.asgi = self._web()
        self.retention = Retention(self.database, settings.home, settings.keep_records_days, self.clock)
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._beside: list[asyncio.Task[None]] = []

    def _web(self) -> Web:
        settings = self.settings
        patience = parts.patience(settings)
        self.stages = Staged(self, Reranking(self._dispatch(patience), lambda: self.pool))
        chat = Chat(
            Choices(self.stages),
            ClientLimiter(self.ledger),
            self.recorder,
            self.meters,
            self.clock,
            parts.willing(settings),
            record_prompts=settings.record_prompts,
            total_seconds=patience.total,
            memory=self.memory,
            spared=self.savings.saved,
            count=self.tokenizer,
        )
        self.background = Background(self, chat)
        return Web(
            chat,
            Gate(settings.allowed_hosts, settings.cors_origins, settings.port),
            self.keyring,
            models=lambda: self.pool.names(),
            metrics=self.views.metrics,
            views=self.views.pages(),
            ready=self.views.ready,
            openapi=files("potluck.server").joinpath("openapi.json").read_bytes(),
            started=int(self.clock.now()),
            desks=desks(self),
        )

    def _dispatch(self, patience: Patience) -> Dispatch:
        return Dispatch(
            lambda: self.pool,
            self.ledger,
            Sender(self.upstream, patience),
            self.health,
            self.clock,
            self.paces,
            self.queue,
            self.pacing,
            self.estimates,
            continue_streams=self.settings.continue_streams,
        )

    def use(self, targets: tuple[Target, ...]) -> None:
        """Replaces the targets that come and go: the local model and the servers found on loopback."""
        self._near = targets
        self.pool = Pool(
            (*self.inventory.targets, *self.remote.targets, *targets), parts.profiles(self.settings)
        )

    def start(self) -> None:
        listing = self.remote.run(self.upstream, lambda: self.use(self._near))
        asking = self.endpoints.run(self.upstream, self.pool.by_id)
        self._beside = [
            asyncio.create_task(each)
            for each in (listing, asking, self.retention.run(), self.background.runner.run())
        ]
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticks += 1
        try:
            self.ledger.flush()
            if self._ticks % SLOW_TICKS == 0:
                self.keyring.refresh()
                self.views.publish()
                self.views.foresee()
            if self._ticks % RARE_TICKS == 0:
                remember(self.settings, self.estimates, self.tokenizer)
        except Exception:  # the store may be locked or gone for a while; serving goes on from the leases
            _log.exception("the stores could not be updated; trying again")
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    async def stop(self) -> None:
        """Gives back what was leased and writes down what is not yet written."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self.background.stop()
        await self.upstream.close()
        if isinstance(self.ledger, RemoteLedger):
            await self.ledger.close_async()
        else:
            self.ledger.close()
        self.stages.close()
        await asyncio.to_thread(self.recorder.close)
        self.memory.close()
        self.background.close()
        remember(self.settings, self.estimates, self.tokenizer)
        self.views.close()
        self.keyring.close()
