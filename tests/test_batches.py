"""Files and batches over real sockets: OpenAI's own client, one owner, one result a line, whoever dies in between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
import pytest

from potluck import sim
from potluck.config import Batches
from potluck.store import batch_list, keys
from potluck.store.keys import Limits
from potluck.types import Secret, Target
from tests.house import House, error_of, house_over

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
FAST = sim.Options(tokens=2, unlimited=True, models=("stew",))


@asynccontextmanager
async def provider(options: sim.Options = FAST, **changes: Any) -> AsyncIterator[sim.World]:
    async with sim.serve({"openai": replace(options, **changes)}) as world:
        yield world


@asynccontextmanager
async def gateway(world: sim.World, data_dir: Path, **changes: Any) -> AsyncIterator[House]:
    """One with a target that nothing limits."""
    pot = Target("pot/stew", "pot", "stew", "stew", world.url("openai"), key=Secret("k"))
    async with house_over(world, data_dir, extra=(pot,), **changes) as home:
        yield home


@asynccontextmanager
async def fast(data_dir: Path, **changes: Any) -> AsyncIterator[House]:
    async with provider() as world, gateway(world, data_dir, **changes) as home:
        yield home


def line(id: str, model: str = "stew", **body: Any) -> dict[str, Any]:
    asked = {"model": model, "messages": [{"role": "user", "content": f"question {id}"}], **body}
    return {"custom_id": id, "method": "POST", "url": CHAT, "body": asked}


def jsonl(*lines: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def upload(home: House, content: bytes, purpose: str = "batch", **headers: str) -> httpx2.Response:
    return await home.client.post(
        "/v1/files", data={"purpose": purpose}, files={"file": ("in.jsonl", content)}, headers=headers
    )


async def submit(home: House, content: bytes, **fields: Any) -> dict[str, Any]:
    """A batch of these lines, as it is right after it was asked for."""
    headers = fields.pop("headers", {})
    file = (await upload(home, content, **headers)).json()["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **fields}
    made = await home.client.post("/v1/batches", json=body, headers=headers)
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


async def until(home: House, id: str, *statuses: str) -> dict[str, Any]:
    """The batch once it has come into one of these statuses."""
    async with asyncio.timeout(15):
        while True:
            found: dict[str, Any] = (await home.client.get(f"/v1/batches/{id}")).json()
            if found["status"] in statuses:
                return found
            await asyncio.sleep(0.02)


async def results(home: House, file: str | None) -> list[dict[str, Any]]:
    if file is None:
        return []
    text = (await home.client.get(f"/v1/files/{file}/content")).text
    return [json.loads(one) for one in text.splitlines()]


async def met(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not what():
            await asyncio.sleep(0.01)


async def test_openais_own_client_uploads_runs_and_downloads_a_batch(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        async with openai.AsyncOpenAI(base_url=f"{home.url}/v1", api_key="none") as client:
            content = jsonl(*(line(f"q{n}") for n in range(20)), line("bad", model="no-such-model"))
            file = await client.files.create(file=("in.jsonl", content), purpose="batch")
            assert (file.bytes, file.filename, file.purpose) == (len(content), "in.jsonl", "batch")
            assert [one.id async for one in client.files.list(purpose="batch")] == [file.id]
            batch = await client.batches.create(
                input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"of": "a test"}
            )
            assert (batch.status, batch.metadata) == ("validating", {"of": "a test"})
            await until(home, batch.id, "completed")
            done = await client.batches.retrieve(batch.id)
            assert done.request_counts is not None
            assert done.request_counts.to_dict() == {"total": 21, "completed": 20, "failed": 1}
            assert done.usage is not None
            assert done.usage.output_tokens == 40
            moments = (done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at)
            assert list(moments) == sorted(moment for moment in moments if moment is not None)
            assert done.output_file_id is not None
            assert done.error_file_id is not None
            text = (await client.files.content(done.output_file_id)).text
            assert [one.id async for one in client.batches.list()] == [batch.id]
            with pytest.raises(openai.ConflictError):
                await client.batches.cancel(batch.id)
            assert (await client.files.delete(file.id)).deleted
        rows = [json.loads(one) for one in text.splitlines()]
        assert [row["custom_id"] for row in rows] == [f"q{n}" for n in range(20)]
        assert all(row["response"]["body"]["choices"][0]["message"]["content"] for row in rows)
        [bad] = await results(home, done.error_file_id)
        assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 404)
        assert bad["response"]["body"]["error"]["code"] == "model_not_found"
        assert home.received("openai") == 20


async def test_lines_are_on_record_as_a_batch_and_its_owners(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        made = await submit(home, jsonl(line("one")))
        await until(home, made["id"], "completed")
        home.gateway.recorder.flush()
        [row] = home.gateway.views.requests()
        assert (row["surface"], row["status"], row["wish"]) == ("batch", 200, "stew")


async def test_another_client_key_sees_neither_files_nor_batches(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        connection = home.gateway.database.connect()
        texts = [keys.create(connection, name, Limits(), now=0.0)[1] for name in ("mine", "theirs")]
        connection.close()
        home.gateway.keyring.refresh()
        mine, theirs = ({"Authorization": f"Bearer {text}"} for text in texts)
        file = (await upload(home, jsonl(line("a")), **mine)).json()["id"]
        body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        assert (await home.client.post("/v1/batches", json=body, headers=theirs)).status_code == 400
        batch = (await home.client.post("/v1/batches", json=body, headers=mine)).json()["id"]
        for path in (f"files/{file}", f"files/{file}/content", f"batches/{batch}"):
            assert (await home.client.get(f"/v1/{path}", headers=theirs)).status_code == 404, path
            assert (await home.client.get(f"/v1/{path}", headers=mine)).status_code == 200, path
        assert (await home.client.delete(f"/v1/files/{file}", headers=theirs)).status_code == 404
        assert (await home.client.post(f"/v1/batches/{batch}/cancel", headers=theirs)).status_code == 404
        for path in ("files", "batches"):
            assert (await home.client.get(f"/v1/{path}", headers=theirs)).json()["data"] == []
            assert len((await home.client.get(f"/v1/{path}", headers=mine)).json()["data"]) == 1


async def test_a_batch_stays_within_the_limits_of_its_owners_key(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        connection = home.gateway.database.connect()
        _, text = keys.create(connection, "small", Limits(requests_per_day=3), now=0.0)
        connection.close()
        home.gateway.keyring.refresh()
        headers = {"Authorization": f"Bearer {text}"}
        home.client.headers.update(headers)
        made = await submit(home, jsonl(*(line(str(n)) for n in range(6))))
        await met(lambda: home.received("openai") == 3)
        await home.client.post(f"/v1/batches/{made['id']}/cancel")
        done = await until(home, made["id"], "cancelled")
        assert done["request_counts"] == {"total": 6, "completed": 3, "failed": 3}
        assert home.received("openai") == 3


async def test_a_file_with_mistakes_fails_as_a_whole_and_names_the_lines(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        made = await submit(home, jsonl(line("a"), line("a"), "text"))
        failed = await until(home, made["id"], "failed")
        assert [(one["line"], one["code"]) for one in failed["errors"]["data"]] == [
            (2, "duplicate_custom_id"),
            (3, "invalid_json_line"),
        ]
        assert failed["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
        assert home.received("openai") == 0


async def test_a_cancelled_batch_ends_within_seconds_and_keeps_what_was_answered(tmp_path: Path) -> None:
    async with provider(delay=0.2) as world, gateway(world, tmp_path) as home:
        made = await submit(home, jsonl(*(line(str(n)) for n in range(200))))
        while (await home.client.get(f"/v1/batches/{made['id']}")).json()["request_counts"]["completed"] < 8:
            await asyncio.sleep(0.02)
        asked = (await home.client.post(f"/v1/batches/{made['id']}/cancel")).json()
        assert asked["status"] == "cancelling"
        async with asyncio.timeout(5):
            done = await until(home, made["id"], "cancelled")
        kept, never = (
            await results(home, done["output_file_id"]),
            await results(home, done["error_file_id"]),
        )
        assert 8 <= len(kept) == done["request_counts"]["completed"] < 200
        assert {row["custom_id"] for row in kept + never} == {str(n) for n in range(200)}
        assert len(kept + never) == 200
        assert {row["error"]["code"] for row in never} == {"batch_cancelled"}
        received = home.received("openai")
        assert received == len(kept)


async def test_past_its_deadline_a_batch_expires_and_says_so_on_every_line_left(tmp_path: Path) -> None:
    async with provider(delay=0.2) as world, gateway(world, tmp_path) as home:
        made = await submit(home, jsonl(*(line(str(n)) for n in range(100))))
        await met(lambda: home.received("openai") > 0)
        connection = home.gateway.database.connect()
        connection.write("UPDATE batches SET deadline = ?", [(home.gateway.clock.now(),)])
        connection.close()
        done = await until(home, made["id"], "expired")
        lost = await results(home, done["error_file_id"])
        assert {row["error"]["code"] for row in lost} == {"batch_expired"}
        assert len(lost) + len(await results(home, done["output_file_id"])) == 100


async def test_a_restart_in_the_middle_resumes_and_asks_nothing_twice(tmp_path: Path) -> None:
    async with provider(delay=0.05) as world:
        counts = world.provider("openai").counts
        async with gateway(world, tmp_path) as home:
            made = await submit(home, jsonl(*(line(str(n)) for n in range(60))))
            await met(lambda: counts.received >= 10)
        assert counts.received < 60
        async with gateway(world, tmp_path) as home:
            done = await until(home, made["id"], "completed")
            rows = await results(home, done["output_file_id"])
        assert [row["custom_id"] for row in rows] == [str(n) for n in range(60)]
        assert counts.received == 60


async def test_two_workers_that_share_a_store_share_the_lines(tmp_path: Path) -> None:
    async with provider(delay=0.05) as world:
        async with gateway(world, tmp_path) as one, gateway(world, tmp_path) as other:
            made = await submit(one, jsonl(*(line(str(n)) for n in range(60))))
            other.gateway.background.runner.wake()
            done = await until(other, made["id"], "completed")
            rows = await results(other, done["output_file_id"])
            assert [row["custom_id"] for row in rows] == [str(n) for n in range(60)]
            workers = {row["response"]["request_id"][:8] for row in rows}
            assert len(workers) == 2
        assert world.provider("openai").counts.received == 60


async def test_while_somebody_is_served_lines_go_one_at_a_time(tmp_path: Path) -> None:
    async with provider(delay=0.05) as world, gateway(world, tmp_path) as home:
        home.gateway.meters.open += 1  # somebody whose answer takes long
        made = await submit(home, jsonl(*(line(str(n)) for n in range(6))))
        await met(lambda: home.received("openai") == 1)
        began = time.monotonic()
        await until(home, made["id"], "completed")
        assert time.monotonic() - began >= 6 * 0.05 - 0.02
        home.gateway.meters.open -= 1


async def test_while_somebody_waits_for_room_no_line_starts(tmp_path: Path) -> None:
    waiting = [1]
    async with fast(tmp_path) as home:
        home.gateway.background.runner.turns.waiting = lambda: waiting[0]
        made = await submit(home, jsonl(line("a")))
        await until(home, made["id"], "in_progress")
        await asyncio.gather(*(home.chat("stew") for _ in range(20)))
        assert home.received("openai") == 20
        waiting[0] = 0
        await until(home, made["id"], "completed")


async def test_a_line_that_the_provider_refuses_is_answered_with_the_refusal(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        home.world.fault("openai", "content", times=-1)
        made = await submit(home, jsonl(line("refused")))
        done = await until(home, made["id"], "completed")
        [row] = await results(home, done["error_file_id"])
        assert row["response"]["status_code"] >= 400
        assert row["response"]["body"]["error"]["message"]
        assert done["request_counts"] == {"total": 1, "completed": 0, "failed": 1}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"completion_window": "a while"}, "completion_window"),
        ({"completion_window": "30d"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after"),
    ],
)
async def test_a_batch_that_cannot_be_is_refused_by_field(
    tmp_path: Path, fields: dict[str, Any], param: str
) -> None:
    async with fast(tmp_path) as home:
        file = (await upload(home, jsonl(line("a")))).json()["id"]
        body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **fields}
        refused = await home.client.post("/v1/batches", json=body)
        assert refused.status_code == 400
        assert error_of(refused)["param"] == param


async def test_uploads_that_are_none_are_refused_with_what_to_do(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        plain = await home.client.post("/v1/files", content=b"hello")
        assert (plain.status_code, "multipart/form-data" in error_of(plain)["message"]) == (400, True)
        wrong = await upload(home, b"x", purpose="fun")
        assert (wrong.status_code, error_of(wrong)["param"]) == (400, "purpose")
        cut = await home.client.post(
            "/v1/files", content=b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab',
            headers={"content-type": "multipart/form-data; boundary=x"},
        )  # fmt: skip
        assert (cut.status_code, "cut" in error_of(cut)["message"]) == (400, True)
        nothing = await home.client.post("/v1/files", files={"purpose": (None, "batch")})
        assert (nothing.status_code, error_of(nothing)["param"]) == (400, "file")
        for path in ("/v1/files/../../etc", "/v1/files/file-x/content", "/v1/batches/none", "/v1/files/a/b"):
            assert (await home.client.get(path)).status_code == 404, path
        assert (await home.client.put("/v1/files")).status_code == 405


async def test_files_of_a_client_are_bounded_and_deleting_makes_room(tmp_path: Path) -> None:
    async with fast(tmp_path, batches=Batches(max_bytes_per_client=100)) as home:
        first = await upload(home, b"x" * 60)
        assert first.status_code == 200
        full = await upload(home, b"x" * 60)
        assert (full.status_code, error_of(full)["code"]) == (413, "request_too_large")
        assert (await home.client.delete(f"/v1/files/{first.json()['id']}")).json()["deleted"]
        assert (await upload(home, b"x" * 60)).status_code == 200
        assert len(list((tmp_path / "files").iterdir())) == 1


async def test_lists_are_paged_from_the_newest_on(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        ids = [(await upload(home, b"x")).json()["id"] for _ in range(5)]
        first = (await home.client.get("/v1/files?limit=2")).json()
        assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:2:-1], True)
        rest = (await home.client.get(f"/v1/files?limit=9&after={first['last_id']}")).json()
        assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[2::-1], False)
        oldest = (await home.client.get("/v1/files?order=asc&limit=1")).json()
        assert oldest["data"][0]["id"] == ids[0]
        for query in ("limit=0", "limit=x", "order=up"):
            assert (await home.client.get(f"/v1/files?{query}")).status_code == 400, query


async def test_an_input_that_a_batch_still_reads_is_not_deleted(tmp_path: Path) -> None:
    async with provider(delay=1.0) as world, gateway(world, tmp_path) as home:
        made = await submit(home, jsonl(line("a")))
        refused = await home.client.delete(f"/v1/files/{made['input_file_id']}")
        assert refused.status_code == 409
        assert made["id"] in error_of(refused)["message"]


async def test_old_batches_and_their_files_go_with_the_records(tmp_path: Path) -> None:
    async with fast(tmp_path, keep_records_days=1) as home:
        made = await submit(home, jsonl(line("a")))
        await until(home, made["id"], "completed")
        await home.gateway.retention.looked.wait()
        (tmp_path / "pruned").unlink()
        connection = home.gateway.database.connect()
        connection.write("UPDATE batches SET at = ?", [(1.0,)])
        connection.write("UPDATE files SET at = ?", [(1.0,)])
        await home.gateway.retention.look()
        assert batch_list.find(connection, made["id"], "") is None
        assert connection.query("SELECT COUNT(*) FROM batch_answers") == [(0,)]
        connection.close()
        assert list((tmp_path / "files").iterdir()) == []


async def test_a_line_that_wants_a_stream_is_answered_with_an_error(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        made = await submit(home, jsonl(line("a", stream=True)))
        done = await until(home, made["id"], "completed")
        [row] = await results(home, done["error_file_id"])
        assert row["response"]["body"]["error"]["param"] == "stream"
