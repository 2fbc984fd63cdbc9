"""`potluck simulate` as a person and a program meet it: a process, its words, its JSON and its picture."""

from pathlib import Path

from tests.cli.terminal import Terminal


async def test_a_day_is_shown_as_a_chart_and_a_plan_in_words(terminal: Terminal) -> None:
    said = await terminal.run("simulate", "-k", "groq", "-w", "60 chats a day", "--quick", COLUMNS="80")
    assert said.status == 0
    assert "60 of 60 requests are served (100%)" in said.out
    assert "00 01 02" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


async def test_too_much_for_one_key_names_what_ran_out_and_which_key_would_help(terminal: Terminal) -> None:
    said = await terminal.run("simulate", "-k", "groq", "-w", "250 chats a day, 4000 tokens in, 900 out")
    assert "tokens/day" in said.out
    assert "most often in the way" in said.out
    assert "What would help most" in said.out
    assert "more served" in said.out
    assert "Or money" in said.out


async def test_the_json_is_the_same_for_the_same_seed_and_adds_up(terminal: Terminal) -> None:
    line = (
        "simulate",
        "--json",
        "--quick",
        "-k",
        "groq",
        "-k",
        "google",
        "-w",
        "80 chats a day",
        "--seed",
        "7",
    )
    first, again = (await terminal.run(*line)).json(), (await terminal.run(*line)).json()
    assert first == again
    assert first["served"] + first["refused"] == first["asked"] == 80
    assert first["overruns"] == {}


async def test_a_trace_is_replayed_and_drawn(terminal: Terminal, tmp_path: Path) -> None:
    trace, picture = tmp_path / "trace.csv", tmp_path / "day.svg"
    rows = "".join(f"{60 * n},500,100\n" for n in range(30))
    trace.write_text("at,tokens_in,tokens_out\n" + rows)
    said = await terminal.run(
        "simulate", "-k", "groq", "--quick", "-t", str(trace), "--plot", str(picture), "--json"
    )
    assert said.json()["asked"] == 30
    assert picture.read_text().startswith("<svg")


async def test_without_any_key_it_says_how_to_name_one(terminal: Terminal) -> None:
    said = await terminal.run("simulate")
    assert said.status == 1
    assert "--key" in said.err


async def test_a_workload_that_is_not_understood_is_answered_with_an_example(terminal: Terminal) -> None:
    said = await terminal.run("simulate", "-k", "groq", "-w", "some cats")
    assert said.status == 1
    assert "chats a day" in said.err
