"""A whole gateway over real sockets, with pretend providers behind it, for tests that want the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from potluck import sim
from potluck.app.compose import Gateway
from potluck.app.run import bind, serve_on
from potluck.config import Local, Provider, Settings
from potluck.types import Target

HELLO: Any = [{"role": "user", "content": "hello"}]


class House:
    """`world` is the pretend providers, `gateway` what is tested, `client` speaks HTTP to it."""

    def __init__(self, world: sim.World, gateway: Gateway, client: httpx2.AsyncClient, url: str) -> None:
        self.world, self.gateway, self.client, self.url = world, gateway, client, url
        self.port = int(url.rsplit(":", 1)[1])

    async def chat(self, model: str = "auto", **fields: Any) -> httpx2.Response:
        headers = fields.pop("headers", {})
        body = {"model": model, "messages": HELLO, **fields}
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)

    async def events(self, model: str = "auto", **fields: Any) -> list[str]:
        """The data of each event of a streamed answer."""
        found = await self.chat(model, stream=True, **fields)
        return [line[6:] for line in found.text.split("\n") if line.startswith("data: ")]

    def attempts(self) -> list[str]:
        """target=outcome of every attempt of the latest request on record."""
        self.gateway.recorder.flush()
        latest = self.gateway.views.requests()[0]
        return [f"{attempt['target']}={attempt['outcome']}" for attempt in latest["attempts"]]

    def accepted(self, provider: str) -> int:
        return self.world.provider(provider).counts.accepted

    def received(self, provider: str) -> int:
        return self.world.provider(provider).counts.received


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    """The error object; its shape is part of every test that looks at it."""
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert len(error["message"]) > 20
    return error


def settings_for(world: sim.World, data_dir: Path, **changes: Any) -> tuple[Settings, dict[str, str]]:
    """Settings and environment that open the pretend providers and nothing else."""
    told = sim.environment(world)
    paced = changes.pop("paced", {})
    environ = {entry["key_env"]: entry["key"] for entry in told.values()}
    providers = {
        name: Provider(base_url=entry["base_url"], key_env=entry["key_env"], pacing=paced.get(name))
        for name, entry in told.items()
    }
    environ |= {"CLOUDFLARE_ACCOUNT_ID": "pretend-account"}
    settings = Settings(
        data_dir=str(data_dir),
        local=Local(enabled=False, discover=False),
        providers=providers,
        log_level="error",
    )
    return msgspec.structs.replace(settings, **changes), environ


@asynccontextmanager
async def house(
    data_dir: Path,
    wanted: Mapping[str, sim.Options] | list[str],
    *,
    extra: tuple[Target, ...] = (),
    **changes: Any,
) -> AsyncIterator[House]:
    """A gateway in this process, on its own port, with only the pretend providers that are wanted."""
    async with sim.serve(wanted) as world, house_over(world, data_dir, extra=extra, **changes) as made:
        yield made


@asynccontextmanager
async def house_over(
    world: sim.World, data_dir: Path, *, extra: tuple[Target, ...] = (), **changes: Any
) -> AsyncIterator[House]:
    """The same over pretend providers that outlive it: for restarts, and for several gateways."""
    settings, environ = settings_for(world, data_dir, **changes)
    listener = bind("127.0.0.1", 0)
    settings = msgspec.structs.replace(settings, port=listener.getsockname()[1])
    gateway = Gateway(settings, environ, extra=extra)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_on(gateway, listener, stop))
    url = f"http://127.0.0.1:{settings.port}"
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            yield House(world, gateway, client, url)
    finally:
        stop.set()
        await serving
        listener.close()
