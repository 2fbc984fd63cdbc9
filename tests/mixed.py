"""A gateway over one pretend host that serves a strong model and three cheap ones, all without narrow limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from potluck import sim
from potluck.app.compose import Gateway
from potluck.app.run import bind, serve_on
from potluck.config import Local, Profile, Settings
from tests.wall import PROVIDER

STRONG, CHEAP = "strong", ("cheap-1", "cheap-2", "cheap-3")
MODEL = """
[[model]]
id = "{name}"
name = "{name}"
source = "ME"
quality = {quality}
context = 100000
size_basis = "assumed"
"""


@asynccontextmanager
async def mixed_house(
    home: Path, options: sim.Options, profiles: Mapping[str, Profile], settings: Mapping[str, Any]
) -> AsyncIterator[httpx2.AsyncClient]:
    async with sim.serve({"openai": options}) as world:
        folder = home / "providers"
        folder.mkdir()
        text = PROVIDER.format(
            name="host",
            url=world.url("openai"),
            key="HOST_KEY",
            model=STRONG,
            quality=5,
            window='context = 100000\nsize_basis = "assumed"',
        ).replace('name = "stew"', f'name = "{STRONG}"')
        models = "".join(MODEL.format(name=name, quality=2) for name in CHEAP)
        (folder / "host.toml").write_text(text.replace("[sources.ME]", f"{models}\n[sources.ME]"))
        listener = bind("127.0.0.1", 0)
        made = Settings(
            data_dir=str(home),
            providers_dir=str(folder),
            port=listener.getsockname()[1],
            local=Local(enabled=False, discover=False),
            log_level="error",
            profiles=dict(profiles),
            **settings,
        )
        gateway, stop = Gateway(made, {"HOST_KEY": "k"}), asyncio.Event()
        serving = asyncio.create_task(serve_on(gateway, listener, stop))
        try:
            base = f"http://127.0.0.1:{made.port}"
            async with httpx2.AsyncClient(base_url=base, timeout=60, trust_env=False) as client:
                yield client
        finally:
            stop.set()
            await serving
            listener.close()
