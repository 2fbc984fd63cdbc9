"""Batches for tests: lines, uploads, and a gateway with a target that nothing limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx2

from potluck import sim
from potluck.types import Quota, Secret, Target
from tests.house import House, house_over

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
FAST = sim.Options(tokens=2, unlimited=True, models=("stew",))


@asynccontextmanager
async def provider(options: sim.Options = FAST, **changes: Any) -> AsyncIterator[sim.World]:
    async with sim.serve({"openai": replace(options, **changes)}) as world:
        yield world


@asynccontextmanager
async def gateway(
    world: sim.World, data_dir: Path, quotas: tuple[Quota, ...] = (), **changes: Any
) -> AsyncIterator[House]:
    """One with a single target that nothing limits but these."""
    pot = Target("pot/stew", "pot", "stew", "stew", world.url("openai"), key=Secret("k"), quotas=quotas)
    async with house_over(world, data_dir, extra=(pot,), **changes) as home:
        yield home


@asynccontextmanager
async def fast(data_dir: Path, **changes: Any) -> AsyncIterator[House]:
    async with provider() as world, gateway(world, data_dir, **changes) as home:
        yield home


def line(id: str, model: str = "stew", **body: Any) -> dict[str, Any]:
    asked = {"model": model, "messages": [{"role": "user", "content": f"question {id}"}], **body}
    return {"custom_id": id, "method": "POST", "url": CHAT, "body": asked}


def jsonl(*lines: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def upload(home: House, content: bytes, purpose: str = "batch", **headers: str) -> httpx2.Response:
    return await home.client.post(
        "/v1/files", data={"purpose": purpose}, files={"file": ("in.jsonl", content)}, headers=headers
    )


async def submit(home: House, content: bytes, **fields: Any) -> dict[str, Any]:
    """A batch of these lines, as it is right after it was asked for."""
    headers = fields.pop("headers", {})
    file = (await upload(home, content, **headers)).json()["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **fields}
    made = await home.client.post("/v1/batches", json=body, headers=headers)
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


async def until(home: House, id: str, *statuses: str) -> dict[str, Any]:
    """The batch once it has come into one of these statuses."""
    async with asyncio.timeout(15):
        while True:
            found: dict[str, Any] = (await home.client.get(f"/v1/batches/{id}")).json()
            if found["status"] in statuses:
                return found
            await asyncio.sleep(0.02)


async def results(home: House, file: str | None) -> list[dict[str, Any]]:
    if file is None:
        return []
    text = (await home.client.get(f"/v1/files/{file}/content")).text
    return [json.loads(one) for one in text.splitlines()]


async def met(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not what():
            await asyncio.sleep(0.01)
