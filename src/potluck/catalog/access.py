"""How one provider is reached by this user: address, key, behaviour, and the limits and prices that bind.

Rules: of several statements about one limit the smallest binds; a paid model carries a price, always.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from potluck.catalog.choice import Choice, funded, key_of
from potluck.catalog.load import address_problem
from potluck.catalog.schema import HeaderRule, Limit, Model, Provider
from potluck.catalog.windows import window_of
from potluck.errors import ConfigError
from potluck.strict import meant
from potluck.types import Behaviour, Blame, Quota, RateHeader, Secret, Target, Window
from potluck.types.facts import Kind

# What is counted per million tokens in and out where a paid model's price is unknown: dearer than any chat model
# listed so far (o1-pro, general knowledge), so that it may waste a budget and never overrun it.
DEAREST = (150.0, 600.0)
MICRO = 1_000_000  # credits are counted in millionths of a US dollar
_KINDS: Mapping[str, Kind] = {"embeddings": "embeddings", "rerank": "rerank"}
_VALUE = re.compile(r"^[A-Za-z0-9_-]{1,128}$")  # what may be put into a URL from the environment


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
        if key and provider.bills_with_key and anonymous and (never_bill or not funded(choice)):
            key = Secret("")  # the keyed door costs money, the open one does not
        self._key = key
        paid = provider.category == "paid" or bool(key and provider.bills_with_key)
        # Nobody says which of a host's models are free, so those it names itself are taken as paid.
        self._paid = paid or (discovered and provider.category not in ("local", "dedicated"))
        self._url = _address(provider, environ, choice)
        if choice.plan and choice.plan not in provider.plans:
            known = meant(choice.plan, provider.plans)
            raise ConfigError(f"{provider.id} has no plan '{choice.plan}'{known}")
        self._rerank_url = (
            self._url if choice.base_url else (provider.params.rerank_url or self._url).rstrip("/")
        )
        chat = behaviour_of(provider)
        # What a chat needs by default would be an unknown parameter of an embeddings call.
        embeddings = msgspec.structs.replace(chat, defaults={})
        rerank = msgspec.structs.replace(embeddings, dialect="rerank")
        self._behaviours: Mapping[Kind, Behaviour] = {
            "chat": chat,
            "embeddings": embeddings,
            "rerank": rerank,
        }

    def offers(self, model: Model) -> bool:
        if model.kind == "other" or model.excluded or (model.needs_key and not self._key):
            return False
        return not self.charges(model) or (not self._never_bill and funded(self._choice))

    def charges(self, model: Model) -> bool:
        """Whether a call costs money."""
        priced = model.price is not None and self.provider.category == "dedicated"
        return model.paid or priced or (self._paid and not model.free)

    def target(self, model: Model) -> Target:
        provider, kind = self.provider, _KINDS.get(model.kind, "chat")
        neurons, (price_in, price_out) = model.neurons, self._price(model)
        return Target(
            id=f"{provider.id}/{model.id}",
            provider=provider.id,
            model=model.id,
            name=model.name,
            base_url=self._rerank_url if kind == "rerank" else self._url,
            key=self._key,
            auth=(provider.auth if provider.auth.startswith("x-") else "bearer") if self._key else "none",
            quotas=self._quotas(model),
            behaviour=self._behaviours[kind],
            kind=kind,
            specialities=frozenset(model.specialities),
            inputs=frozenset(model.inputs),
            context=model.context,
            max_output=model.max_output,
            quality=model.quality or 2,
            tools=model.tools,
            json_schema=provider.params.json_schema,
            trains_on_data=provider.trains_on_data,
            local=provider.local,
            paid=self.charges(model),
            neurons_in=neurons.input if neurons else 0.0,
            neurons_out=neurons.output if neurons else 0.0,
            price_in=price_in,
            price_out=price_out,
            terms=provider.terms,
        )

    def _price(self, model: Model) -> tuple[float, float]:
        """US dollars per million tokens in and out. A paid model whose price nobody told is taken as the dearest."""
        stated = (model.price.input, model.price.output) if model.price else None
        if not self.charges(model):
            return stated or (0.0, 0.0)
        return self._choice.price or stated or DEAREST

    def _budgets(self) -> tuple[Quota, ...]:
        """The user's own limits in money, over all models of the provider that charge."""
        scope, (day, month) = f"{self.provider.id}/budget", self._choice.budgets
        said = ((Window("day"), day), (Window("month"), month))
        return tuple(
            Quota(
                scope, "credits", amount, window, "assumed", "potluck.toml", f"budget/{window.kind}", own=True
            )
            for window, amount in said
            if amount is not None
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
        limits = tuple({**found, **planned}.values())
        return (*limits, *self._budgets()) if self.charges(model) else limits

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
    asked = provider.quota_endpoint
    return Behaviour(
        dialect=provider.dialect,
        drop=frozenset(params.drop),
        rename=params.rename,
        allow=frozenset(params.allow),
        defaults=params.defaults,
        stream_usage=params.stream_usage,
        refused_keywords=frozenset(params.refused_keywords),
        flatten_content=params.flatten_content,
        chat_path=params.chat_path,
        embeddings_path=params.embeddings_path,
        models_path=params.models_path,
        headers=tuple(params.headers.items()),
        blames=tuple(Blame(r.status, r.means, r.pattern, r.unit) for r in provider.error),
        rate_headers=_rules(provider.rate_header),
        quota_path=asked.path if asked else "",
        quota_fields=_rules(asked.field) if asked else (),
        failed_requests_count=provider.failed_requests_count is not False,
    )


def _rules(rules: tuple[HeaderRule, ...]) -> tuple[RateHeader, ...]:
    return tuple(RateHeader(one.name, one.field, one.unit, one.window, one.format) for one in rules)


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
