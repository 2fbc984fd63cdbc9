"""The nouns: a request becomes a plan, a plan is worked off in attempts, one attempt becomes the reply.

Rules: nothing here imports anything of ours, does I/O, or reads a clock. Values are frozen; `Attempt`
and `Trace` alone are filled in while a request is worked off, and only dispatch and stages write them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

Kind = Literal["chat", "embeddings"]
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

    @property
    def id(self) -> str:
        w = self.window
        return f"{self.scope}|{self.unit}|{w.kind}:{w.seconds:g}"


class Blame(msgspec.Struct, frozen=True):
    """One rule of `providers/*.toml`: what a refusal of this shape means.

    `status` 0 matches any. `pattern` (regular expression, "" = any) is searched in the body text.
    `means`: minute | day | month | never | too_large | busy | no_money | bad_key | forbidden | gone |
    context | content | bad_request | unavailable. `unit` names the quota that is gone, where known.
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
    chat_path: str = "/chat/completions"
    embeddings_path: str = "/embeddings"
    models_path: str = "/models"
    headers: tuple[tuple[str, str], ...] = ()
    blames: tuple[Blame, ...] = ()
    rate_headers: tuple[RateHeader, ...] = ()
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
    trains_on_data: bool | None = None
    local: bool = False
    paid: bool = False
    neurons_in: float = 0.0  # neurons per million input tokens
    neurons_out: float = 0.0
    price_in: float = 0.0  # USD per million input tokens
    price_out: float = 0.0
    terms: tuple[str, ...] = ()


class Attempt(msgspec.Struct):
    """One try at one target. It is the log row, the response header, the dashboard row, the test's assertion.

    `outcome`: pending | ok | full | rate_limited | too_large | busy | no_money | denied | gone | unavailable
    | timeout | malformed | context | refused | interrupted | cancelled | rejected.
    Times are seconds on the monotonic clock; 0 = did not happen.
    """

    target: str
    outcome: str = "pending"
    detail: str = ""
    status: int = 0
    started: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    usage: Usage | None = None
    cost: int = 0  # micro-USD at list price; 0 for what is free


class Trace(msgspec.Struct):
    """What happened to one client request, across every call its stages made."""

    id: str = ""
    attempts: list[Attempt] = []
    notes: dict[str, str] = {}
    left: str = ""  # what is left of the served target's tightest quota, for the response header


class Request(msgspec.Struct, frozen=True):
    """What the client wants. `body` holds every top-level field verbatim and undecoded (msgspec.Raw).

    Parameters we do not know pass through untouched. `deadline` is on the monotonic clock, 0 = none.
    """

    model: str
    body: Mapping[str, msgspec.Raw]
    kind: Kind = "chat"
    stream: bool = False
    tenant: str = ""
    tokens_in: int = 0  # estimate of the prompt, in tokens
    tokens_out: int = 0  # what the answer may take: max_tokens, or a guess
    needs: frozenset[str] = frozenset()  # tools | image | json_schema | ...
    deadline: float = 0.0
    budget: int = 8  # upstream calls this request may cause, in all
    trace: Trace = msgspec.field(default_factory=Trace)

    def decoded(self, field: str, default: Any = None) -> Any:
        """One top-level field as Python values; decoded each time, so ask once."""
        raw = self.body.get(field)
        return default if raw is None else msgspec.json.decode(raw)

    def replace(self, **changes: Any) -> Request:
        return msgspec.structs.replace(self, **changes)


class Plan(msgspec.Struct, frozen=True):
    """Targets in the order they will be tried, and why nothing else was considered."""

    targets: tuple[Target, ...]
    why_not: str = ""


class Event(msgspec.Struct, gc=False):
    """One decoded event of an answer. `delta` is the provider's own delta object, verbatim."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[Any] | None = None
    finish: str | None = None
    usage: Usage | None = None
    error: str = ""
    delta: dict[str, Any] | None = None

    @property
    def meaningful(self) -> bool:
        """Whether this is worth committing to: a role-only or lifecycle event is not."""
        return bool(self.text or self.reasoning or self.tool_calls or self.finish)


class Chunk:
    """What arrived together: whole events, raw, decoded when someone first looks.

    A pass-through never parses what it only forwards. `whole` marks a complete JSON answer.
    """

    __slots__ = ("_decode", "_events", "dialect", "raw", "whole")

    def __init__(
        self,
        raw: bytes,
        decode: Callable[[bytes], tuple[Event, ...]],
        *,
        dialect: str = "openai",
        whole: bool = False,
    ) -> None:
        self.raw, self._decode, self.dialect, self.whole = raw, decode, dialect, whole
        self._events: tuple[Event, ...] | None = None

    @classmethod
    def of(cls, *events: Event) -> Chunk:
        """A chunk made by a stage rather than received."""
        chunk = cls(b"", lambda _: events, dialect="")
        chunk._events = events
        return chunk

    @property
    def events(self) -> tuple[Event, ...]:
        if self._events is None:
            self._events = self._decode(self.raw)
        return self._events

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events)


class Reply:
    """A stream of chunks that owns what it holds open.

    `close` runs the owned callbacks once, whoever calls it and whether or not a chunk was read: the
    upstream socket is given back and the hold is settled. They are plain callables, so that closing
    works from a `finally` block of a task that is being cancelled.
    """

    __slots__ = ("_chunks", "_owned", "whole")

    def __init__(
        self, chunks: AsyncIterator[Chunk] | None, *owned: Callable[[], object], whole: Chunk | None = None
    ) -> None:
        self._chunks, self._owned, self.whole = chunks, list(owned), whole

    @classmethod
    def of(cls, *events: Event) -> Reply:
        """A reply that is already here: what a cache hit or a refusal returns."""
        return cls(None, whole=Chunk.of(*events))

    def own(self, release: Callable[[], object]) -> None:
        self._owned.append(release)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        if self.whole is not None:
            yield self.whole
        elif self._chunks is not None:
            async for chunk in self._chunks:
                yield chunk

    def through(self, transform: Callable[[AsyncIterator[Chunk]], AsyncIterator[Chunk]]) -> Reply:
        """The same reply with its chunks transformed; ownership moves along."""
        reply = Reply(transform(aiter(self)))
        reply._owned, self._owned = self._owned, []
        return reply

    def close(self) -> None:
        while self._owned:
            self._owned.pop()()


class Clock(Protocol):
    """Time is an argument. `now` is wall-clock epoch seconds, `monotonic` never goes back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...
