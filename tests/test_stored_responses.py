"""Stored answers: whose they are, what happens when the store is away, what is never stored, what is forgotten."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from potluck import sim
from potluck.store import keys
from potluck.store import responses as store
from tests.house import House, error_of, house, house_over

FREE = {"groq": sim.Options(unlimited=True)}


async def stored(home: House, **fields: object) -> str:
    answer = await home.client.post("/v1/responses", json={"model": "auto", "input": "hello", **fields})
    assert answer.status_code == 200
    return str(answer.json()["id"])


async def test_a_store_that_is_locked_is_said_to_be_and_the_answer_comes_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        id = await stored(home)
        lock = sqlite3.connect(tmp_path / "potluck.sqlite", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        refused = await home.client.delete(f"/v1/responses/{id}")
        answered = await home.client.post("/v1/responses", json={"model": "auto", "input": "hello"})
        lock.execute("ROLLBACK")
        lock.close()
        deleted = await home.client.delete(f"/v1/responses/{id}")
    assert (refused.status_code, error_of(refused)["code"]) == (503, "store_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert answered.status_code == 200
    assert deleted.json()["deleted"] is True


async def test_another_key_neither_sees_nor_continues_nor_deletes_an_answer(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        connection = home.gateway.database.connect()
        texts = [keys.create(connection, name, keys.Limits(), now=0.0)[1] for name in ("ann", "bob")]
        connection.close()
        home.gateway.keyring.refresh()
        ann, bob = ({"authorization": f"Bearer {text}"} for text in texts)
        body = {"model": "auto", "input": "my secret"}
        id = (await home.client.post("/v1/responses", json=body, headers=ann)).json()["id"]
        seen = await home.client.get(f"/v1/responses/{id}", headers=bob)
        gone = await home.client.delete(f"/v1/responses/{id}", headers=bob)
        more = await home.client.post("/v1/responses", json={**body, "previous_response_id": id}, headers=bob)
        mine = await home.client.get(f"/v1/responses/{id}", headers=ann)
    assert (seen.status_code, gone.status_code, mine.status_code) == (404, 404, 200)
    assert error_of(more)["code"] == "previous_response_not_found"


async def test_a_second_worker_continues_what_the_first_stored(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        id = await stored(home)
        async with house_over(home.world, tmp_path) as other:
            body = {"model": "auto", "input": "and then?", "previous_response_id": id}
            assert (await other.client.post("/v1/responses", json=body)).status_code == 200
            assert (await other.client.get(f"/v1/responses/{id}")).status_code == 200
        sent = home.world.provider("groq").bodies[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]


async def test_a_cut_stream_is_not_stored(tmp_path: Path) -> None:
    async with house(tmp_path, FREE, continue_streams=False) as home:
        home.world.fault("groq", "cut", after=3)
        body = {"model": "auto", "input": "hello", "stream": True}
        await home.client.post("/v1/responses", json=body)
        connection = home.gateway.database.connect()
        assert connection.query("SELECT COUNT(*) FROM responses") == [(0,)]
        connection.close()


async def test_old_answers_are_forgotten_with_the_records(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        id = await stored(home)
        connection = home.gateway.database.connect()
        assert store.prune(connection, home.gateway.clock.now() + 1) == 1
        connection.close()
        assert (await home.client.get(f"/v1/responses/{id}")).status_code == 404
