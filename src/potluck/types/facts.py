"""What is known before any request comes: targets, their quotas, and how each provider differs.

Rules: every value is frozen; amounts of money are micro-USD; times are epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Kind = Literal["chat", "embeddings", "rerank"]
Unit = Literal[
    "requests", "input_tokens", "output_tokens", "tokens", "neurons", "credits", "concurrent", "inputs"
]
WindowKind = Literal[
    "rolling",  # any `seconds` in a row hold at most `amount` (also the safe reading of "unknown")
    "fixed",  # starts over every `seconds`, aligned to midnight in `zone`
    "day",  # starts over at midnight in `zone`, daylight saving included
    "month",  # starts over on the 1st, midnight in `zone`
    "signup_month",  # starts over each month on the day of `anchor`
    "refill",  # a bucket of `amount` that refills continuously in `seconds`
    "interval",  # at most `amount` per `seconds` since the last one
    "once",  # never comes back
    "concurrent",  # counts what is in flight
]


class Secret(str):
    """A provider key: prints as stars, so that it cannot reach a log, an error or a record by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def reveal(self) -> str:
        """The real text; called where the header is written and nowhere else."""
        return str.__str__(self)


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call. `estimated` says that no provider reported them."""

    input: int = 0
    output: int = 0
    cached: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        return self.input + self.output


class Window(msgspec.Struct, frozen=True):
    """When a quota comes back. `seconds` is 0 where the kind says it all."""

    kind: WindowKind
    seconds: float = 0.0
    zone: str = "UTC"
    anchor: float = 0.0  # epoch seconds of the sign-up, for `signup_month`; expiry for `once` (0 = none)


class Quota(msgspec.Struct, frozen=True):
    """One limit of one scope. Several bind one target at once.

    `scope` is resolved text (``"groq/k1/openai/gpt-oss-120b"``): two targets with the same scope, unit
    and window share one counter. `amount` is in `unit`s (credits in micro-USD).
    """

    scope: str
    unit: Unit
    amount: int
    window: Window
    basis: str = ""  # published | measured | third_party | inferred | assumed
    source: str = ""
    label: str = ""  # what a person calls it: "requests/day"
    own: bool = False  # a limit of the user's, such as a budget: no provider's word changes it

    @property
    def id(self) -> str:
        w = self.window
        return f"{self.scope}|{self.unit}|{w.kind}:{w.seconds:g}"


class Blame(msgspec.Struct, frozen=True):
    """One rule of `providers/*.toml`: what a refusal of this shape means.

    `status` 0 matches any. `pattern` (regular expression, "" = any) is searched in the body text.
    `means`: minute | hour | day | month | once | never | too_large | busy | no_money | bad_key | forbidden |
    gone | context | content | bad_request | unavailable. `unit` names the quota that is gone, where known.
    """

    status: int
    means: str
    pattern: str = ""
    unit: str = ""


class RateHeader(msgspec.Struct, frozen=True):
    """One rate-limit header: what it counts. `field`: limit | remaining | reset | retry_after | cost.

    `format` of a reset: seconds | duration ("1m26.4s") | epoch | epoch_ms | http_date.
    """

    name: str  # lower case
    field: str
    unit: str = "requests"
    window: str = "minute"  # second | minute | hour | day | month
    format: str = "seconds"


class Behaviour(msgspec.Struct, frozen=True):
    """How a provider's API differs from the shape of its dialect: facts of the catalog, shared by its targets."""

    dialect: str = "openai"
    drop: frozenset[str] = frozenset()  # parameters it refuses or would misread
    rename: Mapping[str, str] = {}
    allow: frozenset[str] = frozenset()  # not empty: everything else is dropped (strict schemas)
    defaults: Mapping[str, Any] = {}  # sent when the client said nothing
    stream_usage: str = "option"  # option | always | groq-style is "always": it needs no asking; none
    flatten_content: bool = False  # content arrays and null become strings
    refused_keywords: frozenset[str] = frozenset()  # of JSON Schema, in tools: left out
    chat_path: str = "/chat/completions"
    embeddings_path: str = "/embeddings"
    models_path: str = "/models"
    headers: tuple[tuple[str, str], ...] = ()
    blames: tuple[Blame, ...] = ()
    rate_headers: tuple[RateHeader, ...] = ()
    quota_path: str = ""  # where a key's quota can be asked for, below the base URL
    quota_fields: tuple[RateHeader, ...] = ()  # what is read there: `name` is a dotted path in the JSON
    failed_requests_count: bool = True  # unknown is counted: the safe side


class Target(msgspec.Struct, frozen=True):
    """One place to send to: provider x model x key, with the quotas it falls under."""

    id: str  # "groq/openai/gpt-oss-120b", with "#2" appended for a second key
    provider: str
    model: str  # the provider's own name for it
    name: str  # canonical: the same weights have the same name everywhere
    base_url: str
    key: Secret = Secret("")
    auth: str = "bearer"  # bearer | none | x-api-key style header name
    quotas: tuple[Quota, ...] = ()
    behaviour: Behaviour = Behaviour()
    kind: Kind = "chat"
    specialities: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset({"text"})
    context: int = 0  # tokens; 0 = unknown
    max_output: int = 0  # tokens; 0 = unknown
    quality: int = 2  # tier 1 (tiny) .. 5 (frontier)
    tools: bool = True
    json_schema: bool = True  # takes response_format of that type; False: only json_object
    trains_on_data: bool | None = None
    local: bool = False
    paid: bool = False
    neurons_in: float = 0.0  # neurons per million input tokens
    neurons_out: float = 0.0
    price_in: float = 0.0  # USD per million input tokens
    price_out: float = 0.0
    terms: tuple[str, ...] = ()
