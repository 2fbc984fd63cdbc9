"""What would help: which one extra free key, and how much money for what is refused.

Rules: a key that is not there yet is pretended by filling its variables with a made-up word; the catalog then says
itself what it opens. Every figure comes from a replay of the same workload, or from list prices. Pure but for the
replays' own computing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from potluck import catalog
from potluck.app.simulate import Report
from potluck.catalog import Provider
from potluck.config import Settings
from potluck.errors import Invalid
from potluck.strict import meant
from potluck.types import Target

PRETENDED = "simulated"  # no provider's key looks like this
WORTH_A_KEY = 0.05  # mean tiers: less than this is not worth an account
DECENT = 3  # tier that paid overflow should have

Replay = Callable[[Sequence[Target]], Report]


class Gain(msgspec.Struct, frozen=True):
    """What one more key would do: requests more, mean tier after."""

    provider: str
    signup: str
    served: int
    quality: float


class Money(msgspec.Struct, frozen=True):
    """What the refused would cost in USD. `target` "": no model with a list price is known, `prices` are assumed."""

    target: str
    requests: int
    dollars: float
    prices: tuple[float, float]  # USD per million tokens, in and out


def with_keys(
    providers: Mapping[str, Provider], environ: Mapping[str, str], keys: Sequence[str]
) -> dict[str, str]:
    """The environment with pretended keys. Raises Invalid for a provider that does not exist or that is gone."""
    pretended: dict[str, str] = {}
    for id in keys:
        provider = providers.get(id)
        if provider is None:
            raise Invalid(
                f"The catalog has no provider {id!r}{meant(id, providers)}. `potluck providers` lists them."
            )
        if provider.retired or provider.unusable:
            raise Invalid(f"A key for {id} would open nothing: {provider.tombstone or provider.unusable}")
        pretended |= dict.fromkeys((*provider.env, *provider.key_env[:1]), PRETENDED)
    return {**pretended, **environ}


def opened(
    providers: Mapping[str, Provider], settings: Settings, environ: Mapping[str, str]
) -> tuple[Target, ...]:
    """The targets an environment opens, without this machine's own models."""
    found = catalog.targets(
        providers,
        environ,
        never_bill=settings.never_bill,
        anonymous=settings.anonymous_providers,
        choices=settings.providers,
    )
    return tuple(target for target in found if not target.local)


def one_key_away(
    providers: Mapping[str, Provider], settings: Settings, environ: Mapping[str, str]
) -> list[str]:
    """Free for ever and not open yet: what `potluck providers` lists under that name."""
    there = {target.provider for target in opened(providers, settings, environ)}
    found = []
    for id, provider in sorted(providers.items()):
        if id in there or provider.category != "recurring_free" or provider.retired or provider.unusable:
            continue
        if any(
            target.provider == id
            for target in opened(
                {id: provider}, _only(settings, id), with_keys({id: provider}, environ, [id])
            )
        ):
            found.append(id)
    return found


def _only(settings: Settings, id: str) -> Settings:
    """The settings as far as they are about one provider: the others are unknown to a catalog of one."""
    return msgspec.structs.replace(
        settings,
        providers={name: choice for name, choice in settings.providers.items() if name == id},
        anonymous_providers=tuple(name for name in settings.anonymous_providers if name == id),
    )


def gains(
    base: Report,
    providers: Mapping[str, Provider],
    settings: Settings,
    environ: Mapping[str, str],
    replay: Replay,
) -> Iterator[Gain | None]:
    """One item for each candidate, as soon as it is known; None where it would not help."""
    for id in one_key_away(providers, settings, environ):
        seen = replay(opened(providers, settings, with_keys(providers, environ, [id])))
        more = seen.served - base.served
        better = seen.quality - base.quality > WORTH_A_KEY
        helps = more > 0 or (better and more == 0)
        yield Gain(id, providers[id].signup, more, seen.quality) if helps else None


def best(gains: Sequence[Gain | None]) -> list[Gain]:
    """Most requests first, then quality."""
    return sorted((g for g in gains if g is not None), key=lambda g: (-g.served, -g.quality, g.provider))


def money(report: Report, providers: Mapping[str, Provider], assumed: tuple[float, float]) -> Money | None:
    """What paid overflow would cost: at the cheapest model with a list price that would do, else as `assumed`."""
    if not report.missed:
        return None
    tier = max(DECENT, *(quality for _, _, quality in report.missed))
    tokens_in = sum(tokens for tokens, _, _ in report.missed)
    tokens_out = sum(tokens for _, tokens, _ in report.missed)

    def dollars(prices: tuple[float, float]) -> float:
        return (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6

    offers = [
        ((model.price.input, model.price.output), f"{provider.id}/{model.id}")
        for provider in providers.values()
        for model in provider.model
        if model.price and not (provider.retired or provider.unusable or model.excluded)
        if model.kind == "chat"
        and (model.quality or 2) >= tier
        and model.price.input + model.price.output > 0
    ]
    prices, target = min(offers, key=lambda offer: dollars(offer[0]), default=(assumed, ""))
    return Money(target, len(report.missed), dollars(prices), prices)
