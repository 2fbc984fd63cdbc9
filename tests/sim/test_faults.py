"""Faults do what they say, seen on the raw socket: a gateway is only as honest as what it was shown."""

from __future__ import annotations

import ast
import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

import potluck.sim
from potluck import sim
from potluck.sim import Options

from .talk import chat, exchange

M = "any-model"
TEN = Options(tokens=10)


async def struck(kind: str, stream: bool = True, seconds: float = 5.0, **how: Any) -> Any:
    async with sim.serve({"openai": TEN}) as world:
        world.fault("openai", kind, **how)
        return await chat(world, "openai", M, stream=stream, seconds=seconds)


async def test_without_a_fault_a_stream_is_whole() -> None:
    async with sim.serve({"openai": TEN}) as world:
        got = await chat(world, "openai", M, stream=True)
        whole = await chat(world, "openai", M)
    assert got.clean
    assert got.events[-1] == "[DONE]"
    assert len(got.events) == 1 + 10 + 1 + 1  # role, tokens, finish, [DONE]
    assert got.text == whole.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
async def test_a_broken_stream_stops_after_so_many_events_without_an_end(kind: str) -> None:
    got = await struck(kind, after=3, seconds=0.2)
    assert got.status == 200
    assert not got.clean
    assert len(got.events) == 1 + 3


@pytest.mark.parametrize("kind", ["cut", "stall"])
async def test_a_broken_json_answer_is_shorter_than_it_promised(kind: str) -> None:
    got = await struck(kind, stream=False, seconds=0.2)
    assert got.status == 200
    assert 0 < len(got.body) < int(got.headers["content-length"])


async def test_no_first_token_means_a_head_and_then_silence() -> None:
    got = await struck("no_first_token", seconds=0.1)
    assert (got.status, got.body, got.clean) == (200, b"", False)


async def test_a_slow_head_is_nothing_at_all() -> None:
    async with sim.serve({"openai": TEN}) as world:
        world.fault("openai", "slow_head")
        got = await chat(world, "openai", M, seconds=0.05)
    assert (got.status, got.head) == (0, b"")


async def test_a_clean_cut_ends_the_body_properly_and_the_answer_not() -> None:
    got = await struck("clean_cut", after=4)
    assert got.clean
    assert "[DONE]" not in got.events
    assert len(got.events) == 1 + 4


async def test_a_missing_terminator_is_all_that_is_missing() -> None:
    got = await struck("no_done")
    assert got.clean
    assert '"finish_reason":"stop"' in got.events[-1]


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_server_error_is_the_one_that_was_asked_for(status: int) -> None:
    assert (await struck("http", status=status)).status == status


async def test_a_page_of_a_proxy_is_html() -> None:
    got = await struck("html", status=502)
    assert (got.status, got.headers["content-type"]) == (502, "text/html")


@pytest.mark.parametrize(
    ("provider", "model"),
    [("groq", "openai/gpt-oss-20b"), ("openrouter", "openrouter/free"), ("google", "gemini-3.5-flash")],
)
async def test_a_bare_429_gives_no_hint_when_to_come_back(provider: str, model: str) -> None:
    async with sim.serve({provider: TEN}) as world:
        world.fault(provider, "rate_limited", label="requests/day")
        got = await chat(world, provider, model)
        assert (got.status, world.provider(provider).overruns) == (429, [])
    assert "retry-after" not in got.headers
    for hint in (b"RetryInfo", b"try again in", b"X-RateLimit-Reset"):
        assert hint not in got.body


async def test_broken_json_is_broken() -> None:
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        (await struck("bad_json", stream=False)).json  # noqa: B018


async def test_nonsense_between_events_is_no_event() -> None:
    got = await struck("malformed_sse")
    assert b"dta {]" in got.body
    assert got.events[-1] == "[DONE]"


async def test_an_error_inside_a_stream_comes_with_a_200() -> None:
    async with sim.serve({"openrouter": TEN}) as world:
        world.fault("openrouter", "stream_error", after=2)
        got = await chat(world, "openrouter", "openrouter/free", stream=True)
    assert got.status == 200
    assert got.body.startswith(b": OPENROUTER PROCESSING\n\n")
    assert '"error":{"code":502' in got.events[-2]
    assert '"finish_reason":"error"' in got.events[-2]


@pytest.mark.parametrize(
    ("kind", "text", "finish"),
    [
        ("empty", 0, "stop"),
        ("truncated", 1, "length"),
        ("truncated_as_whole", 1, "stop"),
        ("content_filter", 1, "content_filter"),
    ],
)
async def test_an_answer_can_lack_what_was_asked_for(kind: str, text: int, finish: str) -> None:
    choice = (await struck(kind, stream=False)).json["choices"][0]
    assert (len(choice["message"]["content"].split()), choice["finish_reason"]) == (text, finish)


async def test_a_redirect_leads_where_followers_are_counted() -> None:
    async with sim.serve({"openai": TEN}) as world:
        world.fault("openai", "redirect")
        got = await chat(world, "openai", M)
        assert (got.status, world.elsewhere) == (302, 0)
        await exchange(got.headers["location"], "GET")
        assert world.elsewhere == 1


async def test_flapping_answers_and_refuses_in_turns() -> None:
    async with sim.serve({"openai": TEN}) as world:
        world.fault("openai", "flapping", times=-1, every=2)
        statuses = [(await chat(world, "openai", M)).status for _ in range(6)]
    assert statuses == [200, 200, 503, 503, 200, 200]


async def test_a_fault_strikes_only_what_it_fits_and_only_so_often() -> None:
    async with sim.serve({"openai": TEN}) as world:
        world.fault("openai", "http", times=2, when={"model": "b"})
        statuses = [(await chat(world, "openai", model)).status for model in "abbb"]
    assert statuses == [200, 503, 503, 200]


async def test_faults_can_be_armed_over_http() -> None:
    async with sim.serve({"openai": TEN}) as world:
        faults = f"{world.origin}/_sim/openai/faults"
        assert (await exchange(faults, body={"kind": "http", "status": 500})).status == 200
        assert (await exchange(faults, body={"kind": "earthquake"})).status == 400
        assert [(await chat(world, "openai", M)).status for _ in range(2)] == [500, 200]
        assert (await exchange(f"{world.origin}/_sim/state", "GET")).json["openai"]["faults"] == {"http": 1}


@pytest.mark.parametrize(
    ("provider", "model", "key", "status", "words"),
    [
        ("google", "gemini-3.5-flash", "expired-1", 400, b'"reason": "API_KEY_INVALID"'),
        ("groq", "openai/gpt-oss-20b", "wrong", 401, b'"code": "invalid_api_key"'),
        ("huggingface", "openai/gpt-oss-120b", "wrong", 401, b'{"error": "Invalid username or password."}'),
        ("mistral", "mistral-small-2603", "", 401, b"Unauthorized"),
        ("cohere", "command-a-03-2025", "wrong", 401, b'"message"'),
    ],
)
async def test_a_bad_key_is_refused_in_the_providers_words(
    provider: str, model: str, key: str, status: int, words: bytes
) -> None:
    async with sim.serve({provider: TEN}) as world:
        got = await chat(world, provider, model, key=key)
        assert world.provider(provider).gate.state() == {}  # it cost nothing
    assert got.status == status
    assert words in got.body


@pytest.mark.parametrize(
    ("provider", "model", "field", "value", "status"),
    [
        ("mistral", "mistral-small-2603", "seed", 1, 422),
        ("groq", "openai/gpt-oss-20b", "logit_bias", {}, 400),
        ("cloudflare", "@cf/openai/gpt-oss-20b", "messages", [{"role": "user", "content": None}], 400),
        ("zai", "glm-4.7-flash", "tool_choice", "required", 400),
        ("openrouter", "thinkingmachines/inkling:free", "top_p", 1, 403),
        ("openrouter", "no/such-model:free", "top_p", 1, 404),
        ("openrouter", "openai/gpt-5", "top_p", 1, 402),
    ],
)
async def test_what_a_provider_does_not_take_it_refuses(
    provider: str, model: str, field: str, value: Any, status: int
) -> None:
    async with sim.serve({provider: TEN}) as world:
        assert (await chat(world, provider, model, **{field: value})).status == status


async def test_a_client_that_hangs_up_pays_for_what_was_sent() -> None:
    async with sim.serve({"groq": Options(tokens=10, interval=0.001)}) as world:
        world.fault("groq", "stall", after=3)
        await chat(world, "groq", "openai/gpt-oss-20b", stream=True, seconds=0.1)
        async with asyncio.timeout(2):
            while world.provider("groq").counts.tokens_out == 0:
                await asyncio.sleep(0)
        assert world.provider("groq").counts.tokens_out == 3


def test_it_also_runs_as_a_process_with_the_same_urls() -> None:
    origin, process = sim.start_process(["groq"])
    try:
        url = sim.environment(origin)["groq"]["base_url"] + "/models"
        got = asyncio.run(exchange(url, "GET"))
        assert "openai/gpt-oss-120b" in {row["id"] for row in got.json["data"]}
    finally:
        process.terminate()
        assert process.wait(5) == 0
        assert isinstance(process, subprocess.Popen)
        assert process.stdout is not None
        process.stdout.close()


def test_the_pretend_providers_import_none_of_our_adapters() -> None:
    """A misreading shared by the gateway and its tests would pass unseen."""
    folder = Path(potluck.sim.__file__).parent
    ours: set[str] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                ours.add(node.module or "")
            elif isinstance(node, ast.Import):
                ours |= {alias.name for alias in node.names}
    assert {n for n in ours if n.startswith("potluck") and not n.startswith("potluck.sim")} == {
        "potluck.types"
    }
