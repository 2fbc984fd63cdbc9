"""The models that remote hosts list themselves: asked for in the background, kept on disk, shared by the workers.

Rules: a host is asked with the user's key, and only if the settings would let its models be used at all; every
six hours, after a failure at most once a minute, and by one worker for all of them (the file's lock decides).
Nothing waits for it: a gateway starts with what the file says, and targets come when they are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from potluck import catalog
from potluck.app.turn import turn
from potluck.catalog import Listed, Provider
from potluck.config import Settings
from potluck.dialects import blame
from potluck.errors import ConfigError, Invalid, TargetFailed
from potluck.types import Clock, Target
from potluck.upstream import Call, Origin, Timeouts, Upstream, header_lines

FILE = "remote-models.json"  # `models.json` is the local models' own
FRESH = 6 * 3600.0  # seconds a list holds: hosts add models by the week
AGAIN = 60.0  # seconds between two attempts after a failure, over all workers
LOOK_EVERY = 60.0  # seconds between two looks at the file
SOON = 1.0  # until the next look while another worker asks
MOST_BYTES = 4 * 1024 * 1024  # of an answer; the longest list known is half a megabyte
PATIENCE = Timeouts(connect=5.0, head=10.0, first=10.0, stall=10.0, total=20.0)

_log = logging.getLogger("potluck")


class List(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one host said. Epoch seconds: `at` of the latest list, `tried` of the latest attempt.

    `address`: where it was asked; a list of another address is not used.
    """

    address: str
    at: float = 0.0
    tried: float = 0.0
    problem: str = ""
    rows: tuple[Listed, ...] = ()

    def due(self, address: str, now: float) -> bool:
        if self.address != address or self.tried > now:
            return True
        return now - self.at >= FRESH and now - self.tried >= AGAIN


class RemoteModels:
    """One worker's view. `targets` changes as lists arrive; `use` hears of it."""

    def __init__(
        self, settings: Settings, providers: Mapping[str, Provider], environ: Mapping[str, str], clock: Clock
    ) -> None:
        self._settings, self._environ, self._clock = settings, environ, clock
        self._path = settings.home / FILE
        self._asked = [one for one in providers.values() if one.discover and not one.local]
        self._asked = [one for one in self._asked if not self._why_not(one)]
        self._kept: tuple[int, dict[str, List]] = (-1, {})
        self.targets: tuple[Target, ...] = ()
        self.complete = asyncio.Event()  # whether every host has answered or failed once
        self._adopt()

    async def run(self, upstream: Upstream, use: Callable[[], None]) -> None:
        """Until cancelled. Does nothing at all when no such host may be used."""
        while self._asked:
            pause = LOOK_EVERY
            try:
                pause = await self.look(upstream, use)
            except (OSError, ConfigError) as error:  # no room on the disk; a profile that has a model's name
                _log.warning("remote models could not be adopted: %s", error)
            await asyncio.sleep(pause)

    async def look(self, upstream: Upstream, use: Callable[[], None]) -> float:
        """Ask whoever is due, adopt what is known; seconds until the next look. Raises OSError."""
        pause = LOOK_EVERY
        if self._due():
            with turn(self._path) as ours:
                pause = LOOK_EVERY if ours else SOON
                due = self._due() if ours else []  # another worker may just have asked
                if due:
                    said = await asyncio.gather(*(self._ask(one, upstream) for one in due))
                    _write(
                        self._path,
                        self._lists() | {one.id: each for one, each in zip(due, said, strict=True)},
                    )
        if self._adopt():
            use()
        if not self._due():
            self.complete.set()
        return pause

    def problems(self) -> dict[str, str]:
        """Why a host's list could not be had, by provider."""
        lists = self._lists()
        return {
            one.id: lists[one.id].problem for one in self._asked if one.id in lists and lists[one.id].problem
        }

    def _due(self) -> list[Provider]:
        lists, now = self._lists(), self._clock.now()
        return [one for one in self._asked if lists.get(one.id, List("")).due(self._door(one).base_url, now)]

    def _adopt(self) -> bool:
        lists, found = self._lists(), list[Target]()
        for one in self._asked:
            known = lists.get(one.id)
            if known is not None and known.address == self._door(one).base_url:
                found += catalog.hosted(one, known.rows, self._environ, **self._how(one))
        changed = tuple(found) != self.targets
        self.targets = tuple(found)
        return changed

    async def _ask(self, provider: Provider, upstream: Upstream) -> List:
        """One `GET /models`. Raises nothing: what went wrong is part of the answer, without the key."""
        target, now = self._door(provider), self._clock.now()
        before = self._lists().get(provider.id, List(target.base_url))
        if before.address != target.base_url:
            before = List(target.base_url)
        try:
            rows = catalog.listed(await get(target, upstream, target.behaviour.models_path))
            problem = "" if rows else "the list is empty, or in a shape that is not known"
        except (TargetFailed, Invalid) as error:
            rows, problem = [], str(error)
        if not problem:
            return List(target.base_url, at=now, tried=now, rows=tuple(rows))
        _log.warning("%s did not list its models (asking again in a minute): %s", provider.id, problem)
        return msgspec.structs.replace(before, tried=now, problem=problem)

    def _lists(self) -> dict[str, List]:
        """The file, read again when it changed; a broken one is asked for anew."""
        with contextlib.suppress(OSError):
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._kept[0]:
                try:
                    self._kept = stamp, msgspec.json.decode(self._path.read_bytes(), type=dict[str, List])
                except (msgspec.DecodeError, UnicodeDecodeError):
                    self._kept = stamp, {}
        return self._kept[1]

    def _why_not(self, provider: Provider) -> str:
        return catalog.why_not(provider, self._environ, **self._how(provider))

    def _door(self, provider: Provider) -> Target:
        return catalog.door(provider, self._environ, **self._how(provider))

    def _how(self, provider: Provider) -> dict[str, Any]:
        settings = self._settings
        return {
            "never_bill": settings.never_bill,
            "anonymous": provider.id in settings.anonymous_providers,
            "choice": settings.providers.get(provider.id, catalog.AS_IT_IS),
        }


async def get(target: Target, upstream: Upstream, below: str) -> bytes:
    """The body of a GET below its base URL. Raises TargetFailed, or Invalid for a key no header can carry."""
    lines = [("accept", "application/json"), *target.behaviour.headers]
    if target.key:
        name, scheme = ("authorization", "Bearer ") if target.auth == "bearer" else (target.auth, "")
        lines.append((name, scheme + target.key.reveal()))
    path = urlsplit(target.base_url).path.rstrip("/") + below
    call = Call(Origin.of(target.base_url), path, header_lines(lines), method="GET", timeouts=PATIENCE)
    exchange = await upstream.send(call)
    try:
        body = await exchange.body(MOST_BYTES)
        if exchange.status != 200:
            raise blame.blame(exchange.status, exchange.headers, body, target.behaviour)
        return body
    finally:
        exchange.close()


def _write(path: Path, lists: dict[str, List]) -> None:
    """Whole or not at all: other workers read it at any moment."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_bytes(msgspec.json.encode(lists))
    new.replace(path)
