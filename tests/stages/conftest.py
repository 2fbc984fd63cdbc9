"""Caches that are closed when their test is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from potluck.stages.cache import Cache
from tests.stages.cached import Clock, Model, Opener, a_cache


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Opener]:
    """Opens caches over one file, closed at the end of the test."""
    made: list[Cache] = []

    def open(**fields: Any) -> Cache:
        made.append(a_cache(tmp_path, clock, **fields))
        return made[-1]

    yield open
    for each in made:
        each.close()


@pytest.fixture
def cache(opened: Opener) -> Cache:
    return opened()
