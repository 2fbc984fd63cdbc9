"""Waiting for room as a client sees it: a gateway on real sockets, and one pretend provider with little room."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from potluck import sim
from potluck.config import Pacing, Profile, Waiting
from potluck.store import keys
from potluck.types import Quota, Secret, Target, Window
from tests.house import House, error_of, house

SECOND = Window("rolling", 1.0)
DAY = Window("rolling", 86400.0)
ONE_BY_ONE = Window("concurrent")
WAIT = {"X-Potluck-Max-Wait": "10s"}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    options = {"openai": sim.Options(tokens=4, models=("stew",), interval=0.02)}
    profiles = {"patient": Profile(model="stew", max_wait=10.0)}
    waiting, pacing = Waiting(keep_alive=0.1), Pacing(max_delay=0.0)
    async with house(tmp_path, options, waiting=waiting, pacing=pacing, profiles=profiles) as one:
        yield one


def serve(home: House, window: Window, amount: int = 1) -> None:
    """The only target: `amount` requests in `window`."""
    unit = "concurrent" if window.kind == "concurrent" else "requests"
    quota = Quota("pot/account", unit, amount, window, label=f"{unit}/{window.kind}")  # type: ignore[arg-type]
    url = home.world.url("openai")
    stew = Target("pot/stew", "pot", "stew", "stew", url, key=Secret("k"), quotas=(quota,))
    home.gateway.use((stew,))


async def until_waiting(home: House, number: int) -> None:
    async with asyncio.timeout(5):
        while len(home.gateway.queue) != number:
            await asyncio.sleep(0.005)


async def test_who_does_not_ask_to_wait_is_refused_at_once(home: House) -> None:
    serve(home, SECOND)
    assert [(await home.chat("stew")).status_code for _ in range(2)] == [200, 429]


async def test_who_asks_to_wait_is_served_when_the_window_opens(home: House) -> None:
    serve(home, SECOND)
    await home.chat("stew")
    began = time.monotonic()
    answer = await home.chat("stew", headers=WAIT)
    assert answer.status_code == 200
    assert 0.5 < float(answer.headers["x-potluck-waited"]) <= time.monotonic() - began < 2.5
    metrics = (await home.client.get("/metrics")).text
    assert "potluck_wait_seconds_count 1.0" in metrics
    assert "potluck_requests_waiting 0.0" in metrics


async def test_a_profile_can_wait_for_its_clients(home: House) -> None:
    serve(home, SECOND)
    assert [(await home.chat("patient")).status_code for _ in range(2)] == [200, 200]


async def test_who_waits_is_served_as_soon_as_another_answer_ends(home: House) -> None:
    serve(home, ONE_BY_ONE)
    answers = await asyncio.gather(*(home.chat("stew", stream=True, headers=WAIT) for _ in range(8)))
    assert [answer.text.count("[DONE]") for answer in answers] == [1] * 8
    assert home.accepted("openai") == 8
    # Each takes about 0.1 s; were it polled at the quarter of a second the ledger says, it would be 2 s.
    assert max(waited(answer.text, answer.headers) for answer in answers) < 1.9


def waited(text: str, headers: object) -> float:
    found = re.search(r"x-potluck-waited: ([\d.]+)", text)
    return float(found[1]) if found else float(headers.get("x-potluck-waited", 0))  # type: ignore[attr-defined]


async def test_a_streaming_client_hears_comments_while_it_waits(home: House) -> None:
    serve(home, SECOND)
    await home.chat("stew")
    answer = await home.chat("stew", stream=True, headers=WAIT)
    assert answer.status_code == 200
    lines = answer.text.split("\n")
    assert lines[0] == ": waiting"
    assert answer.text.count(": waiting\n") >= 3
    assert ": x-potluck-target: pot/stew" in lines
    assert waited(answer.text, {}) > 0.5
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_what_fails_after_the_head_went_out_ends_in_an_error_and_never_in_the_terminator(
    home: House,
) -> None:
    serve(home, SECOND)
    await home.chat("stew")
    home.world.fault("openai", "http", status=500, times=-1)
    answer = await home.chat("stew", stream=True, headers=WAIT)
    assert answer.status_code == 200  # said while it waited
    events = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    assert len(events) == 1
    assert msgspec.json.decode(events[0][6:])["error"]["code"] == "all_targets_unavailable"
    assert "[DONE]" not in answer.text
    home.gateway.recorder.flush()
    assert home.gateway.views.requests()[0]["status"] == 503


async def test_a_client_that_leaves_is_never_served(home: House) -> None:
    serve(home, SECOND)
    await home.chat("stew")
    asking = asyncio.create_task(home.chat("stew", headers=WAIT))
    await until_waiting(home, 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until_waiting(home, 0)
    assert (await home.chat("stew", headers=WAIT)).status_code == 200
    assert home.received("openai") == 2


async def test_who_waits_is_refused_when_the_gateway_ends(home: House) -> None:
    serve(home, Window("rolling", 8.0))
    await home.chat("stew")
    asking = asyncio.create_task(home.chat("stew", headers=WAIT))
    await until_waiting(home, 1)
    home.gateway.queue.close()
    answer = await asyncio.wait_for(asking, 2)
    assert answer.status_code == 429
    assert "in vain" in error_of(answer)["message"]
    assert (await home.chat("stew", headers=WAIT)).status_code == 429


async def test_an_opening_later_than_the_wait_is_refused_at_once_with_a_true_retry_after(home: House) -> None:
    serve(home, DAY)
    await home.chat("stew")
    began = time.monotonic()
    answer = await home.chat("stew", headers=WAIT)
    assert time.monotonic() - began < 2
    assert answer.status_code == 429
    assert 86000 < int(answer.headers["retry-after"]) <= 86400
    assert "10 s at most" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("name", "value"), [("X-Potluck-Max-Wait", "soon"), ("X-Potluck-Priority", "urgent")]
)
async def test_a_header_that_says_nothing_is_told(home: House, name: str, value: str) -> None:
    serve(home, SECOND)
    answer = await home.chat("stew", headers={name: value})
    assert answer.status_code == 400
    assert error_of(answer)["param"] == name
    assert home.received("openai") == 0


async def test_a_key_may_not_ask_for_more_priority_than_it_has(home: House) -> None:
    serve(home, SECOND)
    connection = home.gateway.database.connect()
    _, text = keys.create(connection, "plain", keys.Limits(), now=1.0)
    connection.close()
    home.gateway.keyring.refresh()
    headers = {"authorization": f"Bearer {text}", "X-Potluck-Priority": "high"}
    answer = await home.chat("stew", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["x-potluck-priority"].startswith("normal")
