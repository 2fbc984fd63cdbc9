"""The gateway as a client sees it: real sockets in front, strict pretend providers behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.house import House, error_of, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, ["groq", "mistral"]) as one:
        yield one


async def test_a_chat_is_answered_and_says_who_served_it_and_what_is_left(home: House) -> None:
    answer = await home.chat("groq/openai/gpt-oss-120b")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-potluck-target"] == "groq/openai/gpt-oss-120b"
    assert answer.headers["x-potluck-left"].split()[0].isdigit()
    assert answer.headers["x-potluck-request"]


async def test_a_stream_comes_as_events_and_ends_with_the_terminator(home: House) -> None:
    events = await home.events("groq/openai/gpt-oss-120b")
    assert events[-1] == "[DONE]"
    words = [msgspec.json.decode(event)["choices"][0]["delta"].get("content") for event in events[:-1]]
    assert "".join(word or "" for word in words)


async def test_usage_in_a_stream_comes_only_to_those_who_asked(home: House) -> None:
    plain = await home.events("groq/openai/gpt-oss-120b")
    asked = await home.events("groq/openai/gpt-oss-120b", stream_options={"include_usage": True})
    assert all(msgspec.json.decode(event)["choices"] for event in plain[:-1])
    assert any(msgspec.json.decode(event).get("usage") for event in asked[:-1]), asked


async def test_a_provider_that_fails_before_its_first_word_is_replaced_by_another(home: House) -> None:
    home.world.fault("groq", "http", status=500, times=-1)
    answer = await home.chat("auto")
    assert answer.status_code == 200
    assert answer.headers["x-potluck-target"].startswith("mistral/")


async def test_a_cut_stream_is_never_passed_off_as_whole(home: House) -> None:
    home.world.fault("groq", "cut", after=3)
    events = await home.events("groq/openai/gpt-oss-120b")
    assert events[-1] != "[DONE]"
    assert msgspec.json.decode(events[-1])["error"]["code"] == "upstream_interrupted"


async def test_a_clean_end_without_a_finish_reason_is_a_cut_too(home: House) -> None:
    home.world.fault("groq", "clean_cut", after=3)
    events = await home.events("groq/openai/gpt-oss-120b")
    assert msgspec.json.decode(events[-1])["error"]["code"] == "upstream_interrupted"


@pytest.mark.parametrize("kind", ["bad_json", "empty", "stream_error", "cut_before_headers", "garbage"])
async def test_what_is_broken_before_the_commit_point_never_reaches_the_client(
    home: House, kind: str
) -> None:
    home.world.fault("groq", kind, times=-1)
    answer = await home.chat("auto")
    assert answer.status_code == 200
    assert answer.headers["x-potluck-target"].startswith("mistral/")


async def test_the_provider_and_its_key_never_show_in_an_error(home: House) -> None:
    for provider in ("groq", "mistral"):
        home.world.fault(provider, "bad_key", times=-1)
    answer = await home.chat("auto")
    assert answer.status_code == 503
    assert "pretend-" not in answer.text
    assert error_of(answer)["code"] == "all_targets_unavailable"


async def test_a_redirect_is_not_followed(home: House) -> None:
    home.world.fault("groq", "redirect", times=-1)
    answer = await home.chat("groq/openai/gpt-oss-120b")
    assert answer.status_code == 503
    assert home.world.elsewhere == 0


async def test_a_spent_quota_is_answered_429_with_a_true_retry_after(home: House) -> None:
    home.world.provider("groq")
    model = "groq/openai/gpt-oss-120b"
    statuses = [(await home.chat(model, max_tokens=1)).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    last = await home.chat(model)
    assert 0 < int(last.headers["retry-after"]) <= 61
    assert error_of(last)["code"] == "quota_exhausted"
    assert home.world.provider("groq").counts.refused == 0


async def test_when_one_quota_is_spent_the_next_target_serves(home: House) -> None:
    answers = [await home.chat("auto", max_tokens=1) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {200}
    assert home.world.provider("groq").counts.refused == 0
    assert home.world.provider("mistral").counts.refused == 0


async def test_an_unknown_model_is_404_with_a_hint(home: House) -> None:
    answer = await home.chat("gpt-oss-121b")
    assert answer.status_code == 404
    assert "gpt-oss-120b" in error_of(answer)["message"]


async def test_models_lists_wishes_canonical_names_and_targets(home: House) -> None:
    names = {model["id"] for model in (await home.client.get("/v1/models")).json()["data"]}
    assert {"auto", "auto:code", "gpt-oss-120b", "groq/openai/gpt-oss-120b"} <= names
    one = await home.client.get("/v1/models/gpt-oss-120b")
    assert one.json()["id"] == "gpt-oss-120b"
    assert (await home.client.get("/v1/models/none")).status_code == 404


async def test_embeddings_are_answered(home: House) -> None:
    answer = await home.client.post(
        "/v1/embeddings", json={"model": "mistral/mistral-embed", "input": ["a", "b"]}
    )
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 2


async def test_health_ready_and_metrics_answer(home: House) -> None:
    await home.chat("auto")
    assert (await home.client.get("/health")).json() == {"status": "ok"}
    assert (await home.client.get("/ready")).json() == {"status": "ready"}
    metrics = (await home.client.get("/metrics")).text
    assert 'potluck_requests_total{status="200",surface="openai"} 1.0' in metrics
    assert "potluck_quota_left" in metrics
    assert "pretend-" not in metrics


async def test_what_was_tried_is_on_record_without_prompt_or_key(home: House) -> None:
    home.world.fault("groq", "http", status=500, times=-1)
    await home.chat("gpt-oss-120b")
    assert home.attempts()[0] == "groq/openai/gpt-oss-120b=unavailable"
    record = home.gateway.views.requests()[0]
    assert record["prompt"] is None
    assert "pretend-" not in str(record)


async def test_tools_and_response_format_reach_the_provider(home: House) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    answer = await home.chat("groq/openai/gpt-oss-120b", tools=[tool], tool_choice="required")
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405)],
)
async def test_a_wrong_path_or_method_is_told(home: House, method: str, path: str, status: int) -> None:
    answer = await home.client.request(method, path)
    assert answer.status_code == status
    error_of(answer)


async def test_a_size_that_was_refused_as_too_large_is_not_sent_there_again(home: House) -> None:
    home.world.fault("groq", "http", status=413)
    model, long = "groq/openai/gpt-oss-120b", [{"role": "user", "content": "word " * 2000}]
    refused = await home.chat(model, messages=long, max_tokens=100)
    again = await home.chat(model, messages=long, max_tokens=100)
    assert (refused.status_code, again.status_code) == (503, 503)
    assert home.attempts() == [f"{model}=full"]
    assert home.received("groq") == 1
    assert (await home.chat(model, max_tokens=100)).status_code == 200
