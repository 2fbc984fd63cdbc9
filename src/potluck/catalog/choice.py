"""What a user decided about one provider, as the catalog needs it: switches, plan, key, money.

Rules: empty means "as the catalog has it". Money is spent only where a budget was set, and none is zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import msgspec

from potluck.catalog.schema import Provider
from potluck.errors import ConfigError
from potluck.types import Secret

_KEY = re.compile(r"^[\x21-\x7e]+$")  # what may stand in an Authorization header, RFC 9110 §5.5


class Choice(Protocol):
    """What a user says of one provider in `potluck.toml`. Empty means: as the catalog has it."""

    @property
    def enabled(self) -> bool: ...
    @property
    def base_url(self) -> str: ...
    @property
    def key_env(self) -> str: ...
    @property
    def plan(self) -> str: ...
    @property
    def signup(self) -> float: ...
    @property
    def budgets(self) -> tuple[int | None, int | None]: ...
    @property
    def price(self) -> tuple[float, float] | None: ...


class AsItIs(msgspec.Struct, frozen=True):
    """The catalog's own word on everything."""

    enabled: bool = True
    base_url: str = ""
    key_env: str = ""
    plan: str = ""
    signup: float = 0.0
    budgets: tuple[int | None, int | None] = (None, None)
    price: tuple[float, float] | None = None


AS_IT_IS = AsItIs()


def funded(choice: Choice) -> bool:
    """Whether money may be spent there: a budget was set, and none of those set is zero."""
    said = [budget for budget in choice.budgets if budget is not None]
    return bool(said) and all(said)


def key_of(provider: Provider, environ: Mapping[str, str], choice: Choice = AS_IT_IS) -> Secret:
    """The key the environment holds for a provider, or an empty one. Raises ConfigError on a broken one."""
    for name in (choice.key_env,) if choice.key_env else provider.key_env:
        value = environ.get(name, "").strip()
        if value and not _KEY.match(value):
            raise ConfigError(f"{name} holds characters that no key has; copy the key again, on one line")
        if value:
            return Secret(value)
    return Secret("")
