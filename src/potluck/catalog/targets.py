"""From providers and the keys in the environment to targets: what this machine may use right now.

Rules: one key per provider, because one account per provider is what the terms allow and two keys of one
account share its quotas anyway. With `never_bill` nothing is offered that could cost money: paid models, keys
that are billed, and free amounts that go over into billing when our count is off by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from potluck.catalog.access import Access
from potluck.catalog.choice import AS_IT_IS, Choice, funded, key_of
from potluck.catalog.schema import Provider
from potluck.errors import ConfigError
from potluck.strict import meant
from potluck.types import Target


def targets(
    providers: Mapping[str, Provider],
    environ: Mapping[str, str],
    *,
    never_bill: bool = True,
    anonymous: Iterable[str] = (),
    choices: Mapping[str, Choice] = {},
) -> list[Target]:
    """Every target that may be used. `anonymous`: providers the user wants to use without a key.

    Raises ConfigError for a provider or plan that does not exist, and for a key that cannot be a key.
    """
    opted = frozenset(anonymous)
    for name in (*choices, *opted):
        if name not in providers:
            raise ConfigError(f"there is no provider '{name}'{meant(name, providers)}")
    found: list[Target] = []
    for provider in providers.values():
        choice = choices.get(provider.id, AS_IT_IS)
        if not why_not(
            provider, environ, never_bill=never_bill, anonymous=provider.id in opted, choice=choice
        ):
            access = Access(provider, environ, choice, never_bill, provider.id in opted)
            found += [access.target(m) for m in provider.model if access.offers(m)]
    return found


def why_not(
    provider: Provider,
    environ: Mapping[str, str],
    *,
    never_bill: bool = True,
    anonymous: bool = False,
    choice: Choice = AS_IT_IS,
) -> str:
    """Why this provider yields no target now, as a sentence that says what to do; "" if it may be used."""
    if provider.retired:
        return provider.tombstone
    if provider.unusable:
        return provider.unusable
    if not choice.enabled:
        return "switched off in potluck.toml"
    if provider.category == "paid" and (never_bill or not funded(choice)):
        how = "never_bill = false and " if never_bill else ""
        return f"every call is paid; to use it set {how}a budget ({_budget_line(provider)})"
    if never_bill and provider.bills_past_quota:
        return "it bills what goes past the free amount; set never_bill = false to use it all the same"
    key = key_of(provider, environ, choice)
    if key and provider.bills_with_key and not anonymous and (never_bill or not funded(choice)):
        how = "never_bill = false and " if never_bill else ""
        return (
            f"calls with a key are billed; add it to anonymous_providers, or set {how}a budget "
            f"({_budget_line(provider)})"
        )
    wanted = [name for name in provider.env if not environ.get(name, "").strip()]
    if not key and provider.auth not in ("optional", "none"):
        wanted.append(choice.key_env or provider.key_env[0])
    if wanted:
        return f"set {' and '.join(wanted)}" + (
            f" (get a key at {provider.signup})" if provider.signup else ""
        )
    if key or anonymous or provider.local:
        return ""
    names = (choice.key_env,) if choice.key_env else provider.key_env
    return f"works without a key if you add '{provider.id}' to anonymous_providers" + (
        f", or set {names[0]}" if names else ""
    )


def _budget_line(provider: Provider) -> str:
    return (
        f'[providers.{provider.id}] budget_day = "1.00" and/or budget_month = "10.00", in US dollars; with price_in '
        "and price_out if you know them"
    )


def facts_age(provider: Provider, today: date) -> int:
    """Days since the newest source of a provider was seen; -1 if it names none (a user's own server)."""
    seen = [source.seen for source in provider.sources.values()]
    return max(0, (today - max(seen)).days) if seen else -1
