"""A target as the ledger sees it: its counters laid out for the hot path, its price per token, its closures.

Rules: a lane belongs to one worker; closures reach other workers through the store, as notes on a state whose
id is the target's or its key's (never the key itself: a digest).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import msgspec

from potluck.quota.counter import Counter
from potluck.quota.state import State
from potluck.types import Quota, Target

# A price nobody told us, in USD (or neurons) per million tokens in and out: dearer than what free tiers
# serve, so that a number the catalog forgot costs yield and never an overrun.
UNKNOWN_PRICE = (10.0, 30.0)
UNKNOWN_NEURONS = (50_000.0, 250_000.0)

# Seconds for which an answer that we cut off still counts as in flight: the provider learns of it when it next writes,
# and until then its own count of what is in flight has it (measured: twice in 6,700 requests a limit of one was met).
LINGER = 2.0


class Note(msgspec.Struct, frozen=True):
    """A target or key that is closed until `until` (negative: leave that), or never serves `size` tokens."""

    id: str
    until: float
    why: str = ""
    size: int = 0
    size_until: float = 0.0

    def write(self, state: State) -> None:
        if self.until >= 0:
            state.closed, state.why = self.until, self.why
        if self.size:
            state.limit = min(state.limit or self.size, self.size)
            state.learned = self.size_until


class Lane:
    """A target's counters, laid out for the hot path: `ones` cost one unit, `gates` count what is in flight
    (`units` is both), `sized` cost `a` per input token plus `b` per output token."""

    __slots__ = (
        "closed", "counters", "fits", "freed", "gates", "headers", "id", "key_id", "lingering", "ones", "sized",
        "strikes", "target", "units", "why",
    )  # fmt: skip

    def __init__(self, target: Target, counters: Sequence[Counter]) -> None:
        self.target, self.id = target, f"target:{target.id}"
        digest = hashlib.sha256(target.key.reveal().encode()).hexdigest()[:12]
        self.key_id = f"key:{target.provider}:{digest}"
        self.headers = {rule.name.lower().encode(): rule for rule in target.behaviour.rate_headers}
        self.counters = tuple(counters)
        self.gates = tuple([c for c in counters if c.rule.concurrent])
        rest = [c for c in counters if not c.rule.concurrent]
        self.ones = tuple([c for c in rest if c.rule.quota.unit in ("requests", "inputs")])
        self.units = self.ones + self.gates
        self.sized = tuple([(c, *price(target, c.rule.quota)) for c in rest if c not in self.ones])
        self.closed, self.why = 0.0, ""
        self.fits: float = math.inf  # requests of this many tokens were refused as too large
        self.strikes = 0  # refusals since the last success
        self.freed: Callable[[str], None] | None = None  # see Ledger.watch
        self.lingering: list[float] = []  # when each hold that was cut off stops counting as in flight

    def look(self, own: State, key: State, now: float) -> None:
        later = own if own.closed >= key.closed else key
        self.closed, self.why = later.closed, later.why
        self.fits = own.limit if own.limit and now < own.learned else math.inf

    def hear(self, note: Note, now: float) -> None:
        if note.until >= 0:
            self.closed, self.why = note.until, note.why
        if note.size and now < note.size_until:
            self.fits = min(self.fits, note.size)

    def let_go(self, now: float) -> None:
        """Gives back the places of what was cut off long enough ago; every flush calls it."""
        while self.lingering and (now >= self.lingering[0] or now < self.lingering[0] - LINGER):
            del self.lingering[0]
            for counter in self.gates:
                counter.held -= 1
                counter.free += 1
            if self.freed is not None:
                self.freed(self.target.provider)

    def needs(self, tokens_in: int, tokens_out: int) -> list[int]:
        """Scaled units a request takes from each of `counters`."""
        sized = {c.id: a * tokens_in + b * tokens_out for c, a, b in self.sized}
        return [sized.get(counter.id, 1) for counter in self.counters]


def price(target: Target, quota: Quota) -> tuple[int, int]:
    """Scaled units per input and per output token. Credits are micro-USD, and 1 USD per million tokens is
    1 micro-USD per token; scaled by a million, prices per million tokens are the whole number we need."""
    if quota.unit == "input_tokens":
        return 1, 0
    if quota.unit == "output_tokens":
        return 0, 1
    if quota.unit == "neurons":
        known = target.neurons_in or target.neurons_out
        a, b = (target.neurons_in, target.neurons_out) if known else UNKNOWN_NEURONS
        return math.ceil(a), math.ceil(b)
    if quota.unit == "credits":
        known = target.price_in or target.price_out
        a, b = (target.price_in, target.price_out) if known else UNKNOWN_PRICE
        return math.ceil(a * 1_000_000), math.ceil(b * 1_000_000)
    return 1, 1
