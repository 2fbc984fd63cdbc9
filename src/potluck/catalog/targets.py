"""From providers and the keys in the environment to targets: what this machine may use right now.

Rules: one key per provider, because one account per provider is what the terms allow and two keys of one
account share its quotas anyway. With `never_bill` nothing is offered that could cost money: paid models, keys
that are billed, and free amounts that go over into billing when our count is off by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Protocol

import msgspec

from potluck.catalog.load import address_problem
from potluck.catalog.schema import Limit, Model, Provider
from potluck.catalog.windows import window_of
from potluck.errors import ConfigError
from potluck.strict import meant
from potluck.types import Behaviour, Blame, Quota, RateHeader, Secret, Target

MICRO = 1_000_000  # credits are counted in millionths of a US dollar
_VALUE = re.compile(r"^[A-Za-z0-9_-]{1,128}$")  # what may be put into a URL from the environment
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


class AsItIs(msgspec.Struct, frozen=True):
    """The catalog's own word on everything."""

    enabled: bool = True
    base_url: str = ""
    key_env: str = ""
    plan: str = ""
    signup: float = 0.0


AS_IT_IS = AsItIs()


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
    if never_bill and provider.category == "paid":
        return "every call is paid; set never_bill = false to use it all the same"
    if never_bill and provider.bills_past_quota:
        return "it bills what goes past the free amount; set never_bill = false to use it all the same"
    key = key_of(provider, environ, choice)
    if key and provider.bills_with_key and never_bill and not anonymous:
        return "calls with a key are billed; add it to anonymous_providers, or set never_bill = false"
    wanted = [name for name in provider.env if not environ.get(name, "").strip()]
    if not key and provider.auth == "bearer":
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


def key_of(provider: Provider, environ: Mapping[str, str], choice: Choice = AS_IT_IS) -> Secret:
    """The key the environment holds for a provider, or an empty one. Raises ConfigError on a broken one."""
    for name in (choice.key_env,) if choice.key_env else provider.key_env:
        value = environ.get(name, "").strip()
        if value and not _KEY.match(value):
            raise ConfigError(f"{name} holds characters that no key has; copy the key again, on one line")
        if value:
            return Secret(value)
    return Secret("")


def facts_age(provider: Provider, today: date) -> int:
    """Days since the newest source of a provider was seen; -1 if it names none (a user's own server)."""
    seen = [source.seen for source in provider.sources.values()]
    return max(0, (today - max(seen)).days) if seen else -1


class Access:
    """How one provider is reached by this user: address, key, the limits that bind."""

    def __init__(
        self,
        provider: Provider,
        environ: Mapping[str, str],
        choice: Choice,
        never_bill: bool,
        anonymous: bool,
        discovered: bool = False,
    ) -> None:
        self.provider, self._never_bill, self._choice = provider, never_bill, choice
        key = key_of(provider, environ, choice)
        if key and provider.bills_with_key and never_bill and anonymous:
            key = Secret("")  # the keyed door costs money, the open one does not
        self._key = key
        paid = provider.category == "paid" or bool(key and provider.bills_with_key)
        # Nobody says which of a host's models are free, so those it names itself are taken as paid.
        self._paid = paid or (discovered and provider.category not in ("local", "dedicated"))
        self._url = _address(provider, environ, choice)
        if choice.plan and choice.plan not in provider.plans:
            known = meant(choice.plan, provider.plans)
            raise ConfigError(f"{provider.id} has no plan '{choice.plan}'{known}")
        self._chat = behaviour_of(provider)
        # What a chat needs by default would be an unknown parameter of an embeddings call.
        self._embeddings = msgspec.structs.replace(self._chat, defaults={})

    def offers(self, model: Model) -> bool:
        if model.kind == "other" or model.excluded or (model.needs_key and not self._key):
            return False
        return not (self._never_bill and self.charges(model))

    def charges(self, model: Model) -> bool:
        """Whether a call costs money."""
        return model.paid or (self._paid and not model.free)

    def target(self, model: Model) -> Target:
        provider, kind = self.provider, "embeddings" if model.kind == "embeddings" else "chat"
        neurons, price = model.neurons, model.price
        return Target(
            id=f"{provider.id}/{model.id}",
            provider=provider.id,
            model=model.id,
            name=model.name,
            base_url=self._url,
            key=self._key,
            auth="bearer" if self._key else "none",
            quotas=self._quotas(model),
            behaviour=self._embeddings if kind == "embeddings" else self._chat,
            kind="embeddings" if kind == "embeddings" else "chat",
            specialities=frozenset(model.specialities),
            inputs=frozenset(model.inputs),
            context=model.context,
            max_output=model.max_output,
            quality=model.quality or 2,
            tools=model.tools,
            trains_on_data=provider.trains_on_data,
            local=provider.local,
            paid=self.charges(model),
            neurons_in=neurons.input if neurons else 0.0,
            neurons_out=neurons.output if neurons else 0.0,
            price_in=price.input if price else 0.0,
            price_out=price.output if price else 0.0,
            terms=provider.terms,
        )

    def _quotas(self, model: Model) -> tuple[Quota, ...]:
        """The limits that bind `model`. Of several statements about one counter the smallest binds,
        except that the plan the user is on replaces the default."""
        found: dict[str, Quota] = {}
        planned: dict[str, Quota] = {}
        for limit in self.provider.quota:
            if not self._binds(limit, model):
                continue
            quota = quota_of(self.provider.id, limit, model.id, self._choice.signup)
            into = planned if limit.plan else found
            if quota.id not in into or quota.amount < into[quota.id].amount:
                into[quota.id] = quota
        return tuple({**found, **planned}.values())

    def _binds(self, limit: Limit, model: Model) -> bool:
        if limit.plan:
            if limit.plan != self._choice.plan:
                return False
        elif not limit.binds:
            return False
        if limit.amount is None or limit.currency != "USD":
            return False
        if limit.when and (limit.when == "key") != bool(self._key):
            return False
        return (not limit.models or model.id in limit.models) and limit.kind in ("", model.kind)


def quota_of(provider: str, limit: Limit, model: str, signup: float = 0.0) -> Quota:
    """One limit as the ledger counts it. Scopes read provider/scope[/kind][/model]."""
    scope = "/".join(filter(None, (provider, limit.scope, limit.kind, model if limit.per_model else "")))
    amount = (limit.amount or 0) * (MICRO if limit.unit == "credits" else 1)
    span = f"{limit.seconds} s" if limit.seconds else limit.window
    return Quota(
        scope=scope,
        unit=limit.unit,
        amount=round(amount),
        window=window_of(limit, signup),
        basis=limit.basis,
        source=limit.source,
        label=limit.unit if limit.window == "concurrent" else f"{limit.unit}/{span}",
    )


def behaviour_of(provider: Provider) -> Behaviour:
    """How this provider's API differs from its dialect's shape."""
    params = provider.params
    return Behaviour(
        dialect=provider.dialect,
        drop=frozenset(params.drop),
        rename=params.rename,
        allow=frozenset(params.allow),
        defaults=params.defaults,
        stream_usage=params.stream_usage,
        flatten_content=params.flatten_content,
        chat_path=params.chat_path,
        embeddings_path=params.embeddings_path,
        models_path=params.models_path,
        headers=tuple(params.headers.items()),
        blames=tuple(Blame(r.status, r.means, r.pattern, r.unit) for r in provider.error),
        rate_headers=tuple(
            RateHeader(h.name, h.field, h.unit, h.window, h.format) for h in provider.rate_header
        ),
        failed_requests_count=provider.failed_requests_count is not False,
    )


def _address(provider: Provider, environ: Mapping[str, str], choice: Choice) -> str:
    """Raises ConfigError for an address that the key may not travel to."""
    url = (choice.base_url or provider.base_url).rstrip("/")
    if problem := address_problem(url):
        raise ConfigError(f"{provider.id}: {problem}")
    for name in provider.env:
        value = environ.get(name, "").strip()
        if not _VALUE.match(value):
            raise ConfigError(f"{name} is not an account id: letters, digits, '_' and '-' only")
        url = url.replace(f"{{{name}}}", value)
    return url
