"""`potluck doctor`: what it finds, against pretend providers and against hosts that do not answer."""

from __future__ import annotations

import asyncio
import json
import threading
from email.utils import formatdate
from pathlib import Path

import pytest

from potluck.cli import reach
from potluck.types import Secret, Target
from tests.cli.terminal import Terminal, http, saying
from tests.house import house
from tests.quota.redis_server import redis_server

NOW = 1_790_000_000.0


def target(url: str, provider: str = "pot", key: str = "a-key") -> Target:
    return Target(
        id=f"{provider}/stew", provider=provider, model="stew", name="stew", base_url=url, key=Secret(key)
    )


async def test_offline_it_ends_with_a_sentence_and_status_1(terminal: Terminal) -> None:
    # A proxy that refuses connections stands for no network: no name is looked up, wherever this test runs.
    said = await terminal.run("doctor", GROQ_API_KEY="gsk_secret", HTTPS_PROXY="http://127.0.0.1:1")
    assert said.status == 1
    assert "cannot be reached" in said.out
    assert "gsk_secret" not in said.out + said.err


async def test_without_keys_all_is_well_and_it_says_where_to_get_one(terminal: Terminal) -> None:
    said = await terminal.run("doctor", "--json")
    assert said.status == 0
    assert {"ok", "warn"} >= {one["level"] for one in said.json()}
    assert "potluck providers" in said.out


async def test_a_damaged_store_fails(terminal: Terminal) -> None:
    await terminal.run("keys", "create", "me")
    (terminal.home / "data" / "potluck.sqlite").write_bytes(b"x" * 8192)
    for log in terminal.home.glob("data/potluck.sqlite-*"):
        log.unlink()
    said = await terminal.run("doctor", "--json")
    assert said.status == 1
    assert [one["subject"] for one in said.json() if one["level"] == "fail"] == ["records and keys"]


async def test_a_quota_store_that_is_there_is_told_from_one_that_is_not(terminal: Terminal) -> None:
    with redis_server() as server:
        there = await terminal.run("doctor", "--json", POTLUCK_STORE=server.url)
    gone = await terminal.run("doctor", "--json", POTLUCK_STORE="redis://user:hush@127.0.0.1:1/0")
    levels = [{one["subject"]: one["level"] for one in said.json()}["quota store"] for said in (there, gone)]
    assert levels == ["ok", "fail"]
    assert (there.status, gone.status) == (0, 1)
    assert "hush" not in gone.out + gone.err


async def test_a_host_that_did_not_list_its_models_is_named_with_what_it_said(terminal: Terminal) -> None:
    lists = {"deepseek": {"address": "https://api.deepseek.com", "tried": 1.0, "problem": "HTTP 500: soup"}}
    (terminal.home / "data").mkdir()
    (terminal.home / "data" / "remote-models.json").write_text(json.dumps(lists))
    (terminal.home / "potluck.toml").write_text("never_bill = false\n[providers.deepseek]\nbudget_day = 1\n")
    environ = {"DEEPSEEK_API_KEY": "k", "HTTPS_PROXY": "http://127.0.0.1:1"}
    said = await terminal.run("doctor", "--json", "--config", "potluck.toml", **environ)
    warned = [one["says"] for one in said.json() if one["subject"] == "deepseek" and one["level"] == "warn"]
    assert warned == ["did not list its models: HTTP 500: soup"]


async def test_a_gateway_that_runs_is_seen_and_a_stranger_at_the_port_too(
    terminal: Terminal, tmp_path: Path
) -> None:
    async with house(tmp_path / "gateway", ["groq"]) as gateway:
        said = await terminal.run("doctor", POTLUCK_PORT=str(gateway.port))
    assert f"runs at {gateway.url}" in said.out
    async with saying(b"220 mail.example ESMTP\r\n") as url:
        said = await terminal.run("doctor", POTLUCK_PORT=url.rsplit(":", 1)[1])
    assert "another program listens" in said.out


async def test_a_good_key_and_a_bad_one_are_told_apart_by_a_strict_provider(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as gateway:
        good = next(t for t in gateway.gateway.pool.targets if t.provider == "groq")
        [taken] = await reach.hosts([good])
        [refused] = await reach.hosts([target(good.base_url, "groq", "wrong")])
    assert (taken.level, taken.says) == ("ok", "answers, and takes the key")
    assert refused.level == "fail"
    assert "refuses the key" in refused.says


async def test_a_list_that_is_public_proves_nothing_about_a_key() -> None:
    async with saying(http(200, b"{}", "connection: close")) as url:
        [found] = await reach.hosts([target(url)])
    assert "cannot be checked" in found.says


@pytest.mark.parametrize(("ahead", "way"), [(90.0, "90 s ahead of"), (-90.0, "90 s behind")])
async def test_a_clock_that_is_off_is_noticed(ahead: float, way: str) -> None:
    date = f"date: {formatdate(NOW, usegmt=True)}"
    async with saying(http(404, b"", date, "connection: close")) as url:
        _, skew = await reach.hosts([target(url)], now=lambda: NOW + ahead)
    assert way in skew.says


def test_a_clock_that_is_right_and_a_date_that_is_nonsense_are_no_findings() -> None:
    right = formatdate(NOW, usegmt=True).encode()
    assert list(reach.clock("pot", right, NOW + 5)) == []
    assert list(reach.clock("pot", b"tomorrow", NOW)) == []
    assert list(reach.clock("pot", b"", NOW)) == []


async def test_a_name_server_that_stays_silent_holds_nobody_up() -> None:
    never = threading.Event()
    try:
        async with asyncio.timeout(5):
            found = await reach.hosts(
                [target("https://a.example/v1", "a"), target("https://b.example/v1", "b")],
                patience=0.2,
                lookup=lambda host: never.wait(30),
                environ={},
            )
    finally:
        never.set()
    assert [one.subject for one in found] == ["internet"]


async def test_one_name_that_is_unknown_is_not_the_whole_internet() -> None:
    def unknown(host: str) -> object:
        raise OSError(-2, "Name or service not known")

    async with saying(http(404, b"", "connection: close")) as url:
        found = await reach.hosts(
            [target("https://a.example/v1", "a"), target(url, "here")], lookup=unknown, environ={}
        )
    assert [(one.subject, one.level) for one in found] == [("a", "fail"), ("here", "ok")]


@pytest.mark.parametrize(
    ("status", "bare", "level"),
    [(200, 401, "ok"), (200, 200, "ok"), (403, 0, "fail"), (429, 0, "warn"), (503, 0, "warn")],
)
def test_a_verdict_follows_from_two_statuses(status: int, bare: int, level: str) -> None:
    assert reach.verdict("pot", status, bare, keyed=True).level == level
