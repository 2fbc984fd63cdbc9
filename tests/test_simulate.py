"""A day in virtual time: what comes out must add up, obey every limit, and be the same again."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck import catalog
from potluck.app import advice, simulate, workload
from potluck.app.workload import DAY, Ask
from potluck.config import Settings
from potluck.dispatch import Dispatch
from potluck.errors import Invalid
from potluck.pacing import UNPACED
from potluck.types import Quota, Target, Unit, Window

START = 1_795_507_200.0  # 2026-11-24 00:00 in Los Angeles
PACIFIC = Window("day", zone="America/Los_Angeles")
MINUTE = Window("rolling", 60)
KINDS = (PACIFIC, MINUTE, Window("rolling", DAY), Window("once"), Window("refill", 3600), Window("month"))


def target(id: str, *limits: tuple[Unit, int, Window], quality: int = 3) -> Target:
    provider, model = id.split("/")
    quotas = tuple(
        Quota(id, unit, amount, window, label=f"{unit}/{window.kind}") for unit, amount, window in limits
    )
    return Target(id, provider, model, model, "https://x.example", quotas=quotas, quality=quality)


def evenly(count: int, **facts: int) -> list[Ask]:
    return [Ask(number * DAY / count, **facts) for number in range(count)]  # type: ignore[arg-type]


SMALL = target("a/small", ("requests", 50, PACIFIC), quality=2)
GOOD = target("b/good", ("requests", 20, PACIFIC), ("requests", 5, MINUTE), quality=4)

quotas = st.tuples(st.sampled_from(["requests", "tokens"]), st.integers(1, 40), st.sampled_from(KINDS))
days = st.lists(st.floats(0, DAY - 1), min_size=1, max_size=120).map(sorted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(quotas, max_size=3), min_size=1, max_size=4), days)
def test_what_is_asked_is_served_or_refused_and_no_limit_is_ever_broken(
    limits: list[list[tuple[Unit, int, Window]]], moments: list[float]
) -> None:
    # One limit of each unit and window: the catalog joins two statements about one counter, too.
    apart = [list({(unit, w): (unit, n, w) for unit, n, w in each}.values()) for each in limits]
    scaled = [[(unit, n * (1000 if unit == "tokens" else 1), w) for unit, n, w in each] for each in apart]
    targets = [target(f"p{n}/m", *each) for n, each in enumerate(scaled)]
    seen = simulate.run(targets, [Ask(at, 700, 200) for at in moments], START)
    assert seen.served + seen.refused == seen.asked == len(moments)
    assert sum(seen.targets.values()) == seen.served
    assert sum(hour.served for hour in seen.hours) == seen.served
    assert sum(hour.refused for hour in seen.hours) == seen.refused
    assert seen.overruns == {}  # counted by somebody else: see app/virtual.py
    for each in targets:
        for limit in each.quotas:
            if limit.unit == "requests" and limit.window in (PACIFIC, Window("once")):
                assert seen.targets.get(each.id, 0) <= limit.amount


def test_a_limit_that_is_broken_would_be_seen() -> None:
    house = simulate.House([SMALL], START, Dispatch, UNPACED)
    till, _ = house.providers.tills(SMALL)[0]
    till.capacity = 10  # the provider has less than the ledger believes
    play = simulate.Play(house, START, 24, 0.0)
    for number, ask in enumerate(evenly(50)):
        play.ask(ask, number)
    assert play.report().overruns == {"a/small: requests/day": 1}  # and then the ledger has learnt
    assert play.report().served == 10


def test_the_same_seed_makes_the_same_day_and_another_one_another() -> None:
    shape = workload.shape("200 chats a day, 60% by day, 20% need quality 4")
    first, again, other = (workload.asks(shape, 1, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert simulate.run([SMALL, GOOD], first, START) == simulate.run([SMALL, GOOD], again, START)


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 200), st.integers(1, 60), st.integers(1, 60))
def test_another_key_never_serves_fewer(count: int, a: int, b: int) -> None:
    one, two = target("a/m", ("requests", a, PACIFIC)), target("b/m", ("requests", b, PACIFIC), quality=4)
    asks = evenly(count)
    assert simulate.run([one, two], asks, START).served >= simulate.run([one], asks, START).served


def test_nothing_is_left_at_midnight_while_requests_are_refused() -> None:
    seen = simulate.run([SMALL, GOOD], evenly(200), START)
    assert seen.served == 70
    assert all(stock.left == 0 for stock in seen.stocks if stock.long)
    assert seen.first_refusal > 0


def test_scarce_quality_is_kept_for_those_who_need_it_and_yet_used_up() -> None:
    plenty = target("a/plenty", ("requests", 5000, PACIFIC), quality=2)
    asks = [Ask(ask.at, quality=4 if n % 20 == 0 else 0) for n, ask in enumerate(evenly(300))]
    seen = simulate.run([plenty, GOOD], asks, START)  # 15 of 300 need what 20 a day can give
    missed = sum(quality == 4 for _, _, quality in seen.missed)
    assert missed <= 2
    assert seen.targets["b/good"] >= 18


def test_who_waits_for_a_minute_is_served_in_the_next() -> None:
    crowd = [Ask(float(n), 10, 10) for n in range(10)]
    narrow = target("a/m", ("requests", 5, MINUTE))
    assert simulate.run([narrow], crowd, START).served == 5
    patient = simulate.run([narrow], crowd, START, wait=120)
    assert (patient.served, patient.waited) == (10, 5)


def test_the_report_names_what_ran_out_first_and_what_stood_in_the_way() -> None:
    seen = simulate.run([SMALL], evenly(100), START)
    assert seen.bottleneck == "a/small: requests/day"
    assert seen.first_out is not None
    assert seen.first_out.ran_out_at == pytest.approx(DAY / 2, abs=DAY / 100)


def test_a_sentence_becomes_a_day() -> None:
    said = workload.shape(
        "300 chats a day, 2,000 tokens in, 1.5k out, 70% by day, 10% need quality 4, in bursts of 3"
    )
    assert (said.a_day, said.tokens_in, said.tokens_out) == (300, 2000, 1500)
    assert (said.by_day, said.quality, said.quality_share, said.burst) == (0.7, 4, 0.1, 3)
    asks = workload.asks(said, 2, 1)
    assert len(asks) == 600
    by_day = sum(8 <= ask.at % DAY / 3600 < 22.1 for ask in asks) / 600
    assert by_day == pytest.approx(0.7, abs=0.08)


@pytest.mark.parametrize(
    "sentence", ["", "lots of chats", "300 chats a day, 5 cats", "90000000 chats a day", "170% by day"]
)
def test_a_workload_that_is_not_understood_is_refused(sentence: str) -> None:
    with pytest.raises(Invalid):
        workload.shape(sentence)


@given(st.text(max_size=60))
def test_any_sentence_is_understood_or_refused_clearly(sentence: str) -> None:
    with contextlib.suppress(Invalid):
        assert workload.shape(sentence).a_day > 0


def test_traces_are_read_under_the_names_that_public_ones_use(tmp_path: Path) -> None:
    azure = tmp_path / "azure.csv"
    azure.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
        "2023-11-16 18:18:03.9799600,110,27\n"
    )
    assert workload.read(azure) == [Ask(0.0, 4808, 10), Ask(60.0, 110, 27)]
    lines = tmp_path / "trace.jsonl"
    rows = [{"timestamp": 500 + 1000 * n, "input_length": 7, "output_length": 3} for n in range(4)]
    lines.write_text("\n".join(map(json.dumps, rows)))
    assert [ask.at for ask in workload.read(lines, every=2)] == [0.0, 2.0]
    stretched = workload.read(lines, stretch=True)
    assert DAY * 0.7 < stretched[-1].at < DAY


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "at,tokens_in\nsoon,5\n", "at,tokens_in\n5,nan\n"])
def test_a_broken_trace_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises(Invalid, match=r"broken\.csv"):
        workload.read(path)


def test_the_best_further_key_comes_first_and_keys_that_are_there_are_not_advised() -> None:
    providers, plain = catalog.load(), Settings()
    chosen = {id: providers[id] for id in ("groq", "google", "cloudflare")}
    environ = advice.with_keys(chosen, {}, ["groq"])
    asks = workload.asks(workload.shape("400 chats a day, 3000 tokens in, 600 out"), 1, 1)
    base = simulate.run(advice.opened(chosen, plain, environ), asks, START)
    assert base.refused > 0
    found = advice.best(
        list(advice.gains(base, chosen, plain, environ, lambda targets: simulate.run(targets, asks, START)))
    )
    assert found[0].served == max(gain.served for gain in found) > 0
    assert {gain.provider for gain in found} == {"google", "cloudflare"}
    cost = advice.money(base, chosen, (1.0, 2.0))
    assert cost is not None
    assert cost.dollars == pytest.approx(sum(a + 2 * b for a, b, _ in base.missed) / 1e6)


def test_a_key_for_nobody_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Invalid, match="groq"):
        advice.with_keys(catalog.load(), {}, ["grok"])
