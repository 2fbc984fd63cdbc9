"""CPU microseconds that one upstream exchange costs, against a raw echo server in another process.

Usage: ``python bench/micro/upstream.py [exchanges] [at once] [--profile]``. CPU time is the client
process's own (user + system), so that the peer and other work on the machine do not count. The floor
row does the same reads and writes with a bare protocol and no HTTP: what the kernel and the loop cost.
"""

from __future__ import annotations

import asyncio
import cProfile
import multiprocessing
import multiprocessing.connection
import sys
import time

import uvloop

from potluck.upstream import Call, Origin, Upstream, header_lines

ANSWER_BODY = b'{"id":"x","choices":[{"message":{"role":"assistant","content":"' + b"word " * 40 + b'"}}]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 27 Jul 2026 12:28:53 GMT\r\nContent-Type: application/json\r\n"
    b"x-ratelimit-limit-requests: 1000\r\nx-ratelimit-remaining-requests: 999\r\n"
    b"x-ratelimit-reset-requests: 1m26.4s\r\nx-request-id: req_0123456789\r\n"
    b"Content-Length: %d\r\n\r\n" % len(ANSWER_BODY)
) + ANSWER_BODY
ROUNDS = 8  # the best one counts: other work on the machine only ever adds
BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"hello " * 30 + b'"}]}'


class Peer(asyncio.Protocol):
    """Answers every request that ends with the known body; looks at nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)  # type: ignore[attr-defined]


def serve(pipe: multiprocessing.connection.Connection) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


class Floor(asyncio.Protocol):
    """The cheapest possible client: write, wait for bytes, again."""

    def __init__(self) -> None:
        self.waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.waiter is not None:
            self.waiter.set_result(None)


async def floor(port: int, exchanges: int, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Floor, "127.0.0.1", port)
    for _ in range(exchanges):
        protocol.waiter = loop.create_future()
        transport.write(request)
        await protocol.waiter
    transport.abort()


async def worker(upstream: Upstream, call: Call, exchanges: int) -> None:
    for _ in range(exchanges):
        exchange = await upstream.send(call)
        await exchange.body(1 << 20)
        exchange.close()


async def measure(port: int, exchanges: int, at_once: int, profile: bool) -> None:
    headers = header_lines([("authorization", "Bearer sk-test"), ("content-type", "application/json")])
    call = Call(Origin("127.0.0.1", port, False), "/v1/chat/completions", headers, BODY)
    request = b"POST / HTTP/1.1\r\n" + headers + b"\r\n" + BODY
    upstream = Upstream(proxies={})
    await worker(upstream, call, 200)  # warm up
    each = exchanges // at_once // ROUNDS
    best = {"floor": float("inf"), "upstream": float("inf")}
    profiler = cProfile.Profile()
    for name in ("floor", "upstream") * ROUNDS:
        work = [
            floor(port, each, request) if name == "floor" else worker(upstream, call, each)
            for _ in range(at_once)
        ]
        if profile and name == "upstream":
            profiler.enable()
        started = time.process_time()
        await asyncio.gather(*work)
        best[name] = min(best[name], (time.process_time() - started) / (each * at_once))
        profiler.disable()
    for name, seconds in best.items():
        print(f"{name:9} {seconds * 1e6:6.1f} µs CPU an exchange, {at_once} at once")
    if profile:
        profiler.print_stats("tottime")
    await upstream.close()


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    exchanges, at_once = (*numbers, 40_000, 16)[:2] if len(numbers) != 1 else (numbers[0], 16)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    peer = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    peer.start()
    try:
        uvloop.run(measure(ours.recv(), exchanges, at_once, "--profile" in sys.argv))
    finally:
        peer.terminate()
        peer.join()


if __name__ == "__main__":
    main()
