"""Batches over real sockets: OpenAI's own client, one result a line, whoever dies in between."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import openai
import pytest

from potluck.store import keys
from potluck.store.keys import Limits
from potluck.types import Quota, Window
from tests.batching import CHAT, fast, gateway, jsonl, line, met, provider, results, submit, until


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


async def test_a_line_that_wants_a_stream_is_answered_with_an_error(tmp_path: Path) -> None:
    async with fast(tmp_path) as home:
        made = await submit(home, jsonl(line("a", stream=True)))
        done = await until(home, made["id"], "completed")
        [row] = await results(home, done["error_file_id"])
        assert row["response"]["body"]["error"]["param"] == "stream"


async def test_what_interactive_requests_will_want_of_a_quota_is_left_until_the_deadline_nears(
    tmp_path: Path,
) -> None:
    day = Quota("pot", "requests", 20, Window("rolling", 86_400.0))
    async with provider() as world, gateway(world, tmp_path, quotas=(day,)) as home:
        made = await submit(home, jsonl(*(line(str(n)) for n in range(40))))
        turns = home.gateway.background.runner.turns
        await met(lambda: bool(turns.jobs) and turns.room(turns.jobs[made["id"]]).lines <= 0)
        await met(lambda: not home.gateway.background.runner.flying)
        assert 1 <= home.received("openai") <= 18
        assert (await home.chat("stew")).status_code == 200
        connection, now = home.gateway.database.connect(), home.gateway.clock.now()
        connection.write("UPDATE batches SET at = ?, deadline = ?", [(now - 86_400, now + 600)])
        connection.close()
        await met(lambda: home.received("openai") == 20)
        assert (await home.client.get(f"/v1/batches/{made['id']}")).json()["status"] == "in_progress"
