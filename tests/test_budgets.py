"""What a budget opens, what it takes to set one, and what never_bill keeps shut all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import config
from potluck.app.compose import inventory
from potluck.config import Provider, Settings, micro_usd
from potluck.errors import ConfigError
from tests.test_money import FILE, settings_for


@pytest.mark.parametrize("choice", [{}, {"budget_day": 0}, {"budget_day": "1", "budget_month": "0"}])
def test_without_a_budget_or_with_one_of_zero_nothing_that_charges_is_a_target(
    tmp_path: Path, choice: dict[str, Any]
) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", **choice)
    assert inventory(settings, {"DEAR_KEY": "k"}).targets == ()


def test_never_bill_is_stronger_than_any_budget(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", budget_day="5")
    assert inventory(settings, {"DEAR_KEY": "k"}).targets
    careful = msgspec.structs.replace(settings, never_bill=True)
    assert inventory(careful, {"DEAR_KEY": "k"}).targets == ()


def test_a_price_nobody_told_counts_as_the_dearest_and_the_users_word_wins(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", budget_day="5")
    (tmp_path / "providers" / "dear.toml").write_text(FILE.replace("price =", "# price ="))
    [target] = inventory(settings, {"DEAR_KEY": "k"}).targets
    assert (target.price_in, target.price_out) == (150.0, 600.0)
    told = {"dear": Provider(budget_day="5", price_in=1.0, price_out=3.0)}
    [target] = inventory(msgspec.structs.replace(settings, providers=told), {"DEAR_KEY": "k"}).targets
    assert (target.price_in, target.price_out) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("said", "micro"), [("2.50", 2_500_000), (0.1, 100_000), ("$3", 3_000_000), (7, 7_000_000), (None, None)]
)
def test_dollars_become_whole_micro_dollars(said: Any, micro: int | None) -> None:
    assert micro_usd(said) == micro


@given(st.integers(0, 10**12))
def test_every_amount_of_micro_dollars_can_be_written_down(micro: int) -> None:
    assert micro_usd(f"{micro // 1_000_000}.{micro % 1_000_000:06}") == micro


@pytest.mark.parametrize("said", ["-1", "nan", "inf", "ten", "0.0000001", ""])
def test_what_is_no_amount_of_money_refuses_to_start_and_says_where(tmp_path: Path, said: str) -> None:
    path = tmp_path / "potluck.toml"
    path.write_text(f'[providers.openai]\nbudget_month = "{said}"\n')
    with pytest.raises(ConfigError, match=r"potluck\.toml.*2"):
        config.load(path, {})


def test_a_pretend_provider_bills_nobody_whatever_the_real_one_does(tmp_path: Path) -> None:
    """`potluck serve --sim` plays with every provider it pretends, never_bill or not."""
    at_play = {"cerebras": Provider(base_url="http://127.0.0.1:9/v1")}
    settings = Settings(data_dir=str(tmp_path), providers=at_play)
    environ = {"CEREBRAS_API_KEY": "k", "SCW_SECRET_KEY": "k"}
    assert inventory(settings, environ).targets == ()
    played = inventory(msgspec.structs.replace(settings, sim=True), environ).targets
    assert {target.provider for target in played} == {"cerebras"}
