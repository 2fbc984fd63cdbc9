"""A crowd of clients that follows a trace: streams and JSON, and some who leave in the middle.

Rules: nobody retries and nobody hammers: a refusal is a refusal, and the next request of the trace comes when it
comes. At most `crowd` requests are open at a time; who comes when all are busy waits for one. The same seed asks for
the same things, whoever is asked.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx2

STREAMED, LEAVING = 0.3, 0.02  # shares of the requests
LONGEST = 3000  # tokens of a prompt: longer ones of the trace are cut, so that bodies stay small
PATIENCE = 20.0  # seconds
LEAVES_AFTER = 0.15  # seconds: less than an answer takes


@dataclass(frozen=True)
class Ask:
    """`at` seconds from the start."""

    at: float
    tokens_in: int
    tokens_out: int


@dataclass
class Seen:
    """What the clients saw. `left` are those who hung up: they know nothing of their answer."""

    asked: int = 0
    served: int = 0
    left: int = 0
    cut: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


def read(folder: Path) -> list[Ask]:
    """The newest of the traces there, from its start. Raises FileNotFoundError with what to do."""
    path = folder / "azure_llm_2023_code.csv.gz"
    if not path.exists():
        raise FileNotFoundError(f"There is no trace {path}. Name the folder that has it with --data.")
    rows: list[tuple[float, int, int]] = []
    with gzip.open(path, "rt") as lines:
        next(lines)
        for line in lines:
            moment, given, made = line.strip().split(",")
            rows.append((datetime.fromisoformat(moment[:26]).timestamp(), int(given), int(made)))
    first = min(row[0] for row in rows)
    return [Ask(at - first, min(given, LONGEST), made) for at, given, made in sorted(rows)]


def stretch(asks: Sequence[Ask], requests: int, seconds: float, seed: int) -> list[Ask]:
    """As many of them as are wanted, thinned evenly, in the rhythm of the trace, over so many seconds."""
    chance = random.Random(seed)
    kept = sorted(chance.sample(list(asks), min(requests, len(asks))), key=lambda ask: ask.at)
    first, span = kept[0].at, kept[-1].at - kept[0].at + 1.0
    return [Ask((ask.at - first) * seconds / span, ask.tokens_in, ask.tokens_out) for ask in kept]


async def crowd(
    url: str, model: str, headers: dict[str, str], asks: Sequence[Ask], *, clients: int, seed: int
) -> Seen:
    """Sends them all, each at its time; returns when the last has ended."""
    seen, chance, places = Seen(), random.Random(seed), asyncio.Semaphore(clients)
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with (
        httpx2.AsyncClient(timeout=PATIENCE, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):
        for ask in asks:
            await asyncio.sleep(max(0.0, began + ask.at - loop.time()))
            await places.acquire()
            stream, leaves = chance.random() < STREAMED, chance.random() < LEAVING
            body = {
                "model": model,
                "messages": [{"role": "user", "content": "word " * max(1, ask.tokens_in * 4 // 5)}],
                "max_tokens": max(16, min(ask.tokens_out, 400)),
                "stream": stream,
            }
            one = _one(client, url, headers, body, seen, leaves)
            group.create_task(one).add_done_callback(lambda _: places.release())
    return seen


async def _one(
    client: httpx2.AsyncClient, url: str, headers: dict[str, str], body: object, seen: Seen, leaves: bool
) -> None:
    seen.asked += 1
    try:
        answer = await client.post(
            url, json=body, headers=headers, timeout=LEAVES_AFTER if leaves else PATIENCE
        )
    except httpx2.TimeoutException:
        seen.left += leaves
        seen.statuses["left" if leaves else "timeout"] += 1
        return
    except httpx2.HTTPError as error:
        seen.cut += 1
        seen.statuses[type(error).__name__] += 1
        return
    seen.statuses[str(answer.status_code)] += 1
    if answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream"):
        whole = "[DONE]" in answer.text
        seen.served += whole
        seen.cut += not whole
    else:
        seen.served += answer.status_code == 200
