"""The shipped facts load, are sourced to the last number, and become the targets a machine may use."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from potluck import catalog
from potluck.catalog import SHIPPED, Provider
from potluck.catalog.load import read
from potluck.config import Provider as Choice
from potluck.errors import ConfigError
from potluck.strict import Document
from potluck.types import Target, Window

PROVIDERS = catalog.load()
FILES = sorted(SHIPPED.glob("*.toml"))
# Issue 2: "These must be usable with just a key".
MUST = (
    "google",
    "groq",
    "openrouter",
    "mistral",
    "codestral",
    "huggingface",
    "cerebras",
    "cloudflare",
    "nvidia",
    "cohere",
    "sambanova",
    "deepseek",
    "together",
    "fireworks",
    "ovh",
    "llm7",
    "zai",
    "siliconflow",
    "ollama_cloud",
    "hetzner",
)
# Money flows only where a budget was set.
FUNDED: dict[str, Any] = {name: Choice(budget_day="1.00") for name in catalog.load()}
LOCAL = ("ollama", "lmstudio", "llamacpp", "vllm")
TOMBSTONES = ("github_models", "ai21", "kluster")


def every_key() -> dict[str, str]:
    """An environment that holds every variable any provider asks for."""
    return {name: "abc123" for each in PROVIDERS.values() for name in (*each.key_env, *each.env)}


def all_targets(**options: Any) -> list[Target]:
    anonymous = ("ovh", "llm7", "kilo", "vlm_run")
    return catalog.targets(PROVIDERS, every_key(), anonymous=anonymous, choices=FUNDED, **options)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_is_named_for_its_provider(path: Path) -> None:
    provider = read(Document.open(path))
    assert path.stem == provider.id or path.name.startswith("_")


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.id)
def test_every_number_has_a_basis_a_source_and_a_date(provider: Provider) -> None:
    numbers = [limit.source for limit in provider.quota]
    for model in provider.model:
        numbers += [pair.source for pair in (model.neurons, model.price) if pair is not None]
        if model.context or model.max_output:
            assert model.size_basis
            numbers.append(model.size_source or model.source)
    for source in numbers:
        assert provider.sources[source].where
        assert date(2024, 1, 1) <= provider.sources[source].seen <= date(2026, 11, 23)


def test_the_providers_of_the_issue_are_usable_with_just_a_key() -> None:
    for name in MUST:
        provider = PROVIDERS[name]
        environ = dict.fromkeys((*provider.key_env[:1], *provider.env), "abc123")
        assert catalog.why_not(provider, environ, never_bill=False, choice=FUNDED[name]) == ""
        only = {name: FUNDED[name]}
        found = catalog.targets({name: provider}, environ, never_bill=False, choices=only)
        assert found or provider.discover
        assert all(target.key.reveal() == "abc123" and target.auth == "bearer" for target in found)


def test_without_a_key_nothing_leaves_the_machine() -> None:
    assert catalog.targets(PROVIDERS, {}) == []
    assert all(catalog.why_not(PROVIDERS[name], {}) == "" for name in LOCAL)


def test_an_empty_key_is_no_key() -> None:
    assert catalog.targets(PROVIDERS, {"GROQ_API_KEY": "  "}) == []


def test_an_alias_of_the_key_works_too() -> None:
    found = catalog.targets(PROVIDERS, {"GOOGLE_API_KEY": "k"})
    assert {target.provider for target in found} == {"google"}


def test_a_key_with_a_line_break_is_refused_by_name_and_never_shown() -> None:
    with pytest.raises(ConfigError, match="GROQ_API_KEY") as caught:
        catalog.targets(PROVIDERS, {"GROQ_API_KEY": "gsk_secret\nX-Evil: 1"})
    assert "secret" not in str(caught.value)


def test_an_account_id_cannot_change_the_address() -> None:
    environ = {"CLOUDFLARE_API_TOKEN": "k", "CLOUDFLARE_ACCOUNT_ID": "../../evil"}
    with pytest.raises(ConfigError, match="CLOUDFLARE_ACCOUNT_ID"):
        catalog.targets(PROVIDERS, environ)
    environ["CLOUDFLARE_ACCOUNT_ID"] = "abc"
    assert {"/accounts/abc/ai/v1" in t.base_url for t in catalog.targets(PROVIDERS, environ)} == {True}


@pytest.mark.parametrize("name", TOMBSTONES)
def test_a_tombstone_says_why_and_never_serves(name: str) -> None:
    environ = dict.fromkeys(PROVIDERS[name].key_env, "k")
    assert re.search(r"20\d\d-\d\d-\d\d", catalog.why_not(PROVIDERS[name], environ, never_bill=False))
    assert catalog.targets({name: PROVIDERS[name]}, environ, never_bill=False) == []


def test_a_provider_whose_terms_shut_us_out_is_never_used() -> None:
    assert "OpenCode client" in catalog.why_not(PROVIDERS["opencode_zen"], every_key(), never_bill=False)
    assert not [t for t in all_targets(never_bill=False) if t.provider == "opencode_zen"]


def test_excluded_models_and_other_kinds_are_never_targets() -> None:
    ids = {target.id for target in all_targets(never_bill=False)}
    assert not [id for id in ids if re.search("inkling|whisper|guard|openrouter/free", id)]


def test_never_bill_refuses_everything_that_could_cost_money() -> None:
    careful, careless = all_targets(), all_targets(never_bill=False)
    assert not [target for target in careful if target.paid]
    gained = {target.provider for target in careless} - {target.provider for target in careful}
    assert gained == {"cerebras", "dashscope", "scaleway"}  # free amounts that go over into billing
    assert "never_bill" in catalog.why_not(PROVIDERS["deepseek"], {"DEEPSEEK_API_KEY": "k"})


def test_a_billed_key_is_left_out_where_the_open_door_is_free() -> None:
    ovh, environ = {"ovh": PROVIDERS["ovh"]}, {"OVHCLOUD_API_KEY": "k"}
    assert catalog.targets(ovh, environ) == []
    opened = catalog.targets(ovh, environ, anonymous=["ovh"])
    assert {(target.auth, target.key.reveal(), target.paid) for target in opened} == {("none", "", False)}
    assert {quota.amount for quota in opened[0].quotas} == {2}
    assert "budget" in catalog.why_not(PROVIDERS["ovh"], environ, never_bill=False)
    paying = catalog.targets(ovh, environ, never_bill=False, choices={"ovh": FUNDED["ovh"]})
    assert {(target.auth, target.paid) for target in paying} == {("bearer", True)}
    assert {quota.amount for quota in paying[0].quotas} == {400, 1_000_000}


def test_with_and_without_a_key_other_limits_bind() -> None:
    llm7 = {"llm7": PROVIDERS["llm7"]}
    [stranger, *_] = catalog.targets(llm7, {}, anonymous=["llm7"])
    [known, *_] = catalog.targets(llm7, {"LLM7_API_KEY": "k"})
    assert known.model == "DeepSeek-V4-Flash-0731"  # needs a key
    assert stranger.model != known.model
    assert sorted(quota.amount for quota in stranger.quotas) == [1, 10, 60, 500_000]
    assert sorted(quota.amount for quota in known.quotas) == [2, 40, 100, 1_000_000]
    assert all(quota.scope == "llm7/ip" for quota in stranger.quotas)


def test_the_plan_a_user_is_on_replaces_the_default() -> None:
    openrouter, environ = {"openrouter": PROVIDERS["openrouter"]}, {"OPENROUTER_API_KEY": "k"}

    day = [q for q in catalog.targets(openrouter, environ)[0].quotas if q.window.kind == "day"]
    assert [quota.amount for quota in day] == [50]
    bought = catalog.targets(openrouter, environ, choices={"openrouter": Choice(plan="credits")})[0]
    assert [quota.amount for quota in bought.quotas if quota.window.kind == "day"] == [1000]
    with pytest.raises(ConfigError, match="no plan 'gold'"):
        catalog.targets(openrouter, environ, choices={"openrouter": Choice(plan="gold")})


def test_a_provider_that_does_not_exist_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="no provider 'grok'; did you mean 'groq'"):
        catalog.targets(PROVIDERS, {}, anonymous=["grok"])


def test_no_target_counts_one_thing_twice() -> None:
    for target in all_targets(never_bill=False):
        ids = [quota.id for quota in target.quotas]
        assert len(ids) == len(set(ids))
        assert all(quota.amount > 0 and quota.basis and quota.source for quota in target.quotas)


def test_scopes_say_what_is_shared() -> None:
    found = {target.id: target for target in all_targets()}
    assert {q.scope for q in found["groq/openai/gpt-oss-120b"].quotas} == {"groq/org/openai/gpt-oss-120b"}
    assert {q.scope for q in found["openrouter/google/gemma-4-31b-it:free"].quotas} == {"openrouter/account"}
    chat = found["cloudflare/@cf/openai/gpt-oss-20b"].quotas
    assert {q.scope for q in chat} == {"cloudflare/account", "cloudflare/account/chat"}
    vectors = found["cloudflare/@cf/baai/bge-m3"].quotas
    assert {q.scope for q in vectors} == {"cloudflare/account", "cloudflare/account/embeddings"}


def test_windows_are_what_the_provider_means() -> None:
    found = {target.id: target for target in all_targets(never_bill=False)}
    google = {(q.unit, q.window) for q in found["google/gemini-3.8-flash"].quotas}
    assert ("requests", Window("day", zone="America/Los_Angeles")) in google
    assert ("input_tokens", Window("rolling", 60.0)) in google  # unknown: the safe reading
    cohere = {q.window for q in found["cohere/command-a-03-2025"].quotas}
    assert Window("rolling", 31 * 86400.0) in cohere  # a month nobody dated: the longest there is
    assert Window("once") in {q.window for q in found["fireworks/accounts/fireworks/models/kimi-k3"].quotas}
    cerebras = {(q.unit, q.amount, q.window) for q in found["cerebras/gpt-oss-120b"].quotas}
    assert ("tokens", 30_000, Window("refill", 60.0)) in cerebras  # of two statements the smaller binds
    assert ("credits", 5_000_000, Window("once")) in cerebras


def test_the_same_weights_have_the_same_name_everywhere() -> None:
    served: dict[str, set[str]] = {}
    for target in all_targets(never_bill=False):
        served.setdefault(target.name, set()).add(target.provider)
    assert {"groq", "cloudflare", "sambanova", "cerebras", "ovh"} <= served["gpt-oss-120b"]
    assert {"cloudflare", "sambanova", "ovh", "scaleway"} <= served["llama-3.3-70b"]
    assert {"google", "openrouter", "nvidia", "ollama_cloud"} <= served["gemma-4-31b"]
    assert {"mistral", "codestral", "llm7"} <= served["codestral"]


def test_neurons_are_never_counted_as_nothing() -> None:
    for target in all_targets():
        if any(quota.unit == "neurons" for quota in target.quotas):
            assert target.neurons_in > 0
            assert target.neurons_out > 0 or target.kind == "embeddings"


def test_an_embeddings_call_gets_no_chat_defaults() -> None:
    by_kind = {t.kind: t.behaviour.defaults for t in all_targets() if t.provider == "cloudflare"}
    assert by_kind == {"chat": {"max_tokens": 1024}, "embeddings": {}}


def test_no_two_models_of_a_provider_have_one_id() -> None:
    for provider in PROVIDERS.values():
        ids = [model.id for model in provider.model]
        assert len(ids) == len(set(ids)), provider.id


def test_a_models_quality_follows_its_stated_size() -> None:
    for provider in PROVIDERS.values():
        for model in provider.model:
            if model.kind == "chat" and re.search(r"(?<![\d.a-z])\d+(\.\d+)?b(?![a-z])", model.name):
                assert model.quality == catalog.quality_of(model.name), model.id


@pytest.mark.parametrize(
    ("id", "name", "tier"),
    [
        ("llama3.2:3b", "llama-3.2-3b", 1),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama-3.1-8b", 2),
        ("/models/SmolLM2-135M-Instruct-q8_0.gguf", "smollm2-135m", 1),
        ("google/gemma-4-31b-it:free", "gemma-4-31b", 3),
        ("Qwen/Qwen3-235B-A22B", "qwen3-235b-a22b", 5),
        ("mystery", "mystery", 2),
    ],
)
def test_a_discovered_name_says_what_it_is(id: str, name: str, tier: int) -> None:
    assert (catalog.canonical(id), catalog.quality_of(id)) == (name, tier)


def test_discovered_models_of_a_local_server_stay_home_and_are_free() -> None:
    models = {"llama3.2:3b": 8192, "nomic-embed-text:latest": 0}
    chat, vectors = catalog.local_targets(PROVIDERS["ollama"], models, base_url="http://127.0.0.1:9/v1/")
    assert (chat.local, chat.paid, chat.auth, chat.context) == (True, False, "none", 8192)
    assert chat.base_url == "http://127.0.0.1:9/v1"
    assert (vectors.kind, vectors.specialities) == ("embeddings", frozenset({"embedding"}))


def test_discovered_models_of_a_host_are_taken_as_paid() -> None:
    [target] = catalog.discovered(PROVIDERS["requesty"], ["a/b"], environ={"REQUESTY_API_KEY": "k"})
    assert (target.paid, target.key.reveal(), target.auth) == (True, "k", "bearer")


def test_a_dedicated_host_is_no_bill_and_a_key_never_goes_to_plain_http() -> None:
    [template] = [read(Document.open(path)) for path in FILES if path.name == "_dedicated.toml"]
    [target] = catalog.targets({template.id: template}, {"MY_SERVER_KEY": "k"})
    assert (target.name, target.paid, target.local) == ("qwen3-8b", False, False)

    elsewhere = Choice(base_url="http://10.0.0.7/v1")
    with pytest.raises(ConfigError, match="https://"):
        catalog.targets({template.id: template}, {"MY_SERVER_KEY": "k"}, choices={template.id: elsewhere})


def test_facts_have_an_age_in_days() -> None:
    newest = max(source.seen for source in PROVIDERS["groq"].sources.values())
    assert catalog.facts_age(PROVIDERS["groq"], date.fromordinal(newest.toordinal() + 40)) == 40
