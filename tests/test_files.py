"""Files, and batches as they are asked for: one owner, clear refusals, nothing that stays for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from potluck.config import Batches
from potluck.store import batch_list, keys
from potluck.store.keys import Limits
from tests.batching import CHAT, fast, gateway, jsonl, line, provider, submit, until, upload
from tests.house import error_of


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
