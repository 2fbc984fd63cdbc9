"""One admitted request on its way to an answer, or to the fault that replaces it.

Rules: the booking is settled exactly once, whichever way the turn ends: with the tokens that went out, or
with none where nothing was answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from potluck.sim.answers import compose, embeddings
from potluck.sim.faults import Fault, bend
from potluck.sim.gate import Booking, Demand
from potluck.sim.player import FLUSH, Player, play_whole
from potluck.sim.refusals import Refusal, Trouble
from potluck.sim.script import error_event, script, whole
from potluck.sim.wire import Exchange

if TYPE_CHECKING:
    from potluck.sim.desk import Desk


@dataclass
class Turn:
    desk: Desk
    exchange: Exchange
    body: Mapping[str, Any]
    demand: Demand
    booking: Booking
    fault: Fault | None
    task: str

    def settle(self, tokens: int) -> None:
        if not self.booking.settled:
            self.booking.settle(tokens)
            self.desk.counts.tokens_out += tokens

    def run(self) -> None:
        if self.exchange.gone:
            return
        if self.fault is not None and self.fails(self.fault):
            return
        if self.task == "embeddings":
            self.embed()
        else:
            self.chat()

    def chat(self) -> None:
        desk, fault = self.desk, self.fault
        answer = bend(compose(self.body, desk.options, desk.pretend.default_max_tokens), fault)
        model = self.demand.model.id
        desk.counts.by_status[200] += 1
        if not self.body.get("stream"):
            data = msgspec.json.encode(whole(desk.pretend, answer, self.body, model))
            if fault is not None and fault.kind == "stream_error":
                data = error_event(desk.pretend, self.body, model)[6:-2]
            self.whole(data, answer.tokens)
            return
        frames = script(desk.pretend, answer, self.body, model, desk.options)
        total = answer.tokens
        player = Player(
            self.exchange, frames, desk.options.interval, fault, lambda sent: self.settle(min(sent, total))
        )
        player.error = error_event(desk.pretend, self.body, model)
        player.start(desk.gate.headers(self.demand, self.demand.prompt + total))

    def embed(self) -> None:
        data, tokens = embeddings(self.body, self.desk.options)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        full = {"object": "list", "data": data, "model": self.demand.model.id, "usage": usage}
        self.desk.counts.by_status[200] += 1
        self.whole(msgspec.json.encode(full), 0)

    def whole(self, data: bytes, tokens: int) -> None:
        """A JSON answer is settled before its head is written, so that its headers tell the truth."""
        broken = self.fault is not None and self.fault.kind in ("cut", "reset", "stall", "no_first_token")
        if not broken:
            self.settle(tokens)
        headers = self.desk.gate.headers(self.demand, self.demand.prompt + tokens)
        play_whole(self.exchange, data, headers, self.fault, lambda: self.settle(tokens))

    def fails(self, fault: Fault) -> bool:
        """Faults that leave no answer at all. True if one struck."""
        desk, exchange, kind = self.desk, self.exchange, fault.kind
        if kind in ("http", "flapping"):
            self.settle(0)
            desk.refuse(exchange, Trouble("unavailable", model=self.demand.model.id, status=fault.status))
        elif kind == "html":
            self.settle(0)
            page = b"<html><head><title>Bad gateway</title></head><body><h1>502</h1></body></html>"
            desk.send(exchange, Refusal(fault.status, page, kind="text/html"))
        elif kind == "cut_before_headers":
            self.settle(0)
            exchange.abort()
        elif kind == "garbage":
            self.settle(0)
            exchange.raw(b"\x16\x03\x01\x02\x00\x01 this is not HTTP\r\n\r\n")
            exchange.loop.call_later(FLUSH, exchange.abort)
        elif kind == "huge_header":
            self.settle(0)
            desk.send(exchange, Refusal(200, {"padded": True}, {"x-padding": "x" * fault.size}))
        else:
            return False
        return True
