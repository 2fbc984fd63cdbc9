"""Every pretend provider enforces its published quotas exactly, and says so in its published words."""

from __future__ import annotations

import pytest

from potluck import sim
from potluck.sim import Options
from potluck.sim.provider import Pretend, parse, table

from .talk import Hand, at, chat, exchange, spend

FAST = Options(tokens=2)
BY_REQUESTS = [
    ("google", "gemini-3.6-flash", 5, 60),
    ("google", "gemini-3.1-flash-lite", 15, 60),
    ("groq", "openai/gpt-oss-120b", 30, 60),
    ("openrouter", "google/gemma-4-31b-it:free", 20, 60),
    ("mistral", "mistral-large-2512", 4, 60),
    ("mistral", "mistral-small-2603", 50, 60),
    ("codestral", "codestral-latest", 30, 60),
    ("nvidia", "z-ai/glm-5.3", 40, 60),
    ("cohere", "command-a-03-2025", 20, 60),
    ("cerebras", "gpt-oss-120b", 5, 12),
    ("sambanova", "DeepSeek-V3.2", 20, 86_400),
    ("llm7", "GLM-5.3-Flash", 2, 1),
    ("hetzner", "Qwen3.8-27B", 10, 60),
    ("fireworks", "accounts/fireworks/models/kimi-k3", 10, 60),
]


@pytest.mark.parametrize(("provider", "model", "amount", "seconds"), BY_REQUESTS)
async def test_so_many_requests_pass_and_the_next_is_refused_until_the_window_moves_on(
    provider: str, model: str, amount: int, seconds: float
) -> None:
    clock = Hand()
    async with sim.serve({provider: FAST}, clock=clock) as world:
        desk = world.provider(provider)
        statuses = [(await chat(world, provider, model)).status for _ in range(amount + 1)]
        assert statuses == [200] * amount + [429]
        assert (desk.counts.accepted, desk.counts.refused, len(desk.overruns)) == (amount, 1, 1)
        clock.at += seconds - 0.001
        assert (await chat(world, provider, model)).status == 429
        clock.at += 0.002
        assert (await chat(world, provider, model)).status == 200


@pytest.mark.parametrize("name", sorted(table()))
async def test_no_counter_of_any_provider_ever_shows_more_than_its_limit(name: str) -> None:
    row = table()[name]
    model = next((m.id for m in row.models.values() if m.task == "chat" and m.id != "*"), "some-model")
    async with sim.serve({name: FAST}, clock=Hand()) as world:
        for _ in range(45):
            assert (await chat(world, name, model)).status in (200, 402, 429)
        for quota in world.provider(name).gate.state().values():
            assert quota["peak"] <= quota["limit"]


@pytest.mark.parametrize("day", [1, 8], ids=["the day the clocks go back", "a week later"])
async def test_googles_day_ends_at_midnight_in_los_angeles(day: int) -> None:
    clock = Hand(at("America/Los_Angeles", 2026, 11, day, 0, 0, 0))
    async with sim.serve({"google": FAST}, clock=clock) as world:
        await spend(world, "google", "gemini-3.6-flash", clock, 20)
        clock.at = at("America/Los_Angeles", 2026, 11, day, 23, 59, 59)
        refused = await chat(world, "google", "gemini-3.6-flash")
        assert refused.status == 429
        assert "PerDay" in refused.json[0]["error"]["details"][1]["violations"][0]["quotaId"]
        assert (
            await chat(world, "google", "gemini-3.5-flash")
        ).status == 200  # another model, another bucket
        clock.at = at("America/Los_Angeles", 2026, 11, day + 1, 0, 0, 0)
        assert (await chat(world, "google", "gemini-3.6-flash")).status == 200


async def test_cloudflare_refuses_when_the_days_neurons_are_gone() -> None:
    """llama-3.3-70b costs 204,805 neurons a million output tokens: 50 calls of about 1,000 tokens."""
    clock = Hand(at("UTC", 2026, 10, 1, 12, 0, 0))
    async with sim.serve({"cloudflare": Options(tokens=1000)}, clock=clock) as world:
        model, statuses = "@cf/meta/llama-3.3-70b-instruct-fp8-fast", []
        while 429 not in statuses:
            got = await chat(world, "cloudflare", model, max_tokens=1000)
            statuses.append(got.status)
        clock.at = at("UTC", 2026, 10, 2, 0, 0, 0)
        assert (await chat(world, "cloudflare", model)).status == 200
    assert len(statuses) == 50  # 49 x 204.8 + their prompts = 10,045: the 49th call passed the limit
    assert got.json == {
        "success": False,
        "errors": [
            {
                "code": 3036,
                "message": "you have used up your daily free allocation of 10,000 neurons, please upgrade to "
                "Cloudflare's Workers Paid plan if you would like to continue usage.",
            }
        ],
        "messages": [],
        "result": None,
    }


async def test_cohere_has_a_minute_for_each_model_and_a_month_for_all() -> None:
    clock = Hand(at("UTC", 2026, 10, 31, 12, 0, 0))
    async with sim.serve({"cohere": Options(tokens=1, limits={"requests/month": 21})}, clock=clock) as world:
        first = await chat(world, "cohere", "command-a-03-2025")
        for _ in range(19):
            await chat(world, "cohere", "command-a-03-2025")
        minute = await chat(world, "cohere", "command-a-03-2025")
        assert (await chat(world, "cohere", "command-r-08-2024")).status == 200
        month = await chat(world, "cohere", "command-r-08-2024")
        clock.at = at("UTC", 2026, 11, 1, 0, 0, 0)
        assert (await chat(world, "cohere", "command-r-08-2024")).status == 200
    assert first.headers["x-trial-endpoint-call-limit"] == "20"
    assert first.headers["x-trial-endpoint-call-remaining"] == "19"
    assert set(minute.json) == {"id", "message"}
    assert "limited to 20 API calls / minute" in minute.json["message"]
    assert "limited to 21 API calls / month" in month.json["message"]


async def test_nvidia_says_almost_nothing() -> None:
    async with sim.serve({"nvidia": Options(tokens=1, limits={"requests/minute": 1})}) as world:
        await chat(world, "nvidia", "z-ai/glm-5.3")
        got = await chat(world, "nvidia", "z-ai/glm-5.3")
    assert got.json == {"status": 429, "title": "Too Many Requests"}
    assert got.headers["content-type"] == "application/problem+json"


async def test_hugging_face_wants_money_when_the_months_ten_cents_are_gone() -> None:
    async with sim.serve({"huggingface": Options(tokens=50_000)}) as world:
        got = [await chat(world, "huggingface", "openai/gpt-oss-120b") for _ in range(5)]
    assert [answer.status for answer in got] == [200, 200, 200, 200, 402]  # 4 x 50,000 x 0.60 USD a million
    assert got[-1].json["error"].startswith("You have exceeded your monthly included credits")


async def test_cerebras_drops_its_headers_when_it_refuses() -> None:
    async with sim.serve({"cerebras": FAST}, clock=Hand()) as world:
        got = [await chat(world, "cerebras", "gpt-oss-120b") for _ in range(6)]
    assert got[0].headers["x-ratelimit-remaining-requests-minute"] == "4"
    assert float(got[0].headers["x-ratelimit-reset-requests-day"]) == pytest.approx(36.0)
    assert not [name for name in got[-1].headers if "limit" in name]
    assert "error" not in got[-1].json


async def test_zai_answers_one_call_at_a_time() -> None:
    async with sim.serve({"zai": FAST}) as world:
        world.fault("zai", "stall")
        stalled = await chat(world, "zai", "glm-4.7-flash", stream=True, seconds=0.05)
        assert (stalled.status, stalled.clean) == (200, False)  # its client hung up: the place is free again
        assert (await chat(world, "zai", "glm-4.7-flash")).status == 200


async def test_ovh_gives_two_a_minute_to_strangers_and_four_hundred_to_a_key() -> None:
    async with sim.serve({"ovh": FAST}, clock=Hand()) as world:
        anonymous = [(await chat(world, "ovh", "gpt-oss-20b", key="")).status for _ in range(3)]
        known = await chat(world, "ovh", "gpt-oss-20b")
    assert anonymous == [200, 200, 429]
    assert known.headers["ratelimit-remaining"] == "399"


async def test_two_keys_of_one_account_share_and_two_accounts_do_not() -> None:
    async with sim.serve({"groq": Options(tokens=1, limits={"requests/minute": 1})}) as world:
        model = "openai/gpt-oss-20b"
        assert (await chat(world, "groq", model, key="one")).status == 200
        assert (await chat(world, "groq", model, key="two")).status == 429
        assert (await chat(world, "groq", model, key="three@another")).status == 200


async def test_output_tokens_are_reserved_at_receipt_and_corrected_at_the_end() -> None:
    async with sim.serve({"hetzner": Options(tokens=5, limits={"output_tokens/minute": 100})}) as world:
        for _ in range(3):  # 90 + 5 would not fit, if the first stood at 90
            assert (await chat(world, "hetzner", "Qwen3.8-27B", max_tokens=90)).status == 200
        quotas = world.provider("hetzner").gate.state()
    used = next(value for name, value in quotas.items() if "output_tokens" in name)
    assert used == {"limit": 100, "used": 15, "peak": 100}


async def test_limits_can_be_changed_while_it_runs() -> None:
    async with sim.serve({"openrouter": FAST}) as world:
        base = world.origin + "/_sim"
        assert (await exchange(f"{base}/openrouter/quota", body={"requests/day": 1})).json == {"ok": True}
        statuses = [(await chat(world, "openrouter", "openrouter/free")).status for _ in range(2)]
        state = await exchange(f"{base}/state", "GET")
        await exchange(f"{base}/reset")
        again = await chat(world, "openrouter", "openrouter/free")
    assert statuses == [200, 429]
    assert state.json["openrouter"]["counts"]["by_status"] == {"200": 1, "429": 1}
    assert state.json["openrouter"]["counts"]["by_model"] == {"openrouter/free": 1}
    assert state.json["openrouter"]["overruns"][0]["label"] == "requests/day"
    assert again.status == 200


def test_a_mistyped_key_in_a_table_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"unknown keys \['limit'\]"):
        parse("x", {"base": "/v1", "key_env": "X", "manner": "openai", "limit": []})
    assert isinstance(parse("x", {"base": "/v1", "key_env": "X", "manner": "openai"}), Pretend)
