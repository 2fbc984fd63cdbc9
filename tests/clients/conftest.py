"""The real local model, once for the directory, and a gateway in front of it for each test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from potluck.local.registry import Models
from potluck.local.supervisor import LocalModel
from tests.house import House, house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalModel]:
    place = os.environ.get("POTLUCK_TEST_DATA", "~/.cache/potluck-tests")
    models = Models(Path(place).expanduser())
    model = await models.ready()
    async with LocalModel(model, await models.embedder(), context=2048) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def home(tmp_path: Path, local: LocalModel) -> AsyncIterator[House]:
    async with house(tmp_path, ["groq"], extra=tuple(local.targets())) as one:
        yield one
