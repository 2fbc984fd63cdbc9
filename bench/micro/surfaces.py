"""CPU microseconds that the gateway spends on a request through each surface, JSON and streams of 20 events.

Usage: ``python bench/micro/surfaces.py [requests] [--profile SURFACE]``. Gateway, upstream and client are processes
of their own; CPU time is the gateway's (user + system). The upstream speaks Chat Completions, so the first surface is
relayed and the others are translated. A row's bar is 1.5 times the first.
"""

from __future__ import annotations

import asyncio
import cProfile
import multiprocessing
import multiprocessing.connection
import pstats
import sys
import tempfile
import time
from typing import Any

import msgspec
import uvloop

from potluck.app.compose import Gateway
from potluck.app.run import bind, serve_on
from potluck.config import Local, Settings
from potluck.types import Target

ROUNDS = 6  # the best one counts: other work on the machine only ever adds
AT_ONCE = 16
EVENTS = 20
WHOLE = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"word " * 40
    + b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":40,"total_tokens":80}}'
)
_HEAD = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
_WORD = _HEAD + b'{"content":"word "},"finish_reason":null}]}\n\n'
_LAST = _HEAD + b'{},"finish_reason":"stop"}]}\n\n'
_USED = b'data: {"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":20,"total_tokens":60}}\n\n'
FRAMES = (*[_WORD] * EVENTS, _LAST + _USED + b"data: [DONE]\n\n")
TEXT = "hello there, how are you? " * 8
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]
# surface → path, body, what ends its stream
SURFACES: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "chat": ("/v1/chat/completions", {"max_tokens": 100, "messages": MESSAGES}, b"[DONE]"),
    "messages": (
        "/v1/messages",
        {"max_tokens": 100, "system": "Be brief.", "messages": MESSAGES[1:]},
        b"message_stop",
    ),
    "ollama": ("/api/chat", {"options": {"num_predict": 100}, "messages": MESSAGES}, b'"done":true'),
    "completions": ("/v1/completions", {"max_tokens": 100, "prompt": TEXT}, b"[DONE]"),
    "responses": (
        "/v1/responses",
        {"max_output_tokens": 100, "instructions": "Be brief.", "input": MESSAGES[1:], "store": False},
        b"response.completed",
    ),
    "stored": (  # the same, written to the store before its end is sent
        "/v1/responses",
        {"max_output_tokens": 100, "instructions": "Be brief.", "input": MESSAGES[1:]},
        b"response.completed",
    ),
}


class Upstream(asyncio.Protocol):
    """Answers every request at once; a stream's events each in a write of its own, as they come from a model."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parts = b""

    def data_received(self, data: bytes) -> None:
        self.parts += data
        head, _, body = self.parts.partition(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < size:
            return
        self.parts = b""
        if b'"stream":true' not in body:
            said = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self.transport.write(said % len(WHOLE) + WHOLE)
            return
        kind = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + kind)
        self.play(0)

    def play(self, at: int) -> None:
        if at == len(FRAMES):
            self.transport.write(b"0\r\n\r\n")
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(FRAMES[at]), FRAMES[at]))
        asyncio.get_running_loop().call_later(0.001, self.play, at + 1)


def upstream(pipe: multiprocessing.connection.Connection) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


def gateway(pipe: multiprocessing.connection.Connection, port: int, profile: bool) -> None:
    """Serves, and says its CPU seconds whenever it is asked; ends when told None."""

    async def main(home: str) -> None:
        listener = bind("127.0.0.1", 0)
        number = listener.getsockname()[1]
        local = Local(enabled=False, discover=False)
        settings = Settings(data_dir=home, port=number, local=local, log_level="error", max_connections=4096)
        target = Target("bench/m", "bench", "m", "m", f"http://127.0.0.1:{port}/v1")
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_on(Gateway(settings, {}, extra=(target,)), listener, stop))
        pipe.send(number)
        while await asyncio.to_thread(pipe.recv) is not None:
            pipe.send(time.process_time())
        stop.set()
        await serving
        listener.close()

    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as home:
        if profile:
            profiler.enable()
        uvloop.run(main(home))
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


async def client(port: int, request: bytes, end: bytes, times: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(times):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b"200 OK" not in head:
            raise SystemExit(head.decode())
        if b"content-length: " in head:
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            continue
        body = await reader.readuntil(b"0\r\n\r\n")
        if end not in body:
            raise SystemExit(body.decode())
    writer.close()


async def measure(port: int, pipe: Any, requests: int, only: str) -> None:
    best: dict[tuple[str, bool], float] = {}
    rows = [(name, stream) for stream in (False, True) for name in SURFACES if only in ("", name)]
    for _ in range(ROUNDS):
        for name, stream in rows:
            path, fields, end = SURFACES[name]
            body = msgspec.json.encode({"model": "bench/m", "stream": stream, **fields})
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
            request = head.encode() + body
            each = max(1, requests // AT_ONCE // (4 if stream else 1))
            pipe.send("cpu")
            before = pipe.recv()
            await asyncio.gather(*(client(port, request, end, each) for _ in range(AT_ONCE)))
            pipe.send("cpu")
            spent = (pipe.recv() - before) / (each * AT_ONCE) * 1e6
            best[name, stream] = min(spent, best.get((name, stream), float("inf")))
    for name, stream in rows:
        ratio = best[name, stream] / best.get(("chat", stream), best[name, stream])
        print(f"{name:10} {'stream' if stream else 'json':7} {best[name, stream]:7.1f} µs   x {ratio:.2f}")


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    profile = "--profile" in sys.argv
    only = words.pop() if profile else ""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    below = context.Process(target=upstream, args=(theirs,), daemon=True)
    below.start()
    port = ours.recv()
    serving = context.Process(target=gateway, args=(theirs, port, profile))
    serving.start()
    number = ours.recv()
    uvloop.run(measure(number, ours, int(words[0]) if words else 3200, only))
    ours.send(None)
    serving.join()
    below.terminate()


if __name__ == "__main__":
    main()
