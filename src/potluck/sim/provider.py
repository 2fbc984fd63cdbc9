"""What a pretend provider is: one row of `pretend.toml` or `pretend_more.toml`, frozen.

Rules: the tables are the pretend providers' own and are read by nothing else; an unknown key in them is an
error, so that a typing mistake cannot quietly lift a limit.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

ANY = "*"
TABLES = ("pretend.toml", "pretend_more.toml")


@dataclass(frozen=True)
class Limit:
    """One limit: `label` is ``unit/span`` ("requests/day"), `amount` in units, `window` as in counters.py."""

    label: str
    amount: float
    scope: str
    window: str

    @property
    def unit(self) -> str:
        return self.label.partition("/")[0]

    @property
    def span(self) -> str:
        return self.label.partition("/")[2]

    def binds(self, anonymous: bool) -> bool:
        """Limits per address are for callers without a key; all others for callers with one."""
        return self.scope.startswith("ip") == anonymous


@dataclass(frozen=True)
class Model:
    """One model. `neurons` and `price` are (input, output) per million tokens; price in USD."""

    id: str
    context: int = 0
    task: str = "chat"
    neurons: tuple[float, float] = (0.0, 0.0)
    price: tuple[float, float] = (0.0, 0.0)
    forbidden: str = ""
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class RateHeader:
    """One header: `what` is limit | remaining | full (time until nothing is used) | cost."""

    name: str
    what: str
    label: str
    format: str


@dataclass(frozen=True)
class Pretend:
    """The row. `manner` names the shape of its refusals; see the tables for the rest."""

    id: str
    base: str
    key_env: str
    manner: str
    models: Mapping[str, Model] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    headers: tuple[RateHeader, ...] = ()
    headers_on_refusal: bool = False
    charge: str = "max"
    stream_usage: str = "option"  # option | always | x_groq
    reasoning: str = "reasoning_content"
    comment: str = ""
    prefix: str = ""  # of model ids in the listing, accepted in requests too
    rejects: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()
    blocks_library_agents: bool = False
    plain_content: bool = False  # content must be a string
    default_max_tokens: int = 0
    refuses_oversize: bool = False  # 413 for what never fits the bucket
    counts_failures: bool = False  # refused-as-invalid requests count too
    public_models: bool = False
    anonymous: bool = False
    native_finish: bool = False
    needs_credit_unless: str = ""

    def model(self, name: str) -> Model | None:
        name = name.removeprefix(self.prefix) if self.prefix else name
        found = self.models.get(name)
        if found is None and (pattern := self.models.get(ANY)) is not None:
            return replace(pattern, id=name)
        return found

    def limits_of(self, model: Model) -> tuple[Limit, ...]:
        """The model's own limits first: the provider names the narrowest one it finds exhausted."""
        return model.limits + self.limits

    def with_limits(self, changes: Mapping[str, float], model: str = "") -> Pretend:
        """The same provider with other amounts; a label it does not have becomes an account-wide limit.

        An unknown span (not second, minute, hour, day or month) raises KeyError.
        """
        left = dict(changes)
        models = {}
        for name, entry in self.models.items():
            hit = not model or name == model
            models[name] = replace(entry, limits=_changed(entry.limits, changes, left)) if hit else entry
        limits = self.limits if model else _changed(self.limits, changes, left)
        limits += tuple(
            Limit(label, amount, "account", default_window(label)) for label, amount in left.items()
        )
        return replace(self, models=models, limits=limits)


def _changed(
    limits: tuple[Limit, ...], changes: Mapping[str, float], left: dict[str, float]
) -> tuple[Limit, ...]:
    for limit in limits:
        if limit.label in changes:
            left.pop(limit.label, None)
    return tuple(replace(limit, amount=changes.get(limit.label, limit.amount)) for limit in limits)


def default_window(label: str) -> str:
    """The window of a limit that a test adds: rolling for short spans, midnight UTC for days."""
    unit, _, span = label.partition("/")
    if not span:
        return "flight" if unit == "concurrent" else "once"
    spans = {"second": "rolling:1", "minute": "rolling:60", "hour": "rolling:3600"}
    return (spans | {"day": "day:UTC", "month": "month:UTC"})[span]


def _models(rows: list[dict[str, Any]]) -> dict[str, Model]:
    models = {}
    for row in rows:
        rest: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
        }
        rest["limits"] = tuple(Limit(*limit) for limit in row.get("limits", ()))
        for name in rest.pop("ids"):
            models[name] = Model(id=name, **rest)
    return models


def parse(name: str, row: Mapping[str, Any]) -> Pretend:
    """One row. Raises TypeError for a key that does not exist."""
    values = dict(row)
    known = {f.name for f in fields(Pretend)}
    if unknown := set(values) - known:
        raise TypeError(f"pretend provider {name}: unknown keys {sorted(unknown)}")
    values["models"] = _models(values.get("models", []))
    values["limits"] = tuple(Limit(*limit) for limit in values.get("limits", ()))
    values["headers"] = tuple(RateHeader(*header) for header in values.get("headers", ()))
    for key in ("rejects", "allows"):
        values[key] = tuple(values.get(key, ()))
    return Pretend(id=name, **values)


@cache
def table() -> Mapping[str, Pretend]:
    """Every pretend provider, by id."""
    rows: dict[str, Pretend] = {}
    for name in TABLES:
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
        rows |= {key: parse(key, row) for key, row in tomllib.loads(text).items()}
    return rows
