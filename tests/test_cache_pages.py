"""What is stored can be looked at and dropped by hand, by those who may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from potluck.cli.tree import root
from potluck.store.answers import Entry
from potluck.store.cache import SqliteAnswers
from potluck.store.keys import Limits, create
from tests.house import House, error_of, house

ASK = [{"role": "user", "content": "What is the capital of France?"}]


def a_key(here: House, name: str, *, admin: bool = False) -> dict[str, str]:
    connection = here.gateway.database.connect()
    try:
        _, text = create(connection, name, Limits(admin=admin), now=1.0)
    finally:
        connection.close()
    here.gateway.keyring.refresh()
    return {"Authorization": f"Bearer {text}"}


async def test_a_client_drops_its_own_answers_and_an_admin_those_of_all(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        ann, bob, admin = a_key(here, "ann"), a_key(here, "bob"), a_key(here, "root", admin=True)
        for who in (ann, bob):
            await here.chat(messages=ASK, headers=who)
        assert (await here.client.get("/v1/cache", headers=ann)).status_code == 403
        assert (await here.client.get("/v1/cache", headers=admin)).json()["entries"] == 2
        assert (await here.client.delete("/v1/cache", headers=ann)).json() == {"dropped": 1}
        assert (await here.chat(messages=ASK, headers=bob)).headers["x-potluck-cache"] == "hit"
        assert (await here.chat(messages=ASK, headers=ann)).headers["x-potluck-cache"] == "miss"
        refused = await here.client.delete("/v1/cache?tenant=someone", headers=ann)
        assert refused.status_code == 403
        assert (await here.client.delete("/v1/cache", headers=admin)).json() == {"dropped": 2}


async def test_answers_are_dropped_by_tag_model_and_age(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        await here.chat(messages=ASK, headers={"X-Potluck-Cache-Tags": "docs, v2"})
        for query in ("tag=v1", "model=none-such", "older_than=1h", "tag=docs&older_than=7d"):
            assert (await here.client.delete(f"/v1/cache?{query}")).json() == {"dropped": 0}
        assert (await here.client.delete("/v1/cache?tag=docs&model=auto")).json() == {"dropped": 1}


@pytest.mark.parametrize("query", ["older_than=soon", "tga=docs"])
async def test_a_misspelt_wish_drops_nothing(tmp_path: Path, query: str) -> None:
    async with house(tmp_path, ["groq"], stages=("cache",)) as here:
        await here.chat(messages=ASK)
        answer = await here.client.delete(f"/v1/cache?{query}")
        assert (answer.status_code, error_of(answer)["param"]) == (400, query.split("=")[0])
        assert (await here.client.get("/v1/cache")).json()["entries"] == 1


async def test_without_a_cache_its_page_says_how_to_have_one(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as here:
        answer = await here.client.get("/v1/cache")
        assert answer.status_code == 404
        assert 'stages = ["cache"]' in error_of(answer)["message"]


def test_the_command_line_looks_and_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POTLUCK_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = SqliteAnswers(tmp_path / "cache.sqlite", max_bytes=2**20)
    for number, tag in enumerate(("docs", "code")):
        entry = Entry(bytes([number]) * 16, "t", "auto", "acme/m", 1e9, 4e9, b"{}", tags=(tag,))
        store.put(entry, 1e9)
    store.count("hit")
    store.close()
    run = CliRunner().invoke
    found = json.loads(run(root, ["cache", "stats", "--json"]).stdout)[0]
    assert (found["entries"], found["counts"]) == (2, {"hit": 1})
    assert "acme/m" in run(root, ["cache", "stats"]).stdout
    assert "1 stored" in run(root, ["cache", "clear", "--tag", "docs"]).output
    assert "0 stored" in run(root, ["cache", "clear", "--model", "other"]).output
    assert "1 stored" in run(root, ["cache", "clear", "--older-than", "1h"]).output
    assert run(root, ["cache", "clear", "--older-than", "long ago"]).exit_code != 0
