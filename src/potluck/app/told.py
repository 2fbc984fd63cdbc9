"""Asks providers that have an endpoint for it how much of a key's quota is left, and which limit binds.

Rules: off the hot path, at start, then every ten minutes, and within a minute after a quota there was closed. What is
told counts like a rate header (`quota/learn.py`): the provider's own count wins, a misread one is not believed. Several
workers ask in turn: one file's age says when it was done last, so the provider sees one question and not four.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from potluck.app.remote import get
from potluck.app.turn import turn
from potluck.errors import Invalid, TargetFailed
from potluck.quota import learn
from potluck.quota.ledger import Ledger
from potluck.quota.observe import readings
from potluck.types import Clock, Target
from potluck.upstream import Upstream

FILE = "quota-asked.json"
EVERY, SOON = 600.0, 60.0  # seconds between two questions; when a quota there has no room
LOOK_EVERY = 30.0

_log = logging.getLogger("potluck")


class QuotaEndpoints:
    """One worker's part. `problems` says which endpoint could not be read, and why."""

    def __init__(self, home: Path, ledger: Ledger, clock: Clock) -> None:
        self._path, self._ledger, self._clock = home / FILE, ledger, clock
        self.problems: dict[str, str] = {}

    async def run(self, upstream: Upstream, targets: Mapping[str, Target]) -> None:
        """Until cancelled; at once over when no target has such an endpoint."""
        doors = one_each(targets.values())
        while doors:
            with turn(self._path) as ours:
                if ours:
                    for target in self._due(doors):
                        await self.ask(upstream, target)
            await asyncio.sleep(LOOK_EVERY)

    async def ask(self, upstream: Upstream, target: Target) -> None:
        """One question. Raises nothing: what went wrong is remembered and asked again later."""
        self._remember(target)
        try:
            body = await get(target, upstream, target.behaviour.quota_path)
            said = msgspec.json.decode(body)
        except (TargetFailed, Invalid, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.problems[target.provider] = str(error)
            _log.warning("%s did not tell its quota: %s", target.provider, error)
            return
        pairs = [
            (rule.name.lower().encode(), str(value).encode())
            for rule in target.behaviour.quota_fields
            if (value := _at(said, rule.name)) is not None
        ]
        rules = {rule.name.lower().encode(): rule for rule in target.behaviour.quota_fields}
        self.problems.pop(target.provider, None)
        ledger, now = self._ledger, self._ledger.time()
        for reading in readings(rules, pairs, now):
            for counter in ledger.lane(target).counters:
                learn.adopt(counter, reading, now, ledger.worker)
        ledger.flush()

    def _due(self, doors: Iterable[Target]) -> list[Target]:
        asked, now = self._asked(), self._clock.now()
        due = []
        for target in doors:
            since = now - asked.get(target.provider, 0.0)
            pause = SOON if self._ledger.room(target).opens_at else EVERY
            if since >= pause or since < 0.0:
                due.append(target)
        return due

    def _asked(self) -> dict[str, float]:
        """Epoch seconds of the latest question, by provider."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, float])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}

    def _remember(self, target: Target) -> None:
        self._path.write_bytes(msgspec.json.encode(self._asked() | {target.provider: self._clock.now()}))


def one_each(targets: Iterable[Target]) -> list[Target]:
    """A target for each key whose provider has such an endpoint."""
    found = {(one.provider, one.key): one for one in targets if one.behaviour.quota_path and one.key}
    return list(found.values())


def _at(value: Any, path: str) -> int | float | None:
    """The number at a dotted path of a JSON value; None if there is none (a null is no limit)."""
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
