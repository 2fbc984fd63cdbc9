"""`potluck batches` against a gateway that runs: hand in, look, fetch, cancel."""

from __future__ import annotations

import json
from pathlib import Path

from tests.batching import fast, gateway, jsonl, line, provider, until
from tests.cli.terminal import Terminal


async def test_a_file_is_submitted_watched_and_its_answers_fetched(terminal: Terminal) -> None:
    input = terminal.home / "in.jsonl"
    input.write_bytes(jsonl(line("a"), line("b"), line("bad", model="no-such-model")))
    async with fast(terminal.home / "data") as home:
        at = {"POTLUCK_URL": home.url}
        said = await terminal.run("batches", "submit", str(input), **at)
        id = said.out.strip()
        assert said.status == 0, said.err
        await until(home, id, "completed")
        [row] = (await terminal.run("batches", "list", "--json", **at)).json()
        assert (row["id"], row["request_counts"]) == (id, {"total": 3, "completed": 2, "failed": 1})
        listed = await terminal.run("batches", "list", **at)
        assert "completed" in listed.out
        assert "3/3" in listed.out
        shown = await terminal.run("batches", "show", "--watch", id, **at)
        assert "1 failed" in shown.out
        assert "██████████" in shown.out
        out = terminal.home / "out.jsonl"
        fetched = await terminal.run("batches", "results", id, "-o", str(out), **at)
        assert "2 lines" in fetched.err
        assert [json.loads(one)["custom_id"] for one in Path(out).read_text().splitlines()] == ["a", "b"]
        failed = await terminal.run("batches", "results", "--errors", id, **at)
        assert json.loads(failed.out)["custom_id"] == "bad"


async def test_one_that_runs_is_cancelled_and_says_that_its_answers_come_later(terminal: Terminal) -> None:
    input = terminal.home / "in.jsonl"
    input.write_bytes(jsonl(*(line(str(n)) for n in range(500))))
    async with provider(delay=0.5) as world, gateway(world, terminal.home / "data") as home:
        at = {"POTLUCK_URL": home.url}
        id = (await terminal.run("batches", "submit", str(input), "--json", **at)).json()["id"]
        early = await terminal.run("batches", "results", id, **at)
        assert early.status != 0
        assert "when it has ended" in early.err
        assert (await terminal.run("batches", "cancel", id, "--json", **at)).json()["status"] == "cancelling"
        await until(home, id, "cancelled")
        again = await terminal.run("batches", "cancel", id, **at)
        assert again.status != 0
        assert "cancelled already" in again.err


async def test_what_is_wrong_with_a_file_is_shown_by_line(terminal: Terminal) -> None:
    input = terminal.home / "in.jsonl"
    input.write_bytes(jsonl(line("a"), line("a")))
    async with fast(terminal.home / "data") as home:
        at = {"POTLUCK_URL": home.url}
        id = (await terminal.run("batches", "submit", str(input), **at)).out.strip()
        await until(home, id, "failed")
        shown = await terminal.run("batches", "show", id, **at)
        assert "line 2:" in shown.out
        nothing = await terminal.run("batches", "show", "batch_none", **at)
        assert (nothing.status != 0, "no batch" in nothing.err) == (True, True)
