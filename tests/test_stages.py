"""Which stages a request passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from potluck import config
from potluck.app.stages import Staged
from potluck.config import Profile, Settings
from potluck.errors import ConfigError
from potluck.pipeline import Handler
from potluck.stages import ORDER
from potluck.techniques import STAGES
from potluck.types import Event, Reply, Request


class Noting:
    """A stage that writes down that it was passed."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False

    async def __call__(self, request: Request, next: Handler, /) -> Reply:
        request.trace.notes[self.name] = "passed"
        return await next(request)

    def close(self) -> None:
        self.closed = True


async def last(request: Request) -> Reply:
    return Reply.of(Event(text="said", finish="stop"))


def maker(name: str) -> Callable[[Any], Noting]:
    return lambda _: Noting(name)


def staged(settings: Settings) -> Staged:
    gateway: Any = SimpleNamespace(settings=settings)
    return Staged(gateway, last, {name: maker(name) for name in ORDER})


async def passed(handler: Staged, model: str) -> list[str]:
    request = Request(model, {})
    reply = await handler(request)
    assert [chunk.text async for chunk in reply] == ["said"]
    return list(request.trace.notes)


def test_every_stage_that_can_be_picked_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(STAGES)


async def test_the_code_orders_and_the_profile_picks() -> None:
    handler = staged(Settings(profiles={"thrifty": Profile(stages=("cascade", "cache"))}))
    assert await passed(handler, "thrifty") == ["cache", "cascade"]
    assert await passed(handler, "auto") == []


async def test_stages_for_everyone_leave_a_profile_its_own_choice() -> None:
    handler = staged(Settings(stages=("cache",), profiles={"plain": Profile()}))
    assert await passed(handler, "auto") == ["cache"]
    assert await passed(handler, "plain") == []


def test_only_stages_in_use_are_made_and_all_of_them_are_closed() -> None:
    handler = staged(Settings(stages=("context",)))
    assert list(handler.made) == ["context"]
    handler.close()
    assert getattr(handler.made["context"], "closed", False)


def test_a_stage_that_does_not_exist_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "potluck.toml"
    path.write_text('[profiles.home]\nstages = ["cahce"]\n')
    with pytest.raises(ConfigError, match=r"there is no stage 'cahce'.*cache"):
        config.load(path, {})
