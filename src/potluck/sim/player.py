"""Writes an answer to the socket, in time, and breaks it where a fault says so.

Rules: timers and callbacks, no tasks: a thousand streams are a thousand small objects. `done(tokens)` is
called exactly once, with the tokens that went out, whether the answer ended, broke, or the client hung up.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Callable, Mapping

from potluck.sim.faults import Fault
from potluck.sim.script import DONE, Script
from potluck.sim.wire import Exchange

SSE = {"content-type": "text/event-stream", "cache-control": "no-cache"}
FLUSH = 0.005  # seconds between the last write and the cut: a write still in a buffer would be lost with it
BROKEN = b'data: {"id":"chatcmpl-broken","choices":[{"index":0,"delta":{"content":"br\n\n'
NONSENSE = b"dta {]\nevent\n: \xff\xfe\n\ndata\n\nretry: soon\n\n"


class Player:
    """One stream. `interval` is seconds between frames."""

    def __init__(
        self,
        exchange: Exchange,
        script: Script,
        interval: float,
        fault: Fault | None,
        done: Callable[[int], None],
    ) -> None:
        self.exchange, self.frames, self.lead, self.interval = exchange, script.frames, script.lead, interval
        self.fault, self._done, self._at = fault, done, 0
        self.strike = self._strike_at(fault)
        self.error = b""
        exchange.on_close = self.end

    def _strike_at(self, fault: Fault | None) -> int:
        """The index of the frame that is not sent any more; -1 without a fault on the way."""
        if fault is None:
            return -1
        if fault.kind == "no_first_token":
            return 0
        if fault.kind in ("stall", "cut", "reset", "clean_cut", "bad_json", "malformed_sse", "stream_error"):
            return self.lead + fault.after if fault.after else 0
        return len(self.frames) - 1 if fault.kind == "no_done" else -1

    def start(self, headers: Mapping[str, str]) -> None:
        self.exchange.start(200, {**SSE, **headers})
        if self.fault is not None and self.fault.kind == "split":
            joined = b"".join(self.frames)
            self.frames = [joined[i : i + 7] for i in range(0, len(joined), 7)]
        if self.interval or self.strike >= 0 or (self.fault is not None and self.fault.kind == "split"):
            self._tick()
            return
        self.exchange.raw(b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in self.frames))
        self._at = len(self.frames)
        self._finish()

    def _tick(self) -> None:
        if self.exchange.gone or self.exchange.done:
            return
        if self._at == self.strike:
            self._break()
        elif self._at == len(self.frames):
            self._finish()
        else:
            self.exchange.chunk(self.frames[self._at])
            self._at += 1
            self.exchange.loop.call_later(self.interval, self._tick)

    def _break(self) -> None:
        assert self.fault is not None
        kind, loop = self.fault.kind, self.exchange.loop
        self.strike = -1
        if kind in ("stall", "no_first_token"):
            if math.isfinite(self.fault.seconds):
                loop.call_later(self.fault.seconds, self._tick)
        elif kind in ("cut", "reset"):
            loop.call_later(FLUSH, cut, self.exchange, kind == "reset")
        elif kind in ("bad_json", "malformed_sse"):
            self.exchange.chunk(BROKEN if kind == "bad_json" else NONSENSE)
            self._tick()
        else:
            if kind == "stream_error":
                self.exchange.chunk(self.error + DONE)
            self._finish()

    def _finish(self) -> None:
        self.end()
        self.exchange.finish()

    def end(self) -> None:
        """Settle with the tokens that went out; safe to call twice."""
        done, self._done = self._done, lambda _: None
        done(max(0, self._at - self.lead))


def cut(exchange: Exchange, reset: bool = False) -> None:
    """End the connection in the middle: a FIN, or an RST where `reset` asks for one."""
    if exchange.gone:
        return
    if reset:
        sock = exchange.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.abort()


def play_whole(
    exchange: Exchange, data: bytes, headers: Mapping[str, str], fault: Fault | None, done: Callable[[], None]
) -> None:
    """A JSON answer; faults that break a stream after some events break this one in the middle."""
    kind = fault.kind if fault is not None else ""
    half = len(data) // 2
    if kind in ("cut", "reset", "stall", "no_first_token"):
        size = {"content-type": "application/json", "content-length": str(len(data))}
        exchange.head(200, {**size, **headers})
        exchange.raw(b"" if kind == "no_first_token" else data[:half])
        exchange.on_close = done
        if kind in ("cut", "reset"):
            exchange.loop.call_later(FLUSH, cut, exchange, kind == "reset")
        elif fault is not None and math.isfinite(fault.seconds):
            rest = data if kind == "no_first_token" else data[half:]
            exchange.loop.call_later(fault.seconds, _late, exchange, rest, done)
        return
    done()
    if kind in ("bad_json", "malformed_sse", "clean_cut"):
        data = data[:half]
    exchange.send(200, data, headers)


def _late(exchange: Exchange, rest: bytes, done: Callable[[], None]) -> None:
    done()
    exchange.raw(rest)
    exchange.finish()
