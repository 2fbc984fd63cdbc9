"""Where each provider of the catalog stands for this user, and what it allows, in words. Pure.

Rules: a standing is found by asking the catalog "why not?" with the keys there are, and once more as if every key
were there; no rule of the catalog is repeated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from potluck import catalog
from potluck.catalog import Limit, Provider
from potluck.cli.show import amount
from potluck.config import Provider as Choice
from potluck.config import Settings
from potluck.types import Target

State = Literal["open", "kept_out", "one_key_away", "trial", "paid", "closed", "local", "retired"]

_UNITS = {
    "requests": "req",
    "tokens": "tokens",
    "input_tokens": "tokens in",
    "output_tokens": "tokens out",
    "neurons": "neurons",
    "inputs": "inputs",
    "concurrent": "at once",
}
_SPANS = {"second": "s", "minute": "min", "hour": "h", "day": "day", "month": "month"}
_ORDER = ("month", "day", "hour", "minute", "seconds", "second", "once", "concurrent")
_UNIT_ORDER = (
    "credits",
    "neurons",
    "requests",
    "inputs",
    "tokens",
    "input_tokens",
    "output_tokens",
    "concurrent",
)


class Standing(msgspec.Struct, frozen=True):
    """One provider for one user. `why` says what to do, "" for an open one. `models` counts usable targets."""

    provider: Provider
    state: State
    why: str
    models: int


def standings(
    providers: Mapping[str, Provider],
    targets: Iterable[Target],
    settings: Settings,
    environ: Mapping[str, str],
) -> list[Standing]:
    """Every provider of the catalog, sorted by name."""
    counts: dict[str, int] = {}
    for target in targets:
        counts[target.provider] = counts.get(target.provider, 0) + 1
    found = [_standing(one, counts.get(one.id, 0), settings, environ) for one in providers.values()]
    return sorted(found, key=lambda one: one.provider.id)


def _standing(provider: Provider, models: int, settings: Settings, environ: Mapping[str, str]) -> Standing:
    why = _why_not(provider, settings, environ)
    if provider.retired:
        return Standing(provider, "retired", why, 0)
    if provider.local:
        return Standing(provider, "local", why, models)
    if models:
        return Standing(provider, "open", "", models)
    kept_out = _kept_out(provider, settings, environ)
    if kept_out:
        return Standing(provider, "kept_out", why or kept_out, 0)
    with_keys = {**environ, **dict.fromkeys((*provider.env, *provider.key_env), "a-key")}
    if provider.category in ("paid", "dedicated"):
        return Standing(provider, "paid", why or "only paid models; never_bill keeps them away", 0)
    if not why:
        return Standing(provider, "closed", "nothing of what it has may be used with these settings", 0)
    if _why_not(provider, settings, with_keys):
        return Standing(provider, "closed", why, 0)
    return Standing(provider, "trial" if provider.category == "trial_credit" else "one_key_away", why, 0)


def _kept_out(provider: Provider, settings: Settings, environ: Mapping[str, str]) -> str:
    """Why a provider whose key is set serves nothing: money, or a list that has not come yet; "" if neither."""
    choice = settings.providers.get(provider.id, catalog.AS_IT_IS)
    if provider.unusable or not choice.enabled or not catalog.key_of(provider, environ, choice):
        return ""
    if any(not environ.get(name, "").strip() for name in provider.env):
        return ""
    if provider.discover and not _why_not(provider, settings, environ):
        return "its models are listed once `potluck serve` runs; those that cost need a budget (potluck.toml)"
    said = settings.providers.get(provider.id, Choice())
    money = msgspec.structs.replace(said, budget_day="1", budget_month=None)  # as if there were any
    rich = msgspec.structs.replace(settings, never_bill=False, providers={provider.id: money})
    opened = not _why_not(provider, rich, environ) and _why_not(provider, settings, environ)
    return "only never_bill, or a budget that is missing, keeps it out" if opened else ""


def _why_not(provider: Provider, settings: Settings, environ: Mapping[str, str]) -> str:
    choice = settings.providers.get(provider.id)
    return catalog.why_not(
        provider,
        environ,
        never_bill=settings.never_bill,
        anonymous=provider.id in settings.anonymous_providers,
        **({"choice": choice} if choice else {}),
    )


def allowance(provider: Provider, most: int = 3) -> str:
    """What it allows, as short as can be: "1k req/day, 200k tokens/day, 30 req/min". Ranges span its models."""
    groups: dict[tuple[str, str], list[Limit]] = {}
    for limit in provider.quota:
        if limit.amount is not None and limit.binds and not limit.plan and limit.kind in ("", "chat"):
            groups.setdefault((limit.window, limit.unit), []).append(limit)
    ranked = sorted(groups, key=lambda at: (_UNIT_ORDER.index(at[1]), _ORDER.index(at[0])))
    said = [_range(groups[at]) for at in _spread(ranked, most)]
    if said:
        return ", ".join(said)
    return "numbers not published" if provider.quota else "no limit known"


def one(limit: Limit) -> str:
    """One limit in words."""
    return "not published: " + _per(limit, "?") if limit.amount is None else _range([limit])


def _spread(ranked: list[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """The long windows of every unit before the short ones: what a day allows matters more than a minute."""
    long = [at for at in ranked if at[0] in ("month", "day", "once")]
    return [*long, *(at for at in ranked if at not in long)][:most]


def _range(limits: list[Limit]) -> str:
    amounts = sorted({limit.amount for limit in limits if limit.amount is not None})
    low, high = (_number(limits[0], value) for value in (amounts[0], amounts[-1]))
    return _per(limits[0], low if low == high else f"{low}-{high}")


def _number(limit: Limit, value: float) -> str:
    if limit.unit != "credits":
        return amount(value)
    return f"${value:g}" if limit.currency == "USD" else f"{value:g} {limit.currency}"


def _per(limit: Limit, number: str) -> str:
    unit = "" if limit.unit == "credits" else f" {_UNITS[limit.unit]}"
    if limit.window == "once":
        return f"{number}{unit} once"
    if limit.window == "concurrent":
        return f"{number} at once"
    return f"{number}{unit}/{f'{limit.seconds} s' if limit.window == 'seconds' else _SPANS[limit.window]}"


def data(provider: Provider) -> str:
    """What it does with what one sends, in a word of markup."""
    if provider.local:
        return "[green]stays here[/]"
    said = {
        True: "[yellow]trains on it[/]",
        False: "[green]not trained on[/]",
        None: "[dim]data use unknown[/]",
    }
    return said[provider.trains_on_data]


def needs(provider: Provider) -> str:
    """What signing up takes beside an address."""
    wanted = [word for word, flag in (("card", provider.card), ("phone", provider.phone)) if flag]
    unknown = [word for word, flag in (("card", provider.card), ("phone", provider.phone)) if flag is None]
    return ", ".join([*wanted, *(f"{word}?" for word in unknown)]) or "nothing"


def plain(standing: Standing) -> dict[str, Any]:
    """One provider for programs, in short; `potluck providers NAME --json` has every number."""
    provider = standing.provider
    return {
        "id": provider.id,
        "name": provider.name,
        "state": standing.state,
        "why": standing.why,
        "category": provider.category,
        "status": provider.status,
        "models": standing.models,
        "allows": allowance(provider, most=99) if not provider.retired else "",
        "signup": provider.signup,
        "key_env": list(provider.key_env),
        "env": list(provider.env),
        "card": provider.card,
        "phone": provider.phone,
        "trains_on_data": provider.trains_on_data,
        "tombstone": provider.tombstone,
    }
