"""What a file in `providers/` may say: one Struct per table, every number with its basis, source and date.

Rules: facts stay as their source states them (an unknown reset stays "unknown"); how a fact is read safely
is decided in `windows`. Unknown keys and values are refused. Amounts of money are in US dollars here and
become micro-USD in `types.Quota`.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import msgspec

from potluck.types import Unit

Category = Literal[
    "recurring_free", "recurring_credit", "trial_credit", "paid", "dedicated", "local", "retired"
]
Status = Literal["active", "uncertain", "restricted", "no_free_tier", "retired"]
Basis = Literal["published", "measured", "third_party", "inferred", "assumed"]
SizeBasis = Literal["", "assumed", "published", "measured", "third_party", "inferred", "approx"]
Scope = Literal["key", "account", "project", "org", "team", "ip"]
Span = Literal["second", "minute", "hour", "day", "month", "once", "concurrent", "seconds"]
Reset = Literal[
    "unknown",  # nobody published it
    "daily_unspecified",  # "a day", without saying whose midnight
    "rolling",
    "fixed_window",
    "continuous_refill",
    "interval",
    "pacific_midnight",
    "utc_midnight",
    "monthly",
    "monthly_from_signup",
    "one_time",
]
Speciality = Literal["general", "code", "math", "vision", "multilingual", "reasoning", "embedding"]
Input = Literal["text", "image", "audio", "video", "pdf"]
Means = Literal[
    "minute",
    "hour",
    "day",
    "month",
    "once",
    "never",
    "too_large",
    "busy",
    "no_money",
    "bad_key",
    "forbidden",
    "gone",
    "context",
    "content",
    "bad_request",
    "unavailable",
]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict: an unknown key is a mistake, never a wish."""


class Source(_Table, frozen=True, kw_only=True):
    """Who said it, and on which day it was last seen there. A vague date is written as its oldest reading."""

    where: str
    seen: date


class Limit(_Table, frozen=True, kw_only=True):
    """One published limit. `amount` is absent, and `unknown` true, where the number was never published.

    `models`: only these ids (else every model). `kind`: only this kind of call, counted apart from others.
    `plan`: binds only when the user says they are on that plan, in place of the default of the same shape.
    `when`: binds only with a key, or only without one. `binds` false: kept for people, never counted.
    `currency` other than USD: shown, not counted, as nobody publishes what one call costs in it.
    """

    unit: Unit
    window: Span
    scope: Scope
    basis: Basis
    source: str
    amount: float | None = None
    unknown: bool = False
    seconds: int = 0
    reset: Reset = "unknown"
    per_model: bool = False
    models: tuple[str, ...] = ()
    kind: Literal["", "chat", "embeddings", "rerank"] = ""
    condition: str = ""
    plan: str = ""
    when: Literal["", "key", "anonymous"] = ""
    binds: bool = True
    currency: str = "USD"
    note: str = ""


class Pair(_Table, frozen=True, kw_only=True):
    """Neurons, or US dollars, per million tokens."""

    source: str
    basis: Basis = "published"
    input: float = 0.0
    output: float = 0.0


class Model(_Table, frozen=True, kw_only=True):
    """One model. `name` is canonical: the same weights have the same name at every provider.

    `quality` is ours, 1..5, by total parameters: up to 4B 1, 15B 2, 40B 3, 130B 4, above 5; where the vendor
    keeps the size secret, by its own ladder: flagship 5, mid 4, small 3, smallest 2; 3 if unknown.
    `free`: costs nothing although its provider charges. `excluded` says why it is never a target. Kind "other"
    (speech, safety filters, routers) is not served.
    """

    id: str
    source: str
    name: str = ""
    kind: Literal["chat", "embeddings", "rerank", "other"] = "chat"
    specialities: tuple[Speciality, ...] = ()
    inputs: tuple[Input, ...] = ("text",)
    context: int = 0
    max_output: int = 0
    size_basis: SizeBasis = ""
    size_source: str = ""
    quality: int = 0
    tools: bool = True
    paid: bool = False
    free: bool = False
    needs_key: bool = False
    excluded: str = ""
    neurons: Pair | None = None
    price: Pair | None = None
    note: str = ""


class Params(_Table, frozen=True, kw_only=True):
    """How requests must differ from the dialect's shape. `own` names parameters only this provider has.

    `json_schema` false: `response_format` knows only json_object, so requests for a schema go elsewhere.
    `refused_keywords`: of JSON Schema, left out of tools. `rerank_url`: what stands before /rerank, where that is not
    below the base URL; it gives way to a base URL of the user's own.
    """

    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    allow: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    defaults: dict[str, Any] = {}
    stream_usage: Literal["option", "always", "none"] = "option"
    flatten_content: bool = False
    json_schema: bool = True
    refused_keywords: tuple[str, ...] = ()
    chat_path: str = "/chat/completions"
    embeddings_path: str = "/embeddings"
    models_path: str = "/models"
    rerank_url: str = ""
    headers: dict[str, str] = {}


class ErrorRule(_Table, frozen=True, kw_only=True):
    """What a refusal of this shape means; the first rule that matches decides. `status` 0 is any."""

    means: Means
    status: int = 0
    pattern: str = ""
    unit: Literal[Unit, ""] = ""


class HeaderRule(_Table, frozen=True, kw_only=True):
    """What a rate-limit header counts."""

    name: str
    field: Literal["limit", "remaining", "reset", "retry_after", "cost"]
    unit: Unit = "requests"
    window: Literal["second", "minute", "hour", "day", "month"] = "minute"
    format: Literal["seconds", "duration", "epoch", "epoch_ms", "http_date"] = "seconds"


class QuotaEndpoint(_Table, frozen=True, kw_only=True):
    """Where a key's quota can be asked for: below the base URL; in `field`, `name` is a dotted path in the JSON."""

    path: str
    field: tuple[HeaderRule, ...]


class Provider(_Table, frozen=True, kw_only=True):
    """One provider: everything the catalog knows of it.

    `category` "dedicated" is the user's own host: paid by the hour, so a call costs nothing more.
    `card`, `phone`, `trains_on_data` are absent where nobody knows. `unusable` says why it can never serve us
    (tombstones use `tombstone`). `bills_past_quota`, `bills_with_key`: money would flow: `never_bill` refuses
    `discover`: its models are asked for at run time instead of listed; `free_ids` are endings of ids that it
    calls free. `extends`: a user's file that changes the shipped one instead of replacing it.
    """

    id: str
    name: str = ""
    category: Category = "recurring_free"
    status: Status = "active"
    status_note: str = ""
    base_url: str = ""
    dialect: str = "openai"
    auth: Literal["bearer", "optional", "none", "x-api-key", "x-goog-api-key"] = (
        "bearer"  # or the header of the key
    )
    key_env: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    signup: str = ""
    card: bool | None = None
    phone: bool | None = None
    trains_on_data: bool | None = None
    trains_note: str = ""
    terms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tombstone: str = ""
    unusable: str = ""
    discover: bool = False
    free_ids: tuple[str, ...] = ()
    bills_past_quota: bool = False
    bills_with_key: bool = False
    failed_requests_count: bool | None = None
    extends: bool = False
    sources: dict[str, Source] = {}
    params: Params = Params()
    error: tuple[ErrorRule, ...] = ()
    rate_header: tuple[HeaderRule, ...] = ()
    quota_endpoint: QuotaEndpoint | None = None
    quota: tuple[Limit, ...] = ()
    model: tuple[Model, ...] = ()

    @property
    def local(self) -> bool:
        return self.category == "local"

    @property
    def retired(self) -> bool:
        return bool(self.tombstone)

    @property
    def plans(self) -> frozenset[str]:
        """The plans a user may say they are on."""
        return frozenset(limit.plan for limit in self.quota if limit.plan)


# What OpenAI-shaped requests may hold, over the API reference of Chat Completions and Embeddings and the
# sampling parameters that open servers add; a name outside this list is a typing mistake in a TOML file.
PARAMETERS = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "n",
        "user",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "repeat_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "response_format",
        "reasoning_effort",
        "verbosity",
        "modalities",
        "audio",
        "prediction",
        "store",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "web_search_options",
        "input",
        "encoding_format",
        "dimensions",
    }
)
