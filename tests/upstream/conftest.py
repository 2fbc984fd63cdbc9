"""Every test of the client runs on both loops: uvloop is what serves, asyncio what Windows has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from potluck.upstream import Upstream


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A client without proxies whose timeouts have a fine grain."""
    client = Upstream(proxies={}, sweep_every=0.01)
    yield client
    await client.close()
