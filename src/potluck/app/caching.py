"""The cache of one gateway: its store, the rules of each profile, and what its answers depend on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from potluck import __version__
from potluck.app.turn import turn
from potluck.config import Settings
from potluck.errors import ConfigError
from potluck.local.embedding import Embedding, missing
from potluck.stages import ORDER
from potluck.stages.cache import Cache, Rules
from potluck.stages.semantic import Semantic
from potluck.stages.threshold import State, Threshold
from potluck.store.answers import Answers, Stats, Which
from potluck.store.cache import SqliteAnswers
from potluck.store.cache_valkey import ValkeyAnswers
from potluck.store.vectors import TwoTiers

if TYPE_CHECKING:
    from potluck.app.compose import Gateway

FILE = "cache.sqlite"
VECTORS = "cache-vectors"  # a directory for each worker
LEARNED = "cache-learned.json"

R = TypeVar("R")
_log = logging.getLogger("potluck.cache")


def cache(gateway: Gateway) -> Cache:
    """Raises ConfigError when the store cannot be opened."""
    settings = gateway.settings
    rules = {name: _rules(settings, name) for name in settings.profiles}
    default = _rules(settings, "")
    store = answers(settings)
    by_meaning = any(each.said.semantic for each in (default, *rules.values()))
    found = meaning(gateway, store) if by_meaning else None
    return Cache(store, gateway.clock, default, rules, meaning=found)


def meaning(gateway: Gateway, store: Answers) -> Semantic | None:
    """Hits by meaning; None, said in the log, where the extra is not installed: the same requests are hits then."""
    if problem := missing():
        _log.warning("[cache] semantic = true, but %s Only the same requests are hits.", problem)
        return None
    home = gateway.settings.home
    directory, release = _directory(home / VECTORS)
    return Semantic(
        Embedding().embed,
        TwoTiers(directory, release=release),
        store,
        threshold=Threshold(_learned(home / LEARNED)),
        keep=lambda state: _keep(home / LEARNED, state),
        checked=gateway.savings.checked,
    )


def answers(settings: Settings) -> Answers:
    """Where answers are stored: beside the quotas of many hosts, or in a file. Raises ConfigError."""
    most = settings.cache.max_bytes
    if not settings.store:
        return SqliteAnswers(settings.home / FILE, max_bytes=most)
    try:
        return ValkeyAnswers(settings.store, max_bytes=most)
    except ImportError as error:
        raise ConfigError(
            "`store` names a Valkey server: install its client with potluck[valkey]."
        ) from error


def look(settings: Settings) -> Stats:
    """What is stored, also while a gateway runs. Raises ConfigError."""
    return asyncio.run(_by_hand(settings, lambda store: store.stats()))


def clear(settings: Settings, which: Which) -> int:
    """Drops stored answers, also while a gateway runs: how many went. Raises ConfigError."""
    return asyncio.run(_by_hand(settings, lambda store: store.drop(which)))


async def _by_hand(settings: Settings, work: Callable[[Answers], Awaitable[R]]) -> R:
    store = answers(settings)
    try:
        return await work(store)
    except Exception as error:  # of either store: there is no common base
        raise ConfigError(f"The cache cannot be reached ({error}). Is its server running?") from error
    finally:
        if isinstance(store, ValkeyAnswers):
            await store.close_async()
        else:
            store.close()


def _directory(place: Path) -> tuple[Path, Callable[[], None]]:
    """The first that no other worker has, and what gives it back. By lock, not by the worker's number: while workers
    are renewed there are two of each.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in itertools.count():
        held = contextlib.ExitStack()
        if held.enter_context(turn(place / str(number))):
            return place / str(number), held.close
        held.close()
    raise AssertionError("unreachable")


def _learned(path: Path) -> State | None:
    """What was learned until the last stop; nothing where that cannot be read, since it is learned again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return None


def _keep(path: Path, state: State) -> None:
    """Of several workers the last one's counts: each has learned from the same kind of questions."""
    coming = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        coming.write_bytes(msgspec.json.encode(state))
        coming.replace(path)
    except OSError as error:
        _log.warning("what the cache has learned could not be kept: %s", error)


def fingerprint(settings: Settings, profile: str) -> bytes:
    """Of all that the answers of this profile depend on: an answer of other stages, settings or code is no hit."""
    said = settings.profiles.get(profile)
    names = frozenset(settings.stages if said is None else said.stages)
    below = [(name, getattr(settings, name)) for name in ORDER if name in names and name != "cache"]
    wish = None if said is None else (said.model, said.private, said.min_quality)
    return blake2b(msgspec.json.encode((__version__, below, wish)), digest_size=16).digest()


def _rules(settings: Settings, profile: str) -> Rules:
    said = settings.profiles.get(profile)
    own = None if said is None else said.cache
    return Rules(settings.cache if own is None else own, fingerprint(settings, profile))
