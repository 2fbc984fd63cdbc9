"""Faults on demand: what goes wrong, when, and how often.

Rules: a fault is armed with `times` (-1 = until disarmed) and strikes the next requests it fits, oldest fault
first. `EARLY` faults strike before the quota is touched, as a provider refuses a bad key before it counts;
all others strike requests that were counted. Kinds:

    slow_head          `seconds` before the first byte (default: for ever)
    no_first_token     the head, then silence for `seconds` (default: for ever)
    stall              silence after `after` events
    cut                the connection ends after `after` events, without a terminator; `reset` sends an RST
    cut_before_headers the connection ends before the first byte
    clean_cut          after `after` events, a clean end of the HTTP body: no finish_reason, no [DONE]
    no_done            everything but [DONE]
    http               `status` (500, 502, 503 …) in the provider's own shape; html the same as a proxy's page
    rate_limited       a 429 that counts against nothing and gives no hint when to come back (`label`: which);
                       with `seconds` it has a Retry-After
    busy bad_key forbidden no_money gone context content   the provider's own refusals
    bad_json           broken JSON (in a stream: one event of it)      malformed_sse  lines that are no events
    stream_error       an error object inside a 200 answer
    empty              no text at all, finish "stop"
    truncated          `after` tokens, finish "length"           truncated_as_whole  the same, finish "stop"
    content_filter     `after` tokens, finish "content_filter"
    redirect           302 to elsewhere (the pretend world counts who follows)
    huge_header        a response header of `size` bytes               garbage        bytes that are no HTTP
    split              a stream cut into writes of seven bytes
    flapping           `every` requests answered, then `every` refused with `status`, and so on
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from potluck.sim.answers import Answer

EARLY = frozenset(
    {"rate_limited", "busy", "bad_key", "forbidden", "no_money", "gone", "context", "content", "redirect"}
)
ENDINGS = {"truncated": "length", "truncated_as_whole": "stop", "content_filter": "content_filter"}
KINDS = EARLY | {
    *("slow_head", "no_first_token", "stall", "cut", "reset", "cut_before_headers", "clean_cut", "no_done"),
    *("http", "html", "bad_json", "malformed_sse", "stream_error", "empty", *ENDINGS),
    *("huge_header", "garbage", "split", "flapping"),
}
When = Callable[[Mapping[str, Any]], bool] | Mapping[str, Any] | None


@dataclass(eq=False)
class Fault:
    """One armed fault. `when` is a predicate on the request's JSON, or fields it must equal."""

    kind: str
    times: int = 1
    after: int = 1
    seconds: float = math.inf
    status: int = 503
    every: int = 1
    label: str = ""  # the limit a `rate_limited` names ("requests/day"); "" = the first
    size: int = 1 << 20
    when: When = None
    seen: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(sorted(KINDS))}")

    def fits(self, body: Mapping[str, Any]) -> bool:
        if self.when is None:
            return True
        if isinstance(self.when, Mapping):
            return all(body.get(key) == value for key, value in self.when.items())
        return self.when(body)


class Faults:
    """The armed faults of one provider. `struck` counts by kind."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        self.struck: dict[str, int] = {}

    def arm(self, fault: Fault) -> Fault:
        self.armed.append(fault)
        return fault

    def disarm(self) -> None:
        self.armed.clear()

    def match(self, body: Mapping[str, Any]) -> Fault | None:
        """The fault that would strike this request; `spend` it when it does."""
        for fault in self.armed:
            if not fault.fits(body):
                continue
            if fault.kind != "flapping":
                return fault
            fault.seen += 1
            if (fault.seen - 1) // fault.every % 2:
                return fault
        return None

    def spend(self, fault: Fault) -> None:
        self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
        fault.times -= 1 if fault.times > 0 else 0
        if fault.times == 0 and fault in self.armed:
            self.armed.remove(fault)


def bend(answer: Answer, fault: Fault | None) -> Answer:
    """The answer as the fault leaves it; most faults leave it alone and hurt its transport."""
    if fault is None:
        return answer
    if fault.kind == "empty":
        return replace(answer, pieces=(), reasoning=(), calls=(), finish="stop")
    if fault.kind in ENDINGS:
        return replace(answer, pieces=answer.pieces[: fault.after], finish=ENDINGS[fault.kind])
    return answer
