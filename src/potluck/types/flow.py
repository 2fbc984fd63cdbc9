"""What flows through the pipeline: a request in, a plan and attempts inside, a reply of chunks out.

Rules: `Attempt` and `Trace` alone are filled in while a request is worked off, and only dispatch and stages
write them; everything else is frozen or owns what it holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from potluck.types.facts import Kind, Target, Usage

Priority = Literal["high", "normal", "low"]
UNSENT = frozenset({"full", "resting", "paced"})  # outcomes of attempts that never left


class Attempt(msgspec.Struct, gc=False):
    """One try at one target. It is the log row, the response header, the dashboard row, the test's assertion.

    `outcome`: pending | ok | full | resting | paced | rate_limited | too_large | busy | no_money | denied | gone
    | unavailable | timeout | malformed | context | refused | interrupted | cancelled | rejected.
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


class Saving(msgspec.Struct, frozen=True, gc=False):
    """What one technique spared one request. `target` is who would have served it, for the list price."""

    technique: str  # the stage's name
    requests: int = 0  # upstream requests not sent; below 0 where it cost some
    tokens_in: int = 0
    tokens_out: int = 0
    target: str = ""


class Trace(msgspec.Struct, gc=False):
    """What happened to one client request, across every call its stages made."""

    id: str = ""
    attempts: list[Attempt] = []
    notes: dict[str, str] = {}
    savings: list[Saving] = []
    left: str = ""  # what is left of the served target's tightest quota, for the response header
    waited: float = 0.0  # seconds in the queue, before something opened or it gave up


class Kept(msgspec.Struct, gc=False):
    """What belongs to an answer that its client may ask for again. `answer` is filled in when it is whole."""

    asked: bytes  # the client's body
    previous: str = ""  # id of the stored answer that this one continues
    store: bool = True
    answer: bytes = b""


class Request(msgspec.Struct, frozen=True, gc=False):
    """What the client wants. `body` holds every top-level field verbatim and undecoded (msgspec.Raw).

    Parameters we do not know pass through untouched. `deadline` is on the monotonic clock, 0 = none. So is
    `wait_until`, how long it waits for room instead of failing; 0 = as short as everyone.
    """

    model: str
    body: Mapping[str, msgspec.Raw]
    kind: Kind = "chat"
    stream: bool = False
    tenant: str = ""
    allowed: tuple[str, ...] = ()  # globs over the models and targets its client key may use; () = all
    tokens_in: int = 0  # estimate of the prompt, in tokens
    tokens_out: int = 0  # what the answer may take: max_tokens, or a guess
    bodies: tuple[Mapping[str, msgspec.Raw], ...] = ()  # of each choice, where more than one is wanted
    limited: bool = True  # whether the client set that limit itself
    needs: frozenset[str] = frozenset()  # tools | image | json_schema | ...
    deadline: float = 0.0
    budget: int = 8  # upstream calls this request may cause, in all
    wait_until: float = 0.0
    priority: Priority = "normal"
    admitted: Callable[[], object] | None = None  # called when its quotas are held; set while it queues
    on_wait: Callable[[], object] | None = None  # called when it begins to wait
    # Holds that many micro-USD of its client's money until the request ends, and says 0.0; or else the moment (epoch
    # seconds) when there is enough again. None = its client may spend any amount.
    afford: Callable[[int], Awaitable[float]] | None = None
    # What the client sent, where its format is not that of `body`: for an upstream that speaks `native_dialect`.
    native: Mapping[str, msgspec.Raw] | None = None
    native_dialect: str = ""
    caching: str = ""  # what X-Potluck-Cache says, else Cache-Control; lower case
    tags: tuple[str, ...] = ()  # X-Potluck-Cache-Tags: by which a stored answer can be dropped
    kept: Kept | None = None  # of formats whose answers are stored
    trace: Trace = msgspec.field(default_factory=Trace)

    def decoded(self, field: str, default: Any = None) -> Any:
        """One top-level field as Python values; decoded each time, so ask once."""
        raw = self.body.get(field)
        return default if raw is None else msgspec.json.decode(raw)

    def replace(self, **changes: Any) -> Request:
        # A changed request is no longer what the client sent.
        if "body" in changes and "native" not in changes:
            changes["native"] = None
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
    choice: int = 0  # which of several answers it belongs to

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

    def __aiter__(self) -> AsyncIterator[Chunk]:
        # The iterator itself, not a generator around it: a layer here costs every event of every stream.
        return _once(self.whole) if self._chunks is None else self._chunks

    def through(self, transform: Callable[[AsyncIterator[Chunk]], AsyncIterator[Chunk]]) -> Reply:
        """The same reply with its chunks transformed; ownership moves along."""
        reply = Reply(transform(aiter(self)))
        reply._owned, self._owned = self._owned, []
        return reply

    def close(self) -> None:
        while self._owned:
            self._owned.pop()()


async def _once(whole: Chunk | None) -> AsyncIterator[Chunk]:
    if whole is not None:
        yield whole


class Clock(Protocol):
    """Time is an argument. `now` is wall-clock epoch seconds, `monotonic` never goes back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...
