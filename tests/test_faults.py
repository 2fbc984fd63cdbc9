"""The table of docs/faults.md, cell by cell: what the client sees, what is booked, how soon it is asked again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fault_table import ROWS, Row, strike, table
from tests.wall import ANSWER, FIRST, wall


def cells() -> list[tuple[Row, str]]:
    return [(row, phase) for row in table() for phase in row.phases()]


@pytest.mark.parametrize(
    ("row", "phase"), cells(), ids=lambda one: one if isinstance(one, str) else one.fault
)
async def test_the_table_says_what_happens(row: Row, phase: str, tmp_path: Path) -> None:
    assert await strike(row.fault, phase, tmp_path) == row.expected(phase)


def test_every_fault_of_the_table_can_be_struck_and_none_is_left_out() -> None:
    assert [row.fault for row in table()] == list(ROWS)


async def test_what_flaps_every_other_request_reaches_no_client(tmp_path: Path) -> None:
    async with wall(tmp_path) as one:
        one.arm("flapping", every=1, status=500, times=-1)
        seen = [await one.ask(stream) for stream in (False, True) * 10]
        assert set(seen) <= {"its answer", "the other's answer"}
        assert "the other's answer" in seen
        assert one.gateway.health.of(FIRST).flakiness > 0


async def test_an_answer_that_does_not_join_is_not_shown_and_the_stream_ends_as_cut(tmp_path: Path) -> None:
    async with wall(
        tmp_path, answer=lambda body: ANSWER if len(body["messages"]) == 1 else "Sure! Here:"
    ) as one:
        one.arm("cut", after=4)
        seen = await one.ask(True)
    assert seen == "its answer, then an error (upstream_interrupted) and no end"


async def test_with_tools_or_promised_json_nobody_else_goes_on(tmp_path: Path) -> None:
    tool = {
        "type": "function",
        "function": {"name": "cook", "parameters": {"type": "object", "properties": {}}},
    }
    async with wall(tmp_path) as one:
        for fields in ({"tools": [tool]}, {"response_format": {"type": "json_object"}}):
            one.arm("cut", after=4)
            seen = await one.ask(True, **fields)
            assert seen == "its answer, then an error (upstream_interrupted) and no end"


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with wall(tmp_path, continue_streams=False) as one:
        one.arm("cut", after=4)
        assert "no end" in await one.ask(True)


async def test_a_second_break_ends_the_stream_as_cut_and_both_are_booked(tmp_path: Path) -> None:
    async with wall(tmp_path) as one:
        one.arm("cut", after=4)
        one.world.fault("openai", "cut", after=9, when={"model": "stew-2"})
        seen = await one.ask(True)
        assert "no end" in seen
        assert [a["outcome"] for a in one.attempts()] == ["interrupted", "interrupted"]
        used = {state.scope: state.used for state in one.snapshot("requests")}
        assert sorted(used.values()) == [1, 1]


async def test_a_prompt_too_long_for_every_window_is_the_clients_to_shorten_also_where_no_window_is_known(
    tmp_path: Path,
) -> None:
    async with wall(tmp_path, context=0) as one:
        one.arm("context", times=-1)
        assert await one.ask(False, model=FIRST) == "400 context_length_exceeded"


async def test_a_client_that_hangs_up_is_noticed_upstream_at_once_and_settled(tmp_path: Path) -> None:
    async with wall(tmp_path, interval=0.05) as one:
        gone = await one.hang_up(after=3)
        assert gone < 0.5  # `make faults` prints the figure; here only that it is no timeout
        await one.settled()
        assert one.attempts()[0]["outcome"] == "cancelled"
        assert one.gateway.ledger.snapshot([one.first])[0].held == 0


async def test_thirty_two_at_once_are_each_answered_once_while_one_provider_breaks(tmp_path: Path) -> None:
    async with wall(tmp_path) as one:
        one.arm("cut", after=4, times=-1)
        seen = await asyncio.gather(*(one.ask(True) for _ in range(32)))
    assert set(seen) <= {"its answer, the other goes on", "the other's answer"}
