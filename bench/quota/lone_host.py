"""One host of `hosts.py`: takes what it can from a shared quota, tells the provider of every request it sends.

Prints a line for each second it lives: requests sent in it. Ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time

from bench.quota.hosts import LIMIT, WINDOW

from potluck.quota.ledger import Full, Hold, Short
from potluck.quota.remote import RemoteLedger
from potluck.quota.valkey import ValkeyStore
from potluck.types import Quota, Target, Usage, Window


class Wall:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


async def take(ledger: RemoteLedger, target: Target) -> Hold:
    try:
        return ledger.reserve(target, 0, 0)
    except Short:
        return await ledger.reserve_async(target, 0, 0)


async def main(store: str, provider: str, name: str) -> None:
    host, port = provider.split(":")
    quota = Quota("acme/key", "requests", LIMIT, Window("rolling", WINDOW))
    target = Target(id="acme/m", provider="acme", model="m", name="m", base_url="", quotas=(quota,))
    ledger, sent, ended = RemoteLedger(ValkeyStore(store), Wall(), worker=name), 0, threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

    async def flush() -> None:
        while True:
            await asyncio.sleep(0.25)
            await ledger.flush_async()

    flushing, second = asyncio.create_task(flush()), time.time()
    while not ended.is_set():
        with contextlib.suppress(Full, OSError):
            hold = await take(ledger, target)
            reader, writer = await asyncio.open_connection(host, int(port))
            await reader.read()
            writer.close()
            sent += 1
            hold.settle(Usage())
        await asyncio.sleep(0.01)
        if time.time() - second >= 1.0:
            print(sent, flush=True)
            sent, second = 0, second + 1.0
    flushing.cancel()
    await ledger.close_async()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
