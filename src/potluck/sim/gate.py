"""The till of a pretend provider: admits or refuses a request, books what it costs, writes the rate headers.

Rules: a request is counted at receipt, all limits or none. Tokens: with ``charge = "max"`` the prompt plus
max_tokens (or the prompt alone, where none was sent) are booked at receipt; with ``charge = "end"`` only the
prompt; either way the entry is corrected to the real use when the answer ends. A refused request costs
nothing, except where the provider counts failures. The account of a key is the part after "@", if it has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from potluck.sim.counters import Counter, Entry, counter
from potluck.sim.provider import Limit, Model, Pretend, RateHeader
from potluck.sim.refusals import Trouble, duration

MILLION = 1_000_000


@dataclass(frozen=True)
class Demand:
    """What one request asks for; tokens by the pretend provider's own counting."""

    model: Model
    key: str = ""
    address: str = ""
    prompt: int = 0
    answer: int = 0  # max_tokens; 0 = not said
    inputs: int = 1

    def amount(self, unit: str, answer: int) -> float:
        """The cost in `unit` if `answer` tokens come out. Neurons and credits have fractions."""
        if unit in ("requests", "concurrent"):
            return 1
        if unit == "inputs":
            return self.inputs
        if unit == "neurons":
            return (self.prompt * self.model.neurons[0] + answer * self.model.neurons[1]) / MILLION
        if unit == "credits":
            return (self.prompt * self.model.price[0] + answer * self.model.price[1]) / MILLION
        prompt = 0 if unit == "output_tokens" else self.prompt
        return prompt + (0 if unit == "input_tokens" else answer)

    def scope(self, limit: Limit) -> str:
        """The text that names whose counter this is."""
        account = self.key.partition("@")[2] or "default"
        return {
            "account": f"account {account}",
            "key": f"key {self.key}",
            "model": f"account {account} model {self.model.id}",
            "task": f"account {account} task {self.model.task}",
            "ip": f"ip {self.address}",
            "ip+model": f"ip {self.address} model {self.model.id}",
        }[limit.scope]


@dataclass
class Booking:
    """What was taken for one request. `settle` once; later calls do nothing."""

    demand: Demand
    now: Callable[[], float]
    taken: list[tuple[Limit, Counter, Entry]] = field(default_factory=list)
    settled: bool = False

    def settle(self, answer: int) -> None:
        """Replace the estimates by the truth: `answer` tokens came out."""
        if self.settled:
            return
        self.settled, now = True, self.now()
        for limit, kept, entry in self.taken:
            if limit.unit in ("requests", "inputs"):
                continue
            amount = 0 if limit.unit == "concurrent" else self.demand.amount(limit.unit, answer)
            if amount != entry.amount:
                kept.correct(now, entry, amount)


@dataclass(frozen=True)
class Overrun:
    """A request refused because of a limit: a gateway that keeps its word causes none."""

    at: float
    scope: str
    label: str
    model: str


class Gate:
    def __init__(self, pretend: Pretend, now: Callable[[], float]) -> None:
        self.pretend, self.now = pretend, now
        self.counters: dict[tuple[str, str, str], Counter] = {}
        self.overruns: list[Overrun] = []

    def kept(self, demand: Demand, limit: Limit) -> Counter:
        """The counter of a limit; its size follows the table, so that limits can change in flight."""
        name = (demand.scope(limit), limit.label, limit.window)
        found = self.counters.get(name)
        if found is None:
            found = self.counters[name] = counter(limit.window, limit.amount)
        elif found.capacity != limit.amount:
            found.resize(limit.amount)
        return found

    def limits(self, demand: Demand) -> list[Limit]:
        anonymous = not demand.key
        return [limit for limit in self.pretend.limits_of(demand.model) if limit.binds(anonymous)]

    def admit(self, demand: Demand) -> Booking | Trouble:
        now, asked = self.now(), []
        expected = demand.answer if self.pretend.charge == "max" else 0
        for limit in self.limits(demand):
            kept, amount = self.kept(demand, limit), demand.amount(limit.unit, expected)
            spent = limit.unit in ("credits", "neurons") and kept.remaining(now) <= 0
            if spent or not kept.fits(now, amount):
                return self._refuse(demand, limit, kept, amount)
            asked.append((limit, kept, amount))
        return Booking(demand, self.now, [(limit, kept, kept.add(now, n)) for limit, kept, n in asked])

    def count_failure(self, demand: Demand) -> None:
        """Book a request that failed for another reason than a limit, as far as it fits."""
        booking = self.admit(demand)
        if isinstance(booking, Booking):
            booking.settle(0)

    def _refuse(self, demand: Demand, limit: Limit, kept: Counter, amount: float) -> Trouble:
        now = self.now()
        self.overruns.append(Overrun(now, demand.scope(limit), limit.label, demand.model.id))
        oversize = self.pretend.refuses_oversize and amount > limit.amount > 0
        return Trouble(
            "too_large" if oversize else "limit",
            model=demand.model.id,
            limit=limit,
            used=kept.used(now),
            wanted=amount,
            wait=kept.full(now) if oversize else kept.wait(now, amount),
            now=now,
        )

    def headers(self, demand: Demand, cost: int) -> dict[str, str]:
        """The provider's rate headers for this caller, as things stand now. `cost` in tokens."""
        if not self.pretend.headers:
            return {}
        now, found = self.now(), {}
        limits = {limit.label: limit for limit in reversed(self.limits(demand))}
        for header in self.pretend.headers:
            limit = limits.get(header.label)
            if limit is not None:
                found[header.name] = _value(header, limit, self.kept(demand, limit), now, cost)
        return found

    def state(self) -> dict[str, Any]:
        """Every counter: ``{"scope | label": {limit, used, peak}}``."""
        now = self.now()
        return {
            f"{scope} | {label}": {"limit": kept.capacity, "used": kept.used(now), "peak": kept.peak}
            for (scope, label, _), kept in self.counters.items()
        }

    def reset(self) -> None:
        self.counters.clear()
        self.overruns.clear()


def _value(header: RateHeader, limit: Limit, kept: Counter, now: float, cost: int) -> str:
    if header.what == "cost":
        return str(cost)
    if header.what == "limit":
        return f"{limit.amount:.0f}"
    if header.what == "remaining":
        return str(math.floor(kept.remaining(now) + 1e-6))
    seconds = kept.full(now)
    if header.format == "duration":
        return duration(seconds)
    if header.format == "epoch":
        return str(math.ceil(now + seconds))
    return str(math.ceil(seconds)) if header.format == "seconds" else repr(seconds)
