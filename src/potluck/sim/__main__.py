"""Run pretend providers as a process: ``python -m potluck.sim --provider groq --port 0``.

Rules: one line of JSON on stdout, ``{"url": origin, "providers": {id: base URL}}``, once it listens; it then
serves until it is told to stop (SIGTERM, SIGINT).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from dataclasses import replace

from potluck.sim.answers import Options
from potluck.sim.provider import table
from potluck.sim.world import serve


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m potluck.sim", description=__doc__)
    parser.add_argument(
        "--provider", action="append", choices=sorted(table()), help="may be repeated; default all"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=20, help="length of an answer")
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between streamed events")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before the first byte")
    parser.add_argument("--unlimited", action="store_true", help="no quotas: for benchmarks")
    return parser.parse_args()


async def main(args: argparse.Namespace) -> None:
    options = replace(Options(), tokens=args.tokens, interval=args.interval, delay=args.delay)
    options = replace(options, unlimited=args.unlimited)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    wanted = dict.fromkeys(args.provider or table(), options)
    async with serve(wanted, host=args.host, port=args.port) as world:
        urls = {name: world.url(name) for name in world.names}
        print(json.dumps({"url": world.origin, "providers": urls}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(main(arguments()))
    else:
        uvloop.run(main(arguments()))
