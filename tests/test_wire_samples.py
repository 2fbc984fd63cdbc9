"""Every provider that can be used has a whole set of wire samples: what to send, what comes back, how it refuses.

The samples are written from the providers' documents, not by our code; `basis` "assumed" marks a body that
nobody published. The dialect is held against them elsewhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from potluck import catalog
from potluck.catalog import Provider
from potluck.catalog.schema import Basis, Means

WIRE = Path(__file__).parent / "wire"
CLIENT: dict[str, Any] = json.loads((WIRE / "client_request.json").read_text())
USABLE = [each for each in catalog.load().values() if not each.retired and not each.unusable]


def sample(provider: Provider, name: str) -> Any:
    return json.loads((WIRE / provider.id / name).read_text())


def test_every_sample_directory_belongs_to_a_usable_provider() -> None:
    assert {path.name for path in WIRE.iterdir() if path.is_dir()} == {each.id for each in USABLE}


def test_the_shared_request_tries_everything() -> None:
    wanted = (
        "messages temperature top_p max_tokens seed stop user logit_bias tools tool_choice response_format"
    )
    assert set(wanted.split()) | {"model", "x_custom"} == set(CLIENT)
    assert {message["role"] for message in CLIENT["messages"]} == {"system", "user", "assistant"}
    assert any(isinstance(message["content"], list) for message in CLIENT["messages"])


@pytest.mark.parametrize("provider", USABLE, ids=lambda each: each.id)
def test_the_request_is_the_clients_less_what_this_provider_refuses(provider: Provider) -> None:
    sent = sample(provider, "request.json")
    params = provider.params
    listed = {model.id: model for model in provider.model}
    if listed.keys() - {m.id for m in listed.values() if m.excluded}:
        assert listed[sent["model"]].kind == "chat"
        assert not listed[sent["model"]].excluded
    else:
        assert provider.discover or provider.category == "paid"
    renamed = {params.rename.get(name, name) for name in CLIENT if name not in params.drop}
    kept = {name for name in renamed if not params.allow or name in params.allow}
    assert set(sent) == kept | set(params.defaults)
    if not params.flatten_content:
        assert sent["messages"] == CLIENT["messages"]


@pytest.mark.parametrize("provider", USABLE, ids=lambda each: each.id)
def test_the_stream_says_what_the_answer_says(provider: Provider) -> None:
    answer = sample(provider, "answer.json")
    blocks = (WIRE / provider.id / "stream.sse").read_text().split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    events = [json.loads(block[6:]) for block in blocks[:-2] if block.startswith("data: ")]
    choices = [choice for event in events for choice in event["choices"]]
    assert (
        "".join(choice["delta"].get("content") or "" for choice in choices)
        == (answer["choices"][0]["message"]["content"])
    )
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    used = [event["usage"] for event in events if event.get("usage")]
    assert used[-1]["total_tokens"] == answer["usage"]["total_tokens"]


@pytest.mark.parametrize("provider", USABLE, ids=lambda each: each.id)
def test_every_refusal_says_what_it_means_and_who_said_so(provider: Provider) -> None:
    refusals = sample(provider, "errors.json")
    assert len(refusals) >= 2
    for each in refusals:
        assert set(each) <= {"status", "headers", "body", "means", "unit", "retry_after", "basis", "note"}
        assert 400 <= each["status"] < 600
        assert each["means"] in get_args(Means)
        assert each["basis"] in get_args(Basis)


@pytest.mark.parametrize("provider", USABLE, ids=lambda each: each.id)
def test_every_rule_of_the_catalog_has_a_refusal_that_shows_it(provider: Provider) -> None:
    shown = set()
    for each in sample(provider, "errors.json"):
        text = json.dumps(each["body"])
        for number, rule in enumerate(provider.error):
            if rule.status in (0, each["status"]) and re.search(rule.pattern, text, re.IGNORECASE):
                assert (rule.means, rule.unit) == (each["means"], each.get("unit", rule.unit))
                shown.add(number)
                break
    missing = [provider.error[number] for number in set(range(len(provider.error))) - shown]
    assert not missing, f"{provider.id}: no sample for {missing}"
