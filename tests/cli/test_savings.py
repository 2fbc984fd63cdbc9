"""`potluck savings`: sums with the price that was avoided and the price in quality."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.app import savings
from potluck.app.savings import lines, wilson
from potluck.store.savings import Checked, Saved
from potluck.types import Saving, Target
from tests.cli.terminal import Terminal
from tests.house import house

ROWS = [Saved("cache", "groq/m", 3, 3, 1_000_000, 0), Saved("cascade", "x/y", 2, -1, 500, 500)]


def test_money_is_counted_where_a_price_is_known_and_the_rest_is_said_to_be_unknown() -> None:
    cache, cascade, together = lines(ROWS, [], lambda target: (0.5, 1.0) if target == "groq/m" else None)
    assert (cache.usd, cache.unpriced) == (0.5, 0)
    assert (cascade.usd, cascade.unpriced, cascade.requests) == (None, 1000, -1)
    assert (together.technique, together.requests, together.usd, together.unpriced) == (
        "together",
        2,
        0.5,
        1000,
    )


def test_the_price_in_quality_stands_beside_each_saving() -> None:
    [cache] = lines(ROWS[:1], [Checked("cache", 40, 38)], lambda _: None)
    assert (cache.checked, cache.agreed) == (40, 0.95)
    assert cache.interval is not None
    assert cache.interval[0] == pytest.approx(0.835, abs=0.001)  # Wilson's interval of 38 of 40
    assert cache.interval[1] == pytest.approx(0.986, abs=0.001)


@given(st.integers(1, 10_000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_an_interval_holds_the_share_and_stays_within_0_and_1(trial: tuple[int, int]) -> None:
    good, of = trial
    low, high = wilson(good, of)
    assert 0.0 <= low <= good / of + 1e-9
    assert good / of - 1e-9 <= high <= 1.0


def test_a_free_target_is_counted_at_the_lowest_list_price_of_its_model() -> None:
    free = Target("groq/gpt-oss-120b", "groq", "openai/gpt-oss-120b", "gpt-oss-120b", "")
    paid = Target("dear/m", "dear", "m", "m", "", paid=True, price_in=2.0, price_out=10.0)
    price = savings.prices({one.id: one for one in (free, paid)})
    assert price("dear/m") == (2.0, 10.0)
    known = price("groq/gpt-oss-120b")
    assert known is not None
    assert 0 < known[0] < 5
    assert known[0] <= known[1]
    assert price("nobody/no-such-model") is None


async def test_what_a_stage_spared_is_shown_by_the_command(
    tmp_path: Path,
    terminal: Terminal,
) -> None:
    async with house(terminal.home / "data", ["groq"]) as home:
        home.gateway.savings.saved([Saving("cache", requests=1, tokens_in=9, tokens_out=3, target="groq/m")])
        home.gateway.savings.checked("cache", True)
    said = await terminal.run("savings", "--json")
    [cache] = said.json()
    assert (cache["technique"], cache["requests"], cache["tokens_in"], cache["agreed"]) == (
        "cache",
        1,
        9,
        1.0,
    )
    shown = await terminal.run("savings")
    assert "cache" in shown.out
    assert "100% of 1" in shown.out


async def test_without_savings_it_says_how_to_get_some(terminal: Terminal) -> None:
    said = await terminal.run("savings")
    assert said.status == 0
    assert "stages" in said.err
