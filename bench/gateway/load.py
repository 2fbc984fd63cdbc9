"""The load generator: keeps N connections busy, one request at a time each, and checks every answer.

Rules: an answer counts only if its status is 200 and its text is the one the upstream sent, complete,
with the finish reason and, when streamed, [DONE] and a properly ended body; anything else is an error
with its reason. Nothing is retried. Run as a program it takes a `Plan` as JSON, warms up, prints `ready`,
and for each line on stdin runs and prints a `Result` as JSON: the caller reads the gateway's CPU time in
between.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from typing import cast

import httptools
import msgspec
import uvloop
from bench.gateway import wire
from bench.gateway.check import answer_fault, stream_fault

COUNTED_SECONDS = 120.0  # how long a run by number of requests may take to send them


class Plan(msgspec.Struct, frozen=True):
    """What to send. Stops after `seconds`, or after `requests` when that is not 0."""

    port: int
    model: str = wire.MODEL
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}
    connections: int = 1
    seconds: float = 2.0
    requests: int = 0
    warmup: float = 0.5  # seconds; uncounted
    ramp: float = 0.0  # seconds over which the connections are opened
    patience: float = 20.0  # seconds for requests under way at the end; after that they are errors
    stream: bool = False
    events: int = wire.EVENTS
    pad_bytes: int = 0


class Result(msgspec.Struct):
    """What came back. Latencies in µs from the write of a request to the last byte of its answer."""

    ok: int = 0
    elapsed: float = 0.0
    events: int = 0
    latencies: list[int] = []
    first_byte: list[int] = []
    errors: dict[str, int] = {}

    @property
    def broken(self) -> int:
        """How many requests did not get a whole, right answer."""
        return sum(self.errors.values())


class Tally:
    """Shared by all connections of one run: who may still send, and what was seen."""

    def __init__(self, plan: Plan, seconds: float) -> None:
        self.plan = plan
        self.result = Result()
        self.errors: Counter[str] = Counter()
        self.left = plan.requests or sys.maxsize
        self.end = time.perf_counter() + (COUNTED_SECONDS if plan.requests else seconds)
        self.busy = 0
        self.idle = asyncio.Event()
        self.request = _render(plan)

    def take(self) -> bool:
        """True if one more request may be sent."""
        if self.left <= 0 or time.perf_counter() >= self.end:
            return False
        self.left -= 1
        self.busy += 1
        return True

    def done(self, fault: str | None, events: int, first: float, total: float) -> None:
        """Book one finished request; `first` and `total` in seconds."""
        self.busy -= 1
        if fault is None:
            self.result.ok += 1
            self.result.events += events
            self.result.first_byte.append(int(first * 1e6))
            self.result.latencies.append(int(total * 1e6))
        else:
            self.errors[fault] += 1
        if self.busy == 0:
            self.idle.set()


def _render(plan: Plan) -> bytes:
    body = wire.request_body(plan.model, stream=plan.stream, pad_bytes=plan.pad_bytes)
    head = {"host": f"127.0.0.1:{plan.port}", "content-type": "application/json", **plan.headers}
    lines = [f"POST {plan.path} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items())]
    lines += [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Client:
    """One closed loop: sends, waits for the answer, sends again; opens a connection whenever it has none."""

    def __init__(self, tally: Tally, loop: asyncio.AbstractEventLoop) -> None:
        self._tally, self._loop = tally, loop
        self._opening: asyncio.Task[None] | None = None
        self.connection: Connection | None = None

    def go(self) -> None:
        """Send the next request if one may be sent."""
        if not self._tally.take():
            self.close()
            return
        self._sent = time.perf_counter()
        if self.connection is None:
            self._opening = self._loop.create_task(self._open())
        else:
            self.connection.send(self._tally.request)

    async def _open(self) -> None:
        port = self._tally.plan.port
        try:
            _, connection = await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        except OSError as error:
            await asyncio.sleep(0.01)  # a refused connection must not become a busy loop
            self.finish(f"cannot connect: {error.strerror}", 0, 0.0)
            return
        self.connection = connection
        connection.send(self._tally.request)

    def judge(self, status: int, body: bytes) -> str | None:
        """What is wrong with this answer, if anything."""
        plan = self._tally.plan
        if status != 200:
            return f"status {status}"
        return stream_fault(body, plan.events) if plan.stream else answer_fault(body)

    def finish(self, fault: str | None, events: int, first: float) -> None:
        """Book the answer (`first` = when its head came, perf_counter seconds) and go on."""
        self._tally.done(fault, events, first - self._sent, time.perf_counter() - self._sent)
        self.go()

    def close(self) -> None:
        """Drop the connection; an answer under way is lost."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()


class Connection(asyncio.Protocol):
    """One TCP connection of a client. `_waiting` is true from a request's write to the end of its answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its type.
        self._transport = cast(asyncio.Transport, transport)

    def abort(self) -> None:
        self._waiting = False
        self._transport.abort()

    def send(self, request: bytes) -> None:
        self._waiting, self._framed, self._first = True, False, 0.0
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"bad HTTP: {error}", keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        # A body with neither length nor chunks ends with the connection: its text tells if it is whole.
        whole = self._waiting and self._first and not self._framed and exc is None
        self._end(self._judge() if whole else "connection closed within the answer", keep=False)

    # httptools calls these.
    def on_header(self, name: bytes, value: bytes) -> None:
        self._first = self._first or time.perf_counter()
        self._framed = self._framed or name.lower() in (b"content-length", b"transfer-encoding")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._end(self._judge(), keep=self._parser.should_keep_alive())

    def _judge(self) -> str | None:
        return self._client.judge(self._parser.get_status_code(), b"".join(self._body))

    def _end(self, fault: str | None, *, keep: bool) -> None:
        if not keep and self._client.connection is self:
            self._detach()
        if not self._waiting:
            return
        self._waiting = False
        events = max(0, b"".join(self._body).count(b"data:") - 1)
        # Not at once: the parser must come back from the old answer before the next request gets a new one.
        asyncio.get_running_loop().call_soon(self._client.finish, fault, events, self._first)

    def _detach(self) -> None:
        self._client.connection = None
        self._transport.abort()


async def run(plan: Plan, seconds: float) -> Result:
    """Keep `plan.connections` busy, then wait for what is under way."""
    loop, tally = asyncio.get_running_loop(), Tally(plan, seconds)
    began = time.perf_counter()
    clients = [Client(tally, loop) for _ in range(plan.connections)]
    for client in clients:
        client.go()
        if plan.ramp:
            await asyncio.sleep(plan.ramp / plan.connections)
    limit = tally.end - time.perf_counter() + plan.patience
    while tally.busy:
        tally.idle.clear()
        try:
            await asyncio.wait_for(tally.idle.wait(), max(0.0, limit - (time.perf_counter() - began)))
        except TimeoutError:
            tally.errors["no answer in time"] += tally.busy
            break
    result = tally.result
    result.elapsed, result.errors = time.perf_counter() - began, dict(tally.errors)
    for client in clients:
        client.close()
    return result


async def main(plan: Plan) -> None:
    """The program: warm up, say `ready`, then one run and one report for each line that comes."""
    if plan.warmup:
        await run(msgspec.structs.replace(plan, requests=0, ramp=0.0), plan.warmup)
    print("ready", flush=True)
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        result = await run(plan, plan.seconds)
        print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Plan)))
