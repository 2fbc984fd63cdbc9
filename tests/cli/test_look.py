"""`potluck providers`, `quota`, `log`, `models`, `--version`, completion: what people and programs read."""

from __future__ import annotations

from pathlib import Path

from potluck import __version__, catalog
from tests.cli.terminal import Terminal
from tests.house import house


async def test_every_provider_of_the_catalog_is_in_the_json(terminal: Terminal) -> None:
    said = (await terminal.run("providers", "--json")).json()
    assert {each["id"] for each in said} == set(catalog.load())
    assert not [each["id"] for each in said if each["state"] == "open"]


async def test_a_key_opens_a_provider_and_is_shown_nowhere(terminal: Terminal) -> None:
    said = await terminal.run("providers", "--json", GROQ_API_KEY="gsk_a-secret")
    groq = next(each for each in said.json() if each["id"] == "groq")
    assert (groq["state"], groq["why"]) == ("open", "")
    assert groq["models"] > 0
    assert "a-secret" not in said.out + said.err


async def test_no_sign_up_address_is_cut_off_at_80_columns(terminal: Terminal) -> None:
    said = await terminal.run("providers", COLUMNS="80")
    asked = (await terminal.run("providers", "--json")).json()
    away = [each["signup"] for each in asked if each["state"] == "one_key_away" and len(each["signup"]) < 60]
    assert len(away) > 15
    assert [url for url in away if url not in said.out] == []
    assert max(map(len, said.out.splitlines())) <= 80


async def test_a_page_of_one_provider_has_every_number_with_basis_source_and_date(terminal: Terminal) -> None:
    said = await terminal.run("providers", "groq", COLUMNS="120")
    for text in ("1,000 req/day", "published", "2026-10-01", "https://console.groq.com/keys", "gpt-oss-120b"):
        assert text in said.out
    facts = (await terminal.run("providers", "groq", "--json")).json()
    assert facts["quota"][0]["source"] in facts["sources"]


async def test_a_tombstone_says_why_a_provider_is_gone(terminal: Terminal) -> None:
    said = await terminal.run("providers", "kluster")
    assert "shut down" in said.out
    everything = await terminal.run("providers", "--all")
    assert "kluster" in everything.out


async def test_a_provider_nobody_knows_is_refused_with_the_nearest_name(terminal: Terminal) -> None:
    said = await terminal.run("providers", "gorq")
    assert said.status == 1
    assert "groq" in said.err


async def test_quotas_come_from_the_gateway_that_runs(terminal: Terminal, tmp_path: Path) -> None:
    async with house(tmp_path / "gateway", ["groq"]) as gateway:
        await gateway.chat()
        states = (await terminal.run("quota", "--json", POTLUCK_URL=gateway.url)).json()
        shown = await terminal.run("quota", POTLUCK_URL=gateway.url, COLUMNS="80")
    assert [s["used"] for s in states if s["unit"] == "requests" and s["used"]]
    assert gateway.url in shown.err
    assert "requests/day" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


async def test_quotas_come_from_the_disk_when_no_gateway_runs(terminal: Terminal) -> None:
    said = await terminal.run("quota", GROQ_API_KEY="x")
    assert said.status == 0
    assert "No gateway runs" in said.err
    states = (await terminal.run("quota", "--json", GROQ_API_KEY="x", GEMINI_API_KEY="x")).json()
    assert {state["scope"].split("/")[0] for state in states} == {"groq", "google"}
    only = (await terminal.run("quota", "--json", "-p", "groq", GROQ_API_KEY="x", GEMINI_API_KEY="x")).json()
    assert {state["scope"].split("/")[0] for state in only} == {"groq"}


async def test_quotas_without_any_provider_say_what_to_do(terminal: Terminal) -> None:
    said = await terminal.run("quota")
    assert said.status == 0
    assert "potluck providers" in said.err


async def test_the_log_shows_what_was_served(terminal: Terminal, tmp_path: Path) -> None:
    assert "No request was recorded" in (await terminal.run("log")).err
    async with house(tmp_path / "data", ["groq"]) as gateway:
        await gateway.chat()
        gateway.gateway.recorder.flush()
        said = await terminal.run("log", COLUMNS="120")
        [row] = (await terminal.run("log", "--json")).json()
    assert "groq/" in said.out
    assert row["outcome"] == "ok"


async def test_models_are_listed_and_a_file_that_is_no_model_is_refused(terminal: Terminal) -> None:
    listed = (await terminal.run("models", "list", "--json")).json()
    assert listed["embedded"][0]["current"] is True
    (terminal.home / "broken.gguf").write_bytes(b"not a model")
    said = await terminal.run("models", "use", "broken.gguf")
    assert said.status == 1
    assert "GGUF" in said.err


async def test_the_version_is_one_line(terminal: Terminal) -> None:
    assert (await terminal.run("--version")).out == f"potluck {__version__}\n"


async def test_tab_completes_providers_and_models(terminal: Terminal) -> None:
    provider = await terminal.run(
        _POTLUCK_COMPLETE="complete_bash", COMP_WORDS="potluck providers gro", COMP_CWORD="2"
    )
    assert provider.out.split() == ["groq"]
    model = await terminal.run(
        _POTLUCK_COMPLETE="complete_bash", COMP_WORDS="potluck ask --model auto:pri", COMP_CWORD="3"
    )
    assert model.out.split() == ["auto:private"]


async def test_nothing_is_coloured_in_a_pipe(terminal: Terminal) -> None:
    said = await terminal.run("providers", "--all")
    assert "\x1b" not in said.out + said.err


async def test_an_unwritable_data_directory_is_a_sentence(terminal: Terminal) -> None:
    (terminal.home / "file").write_text("")
    said = await terminal.run("keys", "list", POTLUCK_DATA_DIR=str(terminal.home / "file" / "data"))
    assert said.status == 1
    assert "error:" in said.err


async def test_a_key_that_never_bill_keeps_out_is_told_with_what_to_do(terminal: Terminal) -> None:
    keys = {"DEEPSEEK_API_KEY": "k", "CEREBRAS_API_KEY": "k", "REQUESTY_API_KEY": "k"}
    said = {each["id"]: each for each in (await terminal.run("providers", "--json", **keys)).json()}
    assert {said[name]["state"] for name in ("deepseek", "cerebras", "requesty")} == {"kept_out"}
    assert "never_bill = false and a budget ([providers.deepseek] budget_day" in said["deepseek"]["why"]
    assert "never_bill = false" in said["cerebras"]["why"]
    assert "potluck serve" in said["requesty"]["why"]
    assert said["together"]["state"] == "paid"
    shown = await terminal.run("providers", COLUMNS="100", **keys)
    assert "You have a key, but it stays out" in shown.out
    assert "deepseek" in shown.out
