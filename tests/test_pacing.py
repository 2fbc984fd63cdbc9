"""Free accounts are used at a person's pace: the arithmetic, whom it binds, and what a client sees of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import catalog
from potluck.app.pacing import rule
from potluck.config import Pacing as Manners
from potluck.config import Provider, ProviderPacing, Settings
from potluck.pacing import Pace, Pacing, Rate
from potluck.types import Secret, Target, Usage
from tests.house import House, house

PROVIDERS = catalog.load()


def target(url: str = "https://api.example.com/v1", provider: str = "groq", **more: object) -> Target:
    return Target(f"{provider}/m", provider, "m", "m", url, key=Secret("k"), **more)  # type: ignore[arg-type]


class NoHold:
    """A hold that counts how it ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def settle(self, usage: Usage, *, cut: bool = False) -> None:
        self.ended.append("settle")

    def doubt(self) -> None:
        self.ended.append("doubt")

    def release(self) -> None:
        self.ended.append("release")


@given(
    gap=st.floats(0.01, 10.0),
    burst=st.integers(1, 20),
    steps=st.lists(st.floats(0.0, 30.0), max_size=60),
)
def test_no_span_of_time_ever_holds_more_than_burst_and_rate_allow(
    gap: float, burst: int, steps: list[float]
) -> None:
    rate, now, sent = Rate(gap, burst), 1000.0, []
    for step in steps:
        now += step
        while rate.opens() <= now:
            rate.take(now)
            sent.append(now)
    for i, first in enumerate(sent):
        for j in range(i, len(sent)):
            assert j - i + 1 <= burst + (sent[j] - first) / gap + 1e-6


@given(gap=st.floats(0.01, 10.0), burst=st.integers(1, 20))
def test_after_a_pause_a_whole_burst_may_go_and_then_one_a_gap(gap: float, burst: int) -> None:
    rate, now = Rate(gap, burst), 1000.0
    for left in range(burst, 0, -1):
        assert rate.left(now) == left
        assert rate.opens() <= now
        rate.take(now)
    assert rate.left(now) == 0
    assert rate.opens() == pytest.approx(now + gap)


def test_a_place_in_flight_is_free_again_once_however_its_hold_ends() -> None:
    account = Pacing(lambda _: Pace(concurrent=2)).of(target())
    assert account is not None
    first, second = NoHold(), NoHold()
    one, two = account.take(first, 0.0), account.take(second, 0.0)
    assert account.opens(10.0) > 10.0
    one.settle(Usage())
    one.release()
    assert account.opens(10.0) <= 10.0
    two.doubt()
    assert account.flying == 0
    assert (first.ended, second.ended) == (["settle", "release"], ["doubt"])


def test_models_of_one_account_share_its_pace_and_accounts_of_one_host_share_the_hosts() -> None:
    pacing = Pacing(lambda _: Pace(gap=1.0, burst=1, per_host=1.0))
    llama, qwen = pacing.of(target()), pacing.of(target(kind="embeddings"))
    other, elsewhere = pacing.of(target(provider="x")), pacing.of(target("https://b.example/v1", "y"))
    assert llama is qwen
    assert llama is not None
    assert other is not None
    assert elsewhere is not None
    llama.take(NoHold(), 5.0)
    assert other.opens(5.0) > 5.0
    assert elsewhere.opens(5.0) <= 5.0


def test_workers_share_one_pace() -> None:
    assert Pace(0.25, 8, 8, 10.0).shared_by(4) == Pace(1.0, 2, 2, 2.5)
    assert Pace(0.25, 2, 0, 0.0).shared_by(4) == Pace(1.0, 1, 0, 0.0)


@pytest.mark.parametrize(
    ("one", "paced"),
    [
        (target(), True),
        (target("http://127.0.0.1:80/v1"), False),
        (target("http://localhost:80/v1"), False),
        (target(local=True), False),
        (target(paid=True), False),
        (target(provider="openai"), False),
    ],
)
def test_only_free_accounts_elsewhere_are_paced(one: Target, paced: bool) -> None:
    found = rule(Settings(), PROVIDERS)(one)
    assert (found is not None) is paced


def test_what_is_written_for_a_provider_binds_anywhere() -> None:
    own = {
        "groq": Provider(pacing=ProviderPacing(gap=3.0)),
        "mistral": Provider(pacing=ProviderPacing(enabled=False)),
    }
    pace = rule(Settings(providers=own), PROVIDERS)
    usual = Manners()
    assert pace(target("http://127.0.0.1:1")) == Pace(3.0, usual.burst, usual.concurrent, usual.per_host)
    assert pace(target(provider="mistral")) is None
    assert pace(target(provider="cerebras")) is not None
    assert rule(Settings(pacing=Manners(enabled=False)), PROVIDERS)(target(provider="cerebras")) is None


async def statuses(home: House, number: int, model: str = "gpt-oss-120b") -> list[tuple[int, str]]:
    answers = await asyncio.gather(*(home.chat(model, max_tokens=1) for _ in range(number)))
    return [(one.status_code, one.headers.get("x-potluck-target", "").split("/")[0]) for one in answers]


async def test_a_burst_spills_to_other_targets_first(tmp_path: Path) -> None:
    slow = ProviderPacing(gap=5.0, burst=2)
    async with house(tmp_path, ["groq", "mistral"], paced={"groq": slow, "mistral": slow}) as home:
        assert sorted(await statuses(home, 4, "auto")) == [(200, "groq")] * 2 + [(200, "mistral")] * 2


async def test_when_nothing_else_is_there_a_burst_waits_a_moment_instead_of_failing(tmp_path: Path) -> None:
    paced = {"groq": ProviderPacing(gap=0.1, burst=1)}
    async with house(tmp_path, ["groq"], paced=paced) as home:
        assert await statuses(home, 6) == [(200, "groq")] * 6
        shown = [row for row in home.gateway.views.quota() if row["label"] == "burst (our pacing)"]
        assert [(row["scope"], row["amount"], row["held"]) for row in shown] == [("groq/pacing", 1, 0)]


async def test_who_would_have_to_wait_longer_than_a_moment_is_told_when_to_come_back(tmp_path: Path) -> None:
    paced = {"groq": ProviderPacing(gap=30.0, burst=1)}
    async with house(tmp_path, ["groq"], paced=paced) as home:
        await statuses(home, 1)
        answer = await home.chat("gpt-oss-120b")
        assert answer.status_code == 429
        assert 25 < int(answer.headers["retry-after"]) <= 30
        assert home.attempts()[-1].endswith("=paced")


async def test_no_more_than_so_many_fly_at_a_time(tmp_path: Path) -> None:
    paced = {"groq": ProviderPacing(gap=0.0, concurrent=1, per_host=0.0)}
    async with house(tmp_path, ["groq"], paced=paced) as home:
        assert await statuses(home, 5) == [(200, "groq")] * 5
        accounts = list(home.gateway.pacing.accounts(home.gateway.clock.monotonic()))
        assert [(one.flying, one.concurrent) for one in accounts] == [(0, 1)]
