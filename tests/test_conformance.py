"""Every provider of the catalog against its wire sample: request, answer, stream, usage, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from potluck import catalog, errors
from potluck.catalog import Provider, behaviour_of
from potluck.dialects import DIALECTS
from potluck.surfaces.openai import parse_chat
from potluck.types import Target, Trace, Usage

WIRE = Path(__file__).parent / "wire"
PROVIDERS = [each for each in catalog.load().values() if not each.retired and not each.unusable]
each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.id)

MEANS: dict[str, type[errors.TargetFailed]] = {
    **dict.fromkeys(("minute", "hour", "day", "month", "once", "never"), errors.RateLimited),
    "too_large": errors.NeverFits,
    "busy": errors.Busy,
    "no_money": errors.OutOfCredit,
    "bad_key": errors.Denied,
    "forbidden": errors.Denied,
    "gone": errors.Gone,
    "context": errors.ContextExceeded,
    "content": errors.ContentRefused,
    "bad_request": errors.NotUnderstood,
    "unavailable": errors.Unavailable,
}


def sample(provider: Provider, name: str) -> bytes:
    return (WIRE / provider.id / name).read_bytes()


def target_of(provider: Provider) -> Target:
    model = json.loads(sample(provider, "request.json"))["model"]
    return Target(
        f"{provider.id}/{model}",
        provider.id,
        model,
        model,
        "https://x.example",
        behaviour=behaviour_of(provider),
    )


@each_provider
def test_what_is_sent_is_what_this_provider_takes(provider: Provider) -> None:
    target = target_of(provider)
    request = parse_chat((WIRE / "client_request.json").read_bytes(), trace=Trace())
    sent = DIALECTS[target.behaviour.dialect].encode(request, target)
    assert msgspec.json.decode(sent) == json.loads(sample(provider, "request.json"))


@each_provider
def test_its_answer_and_usage_are_read(provider: Provider) -> None:
    raw = sample(provider, "answer.json")
    chunk, usage = DIALECTS["openai"].whole(raw, "chat")
    assert usage == Usage(58, 12, usage.cached if usage else 0)
    assert chunk.raw == raw
    assert chunk.text


@each_provider
def test_its_stream_says_the_same_and_ends_well(provider: Provider) -> None:
    target = target_of(provider)
    request = parse_chat((WIRE / "client_request.json").read_bytes(), trace=Trace()).replace(stream=True)
    reader = DIALECTS[target.behaviour.dialect].reader(request)
    chunks = [reader.feed(sample(provider, "stream.sse")), reader.end()]
    text = "".join(chunk.text for chunk in chunks if chunk)
    answer, _ = DIALECTS["openai"].whole(sample(provider, "answer.json"), "chat")
    assert text.strip() == answer.text.strip()
    assert reader.finished
    if target.behaviour.stream_usage != "none":
        assert reader.usage is not None
        assert (reader.usage.input, reader.usage.output) == (58, 12)


@each_provider
def test_each_of_its_refusals_means_what_it_means(provider: Provider) -> None:
    behaviour = behaviour_of(provider)
    for refusal in json.loads(sample(provider, "errors.json")):
        body: Any = refusal["body"]
        raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal["headers"].items()]
        failure = DIALECTS[behaviour.dialect].blame(refusal["status"], headers, raw, behaviour)
        assert type(failure) is MEANS[refusal["means"]], refusal
        if isinstance(failure, errors.RateLimited):
            assert failure.means == refusal["means"], refusal
            assert failure.unit == refusal.get("unit", failure.unit), refusal
        if "retry_after" in refusal:
            assert failure.retry_after == pytest.approx(refusal["retry_after"]), refusal
