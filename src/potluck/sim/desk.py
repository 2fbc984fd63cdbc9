"""One pretend provider at work: checks the request as the real one would, books it, and has it answered.

Rules: the order is address, key, body, quota, answer: a bad key costs nothing, and what was counted stays
counted whatever goes wrong afterwards. What is refused and why is the table's business, how it is worded the
manner's. Time for the quotas comes from the clock; delays and intervals pass on the event loop.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from potluck.sim.answers import Options, inputs_of, max_tokens, prompt_tokens
from potluck.sim.faults import EARLY, Fault, Faults
from potluck.sim.gate import Demand, Gate, Overrun
from potluck.sim.manners import MANNERS
from potluck.sim.provider import ANY, Model, Pretend
from potluck.sim.refusals import Refusal, Trouble
from potluck.sim.rules import objection
from potluck.sim.turn import Turn
from potluck.sim.wire import NO_HEADERS, Exchange, Incoming

LIBRARY_AGENTS = ("python-urllib", "dart/")


@dataclass
class Counts:
    """What one provider saw. `accepted` were booked; `refused` hit a limit; tokens are those booked."""

    received: int = 0
    accepted: int = 0
    refused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)


class Desk:
    def __init__(
        self, pretend: Pretend, options: Options, now: Callable[[], float], elsewhere: str = ""
    ) -> None:
        if options.unlimited:
            bare = {name: replace(model, limits=()) for name, model in pretend.models.items()}
            pretend = replace(pretend, limits=(), models=bare)
        added = {
            name: pretend.models.get(ANY) or next(iter(pretend.models.values())) for name in options.models
        }
        models = {**pretend.models, **{name: replace(model, id=name) for name, model in added.items()}}
        self.pretend = replace(pretend, models=models).with_limits(options.limits)
        self.options, self.now, self.elsewhere = options, now, elsewhere
        self.gate, self.faults, self.counts = Gate(self.pretend, now), Faults(), Counts()
        self.bodies: list[Mapping[str, Any]] = []  # what arrived, for tests; the last 1,000

    @property
    def overruns(self) -> list[Overrun]:
        return self.gate.overruns

    def fault(self, kind: str, **how: Any) -> Fault:
        """Arm a fault; faults.py has the kinds and what `how` may hold. ValueError for an unknown kind."""
        return self.faults.arm(Fault(kind, **how))

    def limit(self, changes: Mapping[str, float], model: str = "") -> None:
        """Other amounts from now on; what was used stays used."""
        self.pretend = self.gate.pretend = self.pretend.with_limits(changes, model)

    def reset(self) -> None:
        self.gate.reset()
        self.faults.disarm()
        self.counts, self.bodies = Counts(), []

    def handle(self, incoming: Incoming, exchange: Exchange, path: str) -> None:
        """`path` is what follows the base URL."""
        self.counts.received += 1
        key = _key(incoming.headers)
        agent = incoming.headers.get("user-agent", "").lower()
        if self.pretend.blocks_library_agents and agent.startswith(LIBRARY_AGENTS):
            return self.refuse(exchange, Trouble("agent", "error code: 1010"))
        public = path == "/models" and self.pretend.public_models
        bad = key.startswith(("expired", "wrong")) or not (key or self.pretend.anonymous)
        if bad and not public:
            return self.refuse(exchange, Trouble("bad_key"))
        if incoming.method == "GET":
            return self.read(exchange, path, key)
        if incoming.method != "POST" or path not in ("/chat/completions", "/embeddings"):
            return self.refuse(exchange, Trouble("not_found"))
        try:
            body = msgspec.json.decode(incoming.body)
        except msgspec.DecodeError:
            body = None
        if not isinstance(body, dict):
            return self.refuse(
                exchange, Trouble("bad_request", "We could not parse the JSON body of your request.")
            )
        return self.ask(exchange, body, key, "chat" if path.startswith("/chat") else "embeddings")

    def read(self, exchange: Exchange, path: str, key: str) -> None:
        """The listing of models, and OpenRouter's quota endpoint."""
        if path == "/models":
            names = [self.pretend.prefix + name for name in self.pretend.models if name != ANY]
            rows = [
                {"id": name, "object": "model", "created": 0, "owned_by": self.pretend.id} for name in names
            ]
            return self.send(exchange, Refusal(200, {"object": "list", "data": rows}))
        if path == "/key" and self.pretend.manner == "openrouter":
            return self.send(exchange, Refusal(200, {"data": self.key_facts(key)}))
        return self.refuse(exchange, Trouble("not_found"))

    def key_facts(self, key: str) -> dict[str, Any]:
        """GET /api/v1/key: the free requests of the UTC day; the minute's limit is not reported."""
        limit = next(limit for limit in self.pretend.limits if limit.span == "day")
        used = self.gate.kept(Demand(next(iter(self.pretend.models.values())), key), limit).used(self.now())
        left = max(0, int(limit.amount - used))
        facts: dict[str, Any] = {"label": "sk-or-v1-pretend", "limit": None, "limit_reset": None}
        facts |= {
            "limit_remaining": None,
            "usage": 0,
            "usage_daily": 0,
            "usage_weekly": 0,
            "usage_monthly": 0,
        }
        daily = {"used": int(used), "limit": int(limit.amount), "remaining": left}
        return facts | {"is_free_tier": True, "free_model_daily_requests": daily}

    def ask(self, exchange: Exchange, body: dict[str, Any], key: str, task: str) -> None:
        self.bodies.append(body)
        del self.bodies[:-1000]
        name = str(body.get("model", ""))
        model = self.pretend.model(name)
        demand = self.demand(body, key, exchange.address(), model or Model(name), task)
        trouble = objection(self.pretend, body, model, demand, task)
        fault = self.faults.match(body) if trouble is None else None
        if fault is not None and fault.kind in EARLY:
            self.faults.spend(fault)
            if fault.kind == "rate_limited" and math.isfinite(fault.seconds):
                return self.refuse(exchange, Trouble("busy"), {"retry-after": f"{fault.seconds:.0f}"})
            if fault.kind == "redirect":
                return self.send(exchange, Refusal(302, b"", {"location": self.elsewhere}))
            trouble = self.early(fault, demand)
        if trouble is not None:
            if self.pretend.counts_failures and model is not None:
                self.gate.count_failure(demand)
            return self.refuse(exchange, trouble)
        admitted = self.gate.admit(demand)
        if isinstance(admitted, Trouble):
            self.counts.refused += 1
            extra = self.gate.headers(demand, 0) if self.pretend.headers_on_refusal else {}
            return self.refuse(exchange, admitted, extra)
        self.counts.accepted += 1
        self.counts.tokens_in += demand.prompt
        self.counts.by_model[demand.model.id] += 1
        if fault is not None:
            self.faults.spend(fault)
        return self.after_delay(Turn(self, exchange, body, demand, admitted, fault, task))

    def demand(self, body: Mapping[str, Any], key: str, address: str, model: Model, task: str) -> Demand:
        if task == "embeddings":
            texts = inputs_of(body)
            prompt = sum(len(text.encode()) // 4 + 1 for text in texts)
            return Demand(model, key, address, prompt, 0, len(texts))
        allowed = max_tokens(body, self.pretend.default_max_tokens)
        return Demand(model, key, address, prompt_tokens(body), allowed)

    def early(self, fault: Fault, demand: Demand) -> Trouble:
        """The provider's own refusal, for a reason that has nothing to do with this request."""
        about = Trouble(fault.kind, model=demand.model.id, now=self.now(), bare=True)
        if fault.kind == "rate_limited":
            limits = [limit for limit in self.gate.limits(demand) if fault.label in ("", limit.label)]
            if not limits:
                return replace(about, kind="busy")
            return replace(about, kind="limit", limit=limits[0], used=limits[0].amount, wanted=1)
        context = demand.model.context
        return replace(about, used=context, wanted=context + 1)

    def after_delay(self, turn: Turn) -> None:
        fault, seconds = turn.fault, self.options.delay
        if fault is not None and fault.kind == "slow_head":
            seconds += fault.seconds
        if not turn.body.get("stream"):
            seconds += self.options.interval * self.options.tokens
        if not seconds:
            return turn.run()
        turn.exchange.on_close = lambda: turn.settle(0)
        if math.isfinite(seconds):
            turn.exchange.loop.call_later(seconds, turn.run)
        return None

    def refuse(self, exchange: Exchange, trouble: Trouble, extra: Mapping[str, str] = NO_HEADERS) -> None:
        refusal = MANNERS[self.pretend.manner](trouble)
        self.send(exchange, replace(refusal, headers={**extra, **refusal.headers}))

    def send(self, exchange: Exchange, refusal: Refusal) -> None:
        self.counts.by_status[refusal.status] += 1
        exchange.send(refusal.status, refusal.body, refusal.headers, refusal.kind)


def _key(headers: Mapping[str, str]) -> str:
    value = headers.get("authorization", "")
    if value[:7].lower() == "bearer ":
        return value[7:].strip()
    return headers.get("x-goog-api-key", "") or headers.get("x-api-key", "")
