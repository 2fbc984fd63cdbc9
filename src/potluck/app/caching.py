"""The cache of one gateway: its store, the rules of each profile, and what its answers depend on."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from potluck import __version__
from potluck.config import Settings
from potluck.stages import ORDER
from potluck.stages.cache import Cache, Rules
from potluck.store.answers import Answers
from potluck.store.cache import SqliteAnswers

if TYPE_CHECKING:
    from potluck.app.compose import Gateway

FILE = "cache.sqlite"


def cache(gateway: Gateway) -> Cache:
    """Raises ConfigError when the store cannot be opened."""
    settings = gateway.settings
    rules = {name: _rules(settings, name) for name in settings.profiles}
    return Cache(answers(settings), gateway.clock, _rules(settings, ""), rules)


def answers(settings: Settings) -> Answers:
    """Where answers are stored: beside the quotas of many hosts, or in a file. Raises ConfigError."""
    return SqliteAnswers(settings.home / FILE, max_bytes=settings.cache.max_bytes)


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
