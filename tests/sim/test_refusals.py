"""The published words: bodies, headers and hints of the providers whose refusals a gateway has to read."""

from __future__ import annotations

from potluck import sim
from potluck.sim import Options

from .talk import Hand, at, chat, exchange, hello, spend

FAST = Options(tokens=2)


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
