"""Every pretend provider enforces its published quotas exactly, and says so in its published words."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from potluck import sim
from potluck.sim import Options
from potluck.sim.provider import Pretend, table

from .talk import Got, Hand, chat, exchange, hello

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


async def spend(
    world: sim.World, provider: str, model: str, clock: Hand, number: int, pause: float = 60
) -> None:
    """Use up `number` requests, slowly enough for every minute's limit."""
    for _ in range(number):
        assert (await chat(world, provider, model)).status == 200
        clock.at += pause


def at(zone: str, *when: int) -> float:
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type, misc]


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


async def test_google_advises_seconds_even_when_the_day_is_gone() -> None:
    clock = Hand(at("America/Los_Angeles", 2026, 10, 1, 0, 0, 0))
    async with sim.serve({"google": FAST}, clock=clock) as world:
        await spend(world, "google", "gemini-3.6-flash", clock, 20)
        got = await chat(world, "google", "gemini-3.6-flash")
    error = got.json[0]["error"]
    assert (got.status, error["code"], error["status"]) == (429, 429, "RESOURCE_EXHAUSTED")
    help_, failure, retry = error["details"]
    assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "23s"}
    assert failure["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
    assert failure["violations"] == [
        {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": "gemini-3.6-flash"},
            "quotaValue": "20",
        }
    ]
    assert "limit: 20, model: gemini-3.6-flash\nPlease retry in 23.47s." in error["message"]
    assert "retry-after" not in got.headers
    assert help_["@type"] == "type.googleapis.com/google.rpc.Help"


async def test_a_google_model_off_the_free_tier_has_a_limit_of_zero() -> None:
    async with sim.serve({"google": FAST}) as world:
        error = (await chat(world, "google", "gemini-2.5-pro")).json[0]["error"]
    assert error["details"][1]["violations"][0]["quotaValue"] == "0"
    assert "limit: 0, model: gemini-2.5-pro" in error["message"]


async def test_google_counts_the_prompts_tokens_of_a_minute() -> None:
    body = hello("gemma-4-31b-it") | {
        "messages": [{"role": "user", "content": "pots " * 8000}]
    }  # 10,007 tokens
    async with sim.serve({"google": FAST}, clock=Hand()) as world:
        url = f"{world.url('google')}/chat/completions"
        assert (await exchange(url, body=body)).status == 200
        refused = await exchange(url, body=body)
    violation = refused.json[0]["error"]["details"][1]["violations"][0]
    assert refused.status == 429
    assert violation["quotaId"] == "GenerateContentInputTokensPerModelPerMinute-FreeTier"


async def test_groq_writes_the_headers_it_publishes() -> None:
    async with sim.serve({"groq": FAST}, clock=Hand()) as world:
        got = await chat(world, "groq", "openai/gpt-oss-120b")
    used = got.json["usage"]["total_tokens"]
    limits = {name: value for name, value in got.headers.items() if name.startswith("x-ratelimit")}
    assert limits == {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "999",
        "x-ratelimit-reset-requests": "1m26.4s",
        "x-ratelimit-limit-tokens": "8000",
        "x-ratelimit-remaining-tokens": str(8000 - used),
        "x-ratelimit-reset-tokens": "75ms",
    }


async def test_groq_names_the_days_tokens_only_in_the_text_of_its_refusal() -> None:
    clock = Hand()
    async with sim.serve({"groq": Options(tokens=2, limits={"tokens/day": 50})}, clock=clock) as world:
        for _ in range(5):
            assert (await chat(world, "groq", "openai/gpt-oss-120b")).status == 200
        got = await chat(world, "groq", "openai/gpt-oss-120b")
    assert got.status == 429
    assert got.json == {
        "error": {
            "message": "Rate limit reached for model `openai/gpt-oss-120b` in organization `org_pretend` service tier "
            "`on_demand` on tokens per day (TPD): Limit 50, Used 50, Requested 8. Please try again in 3h50m24s. Need "
            "more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing",
            "type": "tokens",
            "code": "rate_limit_exceeded",
        }
    }
    assert got.headers["retry-after"] == str(8 * 86_400 // 50)


async def test_groq_answers_413_to_what_never_fits_its_minute() -> None:
    async with sim.serve({"groq": FAST}, clock=Hand()) as world:
        got = await chat(world, "groq", "openai/gpt-oss-120b", max_tokens=11_080)
        assert (await chat(world, "groq", "openai/gpt-oss-120b")).status == 200
    assert got.status == 413
    assert "Request too large for model `openai/gpt-oss-120b`" in got.json["error"]["message"]
    assert "tokens per minute (TPM): Limit 8000, Requested 11088" in got.json["error"]["message"]
    assert (got.json["error"]["type"], got.json["error"]["code"]) == ("tokens", "rate_limit_exceeded")


async def test_openrouters_day_is_shared_by_all_free_models_and_ends_at_midnight_utc() -> None:
    clock = Hand(at("UTC", 2026, 10, 1, 20, 0, 0))
    midnight = at("UTC", 2026, 10, 2, 0, 0, 0)
    async with sim.serve({"openrouter": FAST}, clock=clock) as world:
        await spend(world, "openrouter", "google/gemma-4-31b-it:free", clock, 25, 4)
        await spend(world, "openrouter", "cohere/north-mini-code:free", clock, 25, 4)
        key = await exchange(f"{world.url('openrouter')}/key", "GET")
        got = await chat(world, "openrouter", "poolside/laguna-s-2.1:free")
        clock.at = midnight - 0.001
        assert (await chat(world, "openrouter", "poolside/laguna-s-2.1:free")).status == 429
        clock.at = midnight
        assert (await chat(world, "openrouter", "poolside/laguna-s-2.1:free")).status == 200
    assert key.json["data"]["free_model_daily_requests"] == {"used": 50, "limit": 50, "remaining": 0}
    limits = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}
    limits["X-RateLimit-Reset"] = str(int(midnight * 1000))
    assert got.json["error"] == {
        "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",  # noqa: E501
        "code": 429,
        "metadata": {"headers": limits, "limit_source": "openrouter_free_tier_daily", "provider_name": None},
    }
    assert {name: got.headers[name.lower()] for name in limits} == limits


async def test_openrouter_counts_a_failed_call() -> None:
    async with sim.serve({"openrouter": FAST}, clock=Hand()) as world:
        world.fault("openrouter", "busy", times=3)
        for _ in range(3):
            assert (await chat(world, "openrouter", "google/gemma-4-31b-it:free")).status == 429
        key = await exchange(f"{world.url('openrouter')}/key", "GET")
    assert key.json["data"]["free_model_daily_requests"]["used"] == 3


async def test_openrouter_says_nothing_about_limits_on_success() -> None:
    async with sim.serve({"openrouter": FAST}) as world:
        got = await chat(world, "openrouter", "google/gemma-4-31b-it:free")
    assert not [name for name in got.headers if "limit" in name]


async def test_mistral_tells_the_cost_of_each_call_and_what_the_minute_has_left() -> None:
    async with sim.serve({"mistral": FAST}, clock=Hand()) as world:
        first = await chat(world, "mistral", "mistral-small-2603")
        cost = first.json["usage"]["total_tokens"]
        for _ in range(49):
            await chat(world, "mistral", "mistral-small-2603")
        refused = await chat(world, "mistral", "mistral-small-2603")
    assert first.headers["x-ratelimit-limit-req-minute"] == "50"
    assert first.headers["x-ratelimit-remaining-req-minute"] == "49"
    assert first.headers["x-ratelimit-tokens-query-cost"] == str(cost)
    assert first.headers["x-ratelimit-remaining-tokens-minute"] == str(50_000 - cost)
    assert refused.headers["x-ratelimit-remaining-req-minute"] == "0"
    assert refused.json == {
        "object": "error",
        "message": "Rate limit exceeded",
        "type": "rate_limited",
        "param": None,
        "code": "1300",
        "raw_status_code": 429,
    }


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
        state: Got = await exchange(f"{base}/state", "GET")
        await exchange(f"{base}/reset")
        again = await chat(world, "openrouter", "openrouter/free")
    assert statuses == [200, 429]
    assert state.json["openrouter"]["counts"]["by_status"] == {"200": 1, "429": 1}
    assert state.json["openrouter"]["overruns"][0]["label"] == "requests/day"
    assert again.status == 200


def test_a_mistyped_key_in_a_table_is_an_error() -> None:
    from potluck.sim.provider import parse

    with pytest.raises(TypeError, match=r"unknown keys \['limit'\]"):
        parse("x", {"base": "/v1", "key_env": "X", "manner": "openai", "limit": []})
    assert isinstance(parse("x", {"base": "/v1", "key_env": "X", "manner": "openai"}), Pretend)
