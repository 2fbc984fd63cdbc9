"""`potluck keys` and `potluck init`, as processes on a data directory of their own."""

from __future__ import annotations

from pathlib import Path

from potluck import config
from tests.cli.terminal import Terminal


async def test_a_key_is_made_listed_and_revoked(terminal: Terminal) -> None:
    made = await terminal.run("keys", "create", "phone", "--requests-per-minute", "5", "--usd-per-day", "0.5")
    text = made.out.strip()
    assert text.startswith("pk-")
    assert len(text.split()) == 1

    listed = await terminal.run("keys", "list")
    assert "phone" in listed.out
    assert "5 requests/min, $0.50/day" in listed.out
    assert text not in listed.out

    revoked = (await terminal.run("keys", "revoke", "phone", "--json")).json()
    assert revoked["revoked_at"] > revoked["created_at"]
    assert "phone" not in (await terminal.run("keys", "list")).out
    assert "revoked today" in (await terminal.run("keys", "list", "--all")).out


async def test_all_limits_reach_the_store(terminal: Terminal) -> None:
    counted = ("requests-per-day", "tokens-per-minute", "tokens-per-day", "concurrency")
    words = [f"--{name}={number}" for number, name in enumerate(counted, 2)]
    words += ["--admin", "--models", "auto*, llama-*", "--priority", "low", "--json"]
    made = (await terminal.run("keys", "create", "me", *words)).json()
    assert made["limits"] == {
        "requests_per_minute": 0,
        "requests_per_day": 2,
        "tokens_per_minute": 3,
        "tokens_per_day": 4,
        "concurrency": 5,
        "usd_per_day": 0,
        "models": ["auto*", "llama-*"],
        "admin": True,
        "priority": "low",
    }
    [listed] = (await terminal.run("keys", "list", "--json")).json()
    assert listed == {key: value for key, value in made.items() if key != "key"}


async def test_a_name_is_given_once(terminal: Terminal) -> None:
    await terminal.run("keys", "create", "me")
    again = await terminal.run("keys", "create", "me")
    assert (again.status, again.out) == (1, "")
    assert "exists" in again.err


async def test_revoking_a_key_nobody_has_says_so(terminal: Terminal) -> None:
    said = await terminal.run("keys", "revoke", "nobody")
    assert said.status == 1
    assert "No working client key" in said.err


async def test_a_negative_limit_is_a_mistake_in_the_command_line(terminal: Terminal) -> None:
    assert (await terminal.run("keys", "create", "me", "--tokens-per-day", "-1")).status == 2


async def test_init_writes_a_file_that_loads_as_the_defaults(terminal: Terminal) -> None:
    said = await terminal.run("init", ".")
    assert said.status == 0
    assert "--config" in said.err
    assert config.load(terminal.home / "potluck.toml", {}) == config.load(None, {})
    assert [path.name for path in terminal.home.iterdir() if path.suffix == ".toml"] == ["potluck.toml"]


async def test_init_writes_where_every_command_reads(terminal: Terminal) -> None:
    assert (await terminal.run("init")).status == 0
    [mine] = terminal.home.rglob("potluck/potluck.toml")
    mine.write_text("prot = 5\n")
    assert "unknown key 'prot'" in (await terminal.run("keys", "list")).err


async def test_a_file_in_the_working_directory_decides_nothing_and_is_told_of(terminal: Terminal) -> None:
    """Whoever wrote a checkout could send the user's keys to an address of theirs."""
    theirs = '[providers.groq]\nbase_url = "https://evil.example/v1"\n'
    (terminal.home / "potluck.toml").write_text(theirs + 'plan = "none such"\n')
    said = await terminal.run("providers", "groq", "--json", GROQ_API_KEY="k")
    assert said.json()["state"] == "open"
    assert "is not read" in said.err
    meant = await terminal.run("providers", "groq", "--config", "potluck.toml", GROQ_API_KEY="k")
    assert "no plan" in meant.err
    assert "is not read" not in meant.err


async def test_init_leaves_a_file_that_is_there_unless_forced(terminal: Terminal, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("port = 5\n")
    refused = await terminal.run("init", str(mine))
    assert refused.status == 1
    assert mine.read_text() == "port = 5\n"
    assert (await terminal.run("init", str(mine), "--force")).status == 0
    assert mine.read_text() == config.template()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".mine")]


async def test_a_mistake_in_the_configuration_names_file_and_line(terminal: Terminal) -> None:
    (terminal.home / "potluck.toml").write_text("# mine\nprot = 5\n")
    said = await terminal.run("keys", "list", "--config", "potluck.toml")
    assert said.status == 1
    assert "potluck.toml" in said.err
    assert "2" in said.err
    assert "port" in said.err
