"""What a rolling restart loses under load: clients that keep their connections and never retry."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import Any

from tests.test_workers import potluck, provider, rolled

CLIENTS, ROUNDS = 16, 3


def restarted() -> dict[str, Any]:
    """All workers renewed, so many times, while so many clients ask without a pause."""
    return asyncio.run(_restarted())


async def _restarted() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        async with (
            provider(limit=10**9) as world,
            potluck(Path(home), world, limit=10**9, workers=2) as served,
        ):
            asked, lost = await rolled(served, CLIENTS, ROUNDS, signal.SIGUSR2)
    return {"requests": asked, "lost": lost, "restarts": ROUNDS, "workers": 2, "clients": CLIENTS}
