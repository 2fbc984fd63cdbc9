"""Quota endpoints: which daily limit binds, and what others spent, is asked and not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from potluck import sim
from potluck.app.told import one_each
from potluck.types import Target
from tests.house import HELLO, House, house

DAY = "requests/day"


def door(home: House) -> Target:
    return one_each(home.gateway.pool.targets)[0]


async def day(home: House) -> dict[str, Any]:
    """The provider's daily quota as the gateway shows it."""
    rows = (await home.client.get("/potluck/v1/quota")).json()
    found: dict[str, Any] = next(row for row in rows if row["label"] == DAY)
    return found


async def spend_elsewhere(home: House, requests: int) -> None:
    """Somebody else uses the same key."""
    told = sim.environment(home.world)["openrouter"]
    body = {"model": door(home).model, "messages": HELLO}
    for _ in range(requests):
        sent = await home.client.post(
            f"{told['base_url']}/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {told['key']}"},
        )
        assert sent.status_code == 200


async def test_an_account_that_bought_credits_has_its_larger_day_without_being_told(tmp_path: Path) -> None:
    async with house(tmp_path, ["openrouter"]) as home:
        home.world.provider("openrouter").limit({DAY: 1000}, "")
        assert (await day(home))["amount"] in (50, 1000)  # asked at the start already, or not yet
        await home.gateway.endpoints.ask(home.gateway.upstream, door(home))
        row = await day(home)
        assert (row["amount"], row["published"], row["learned"]) == (1000, 50, True)


async def test_what_somebody_else_spent_with_the_key_is_counted(tmp_path: Path) -> None:
    async with house(tmp_path, ["openrouter"]) as home:
        await spend_elsewhere(home, 7)
        await home.gateway.endpoints.ask(home.gateway.upstream, door(home))
        assert (await day(home))["left"] == 43


async def test_the_learned_day_survives_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path, ["openrouter"]) as home:
        home.world.provider("openrouter").limit({DAY: 1000}, "")
        await home.gateway.endpoints.ask(home.gateway.upstream, door(home))
    async with house(tmp_path, ["openrouter"]) as home:
        home.world.provider("openrouter").limit({DAY: 1000}, "")
        assert (await day(home))["amount"] == 1000


async def test_an_endpoint_that_fails_changes_nothing_and_is_remembered(tmp_path: Path) -> None:
    async with house(tmp_path, ["openrouter"]) as home:
        before = await day(home)
        lost = msgspec.structs.replace(door(home), base_url=f"{home.world.origin}/nowhere")
        await home.gateway.endpoints.ask(home.gateway.upstream, lost)
        assert home.gateway.endpoints.problems["openrouter"]
        assert (await day(home))["left"] == before["left"]


async def test_only_providers_with_an_endpoint_and_a_key_are_asked(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq", "openrouter"]) as home:
        assert [one.provider for one in one_each(home.gateway.pool.targets)] == ["openrouter"]
