"""What is ahead of each quota, where people and Prometheus look for it."""

from pathlib import Path

from potluck.app import foresight
from potluck.store.records import Record
from tests.house import house


async def test_the_api_says_how_fast_a_quota_goes_and_when_it_returns(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as gateway:
        await gateway.chat()
        rows = (await gateway.client.get("/potluck/v1/quota")).json()
    used = [row for row in rows if row["used"] and row["label"] == "requests/day"]
    assert used
    assert all(row["per_hour"] > 0 and row["returns_at"] > 1e9 for row in used)
    idle = [row for row in rows if not row["used"]]
    assert all(row["per_hour"] == 0 and row["runs_out_at"] is None for row in idle)


async def test_prometheus_gets_seconds_until_a_quota_is_gone(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as gateway:
        await gateway.chat()
        text = (await gateway.client.get("/metrics")).text
    assert "# TYPE potluck_quota_exhaustion_seconds gauge" in text
    assert 'potluck_quota_return_seconds{scope="groq/' in text
    assert "+Inf" in text


async def test_the_hours_that_were_busy_are_learnt_from_the_records(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"]) as gateway:
        now, recorder = gateway.gateway.clock.now(), gateway.gateway.recorder
        three = now // 86_400 * 86_400 - 86_400 + 3 * 3600.0 + 60.0  # yesterday, after 3:00 UTC
        for number in range(200):
            recorder.record(Record(f"r{number}", three, "", "auto", "t", "ok", 200))
        recorder.flush()
        found = foresight.profile(gateway.gateway.database, now)
    assert max(found.hours) == found.hours[3] > 10
