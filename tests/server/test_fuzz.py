"""Anything a client may send ends in an answer of the documented shape: never a 500, never a hung connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from potluck import sim
from tests.house import house

DOCUMENT: dict[str, Any] = msgspec.json.decode(
    (Path(__file__).parents[2] / "src/potluck/server/openapi.json").read_bytes()
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway on a thread of its own, because the fuzzers below are synchronous."""
    told: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def run() -> None:
        wanted = {"openai": sim.Options(unlimited=True), "groq": sim.Options(unlimited=True)}
        async with house(tmp_path_factory.mktemp("fuzz"), wanted) as home:
            told.append(home.url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    yield told[0]
    done.set()
    thread.join()


schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig())
OPERATIONS: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_generated_requests_get_a_documented_answer(operation: Any, url: str) -> None:
    seen: list[int] = []

    @given(case=operation.as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: Any) -> None:
        answer = case.call(base_url=url, timeout=20)
        assert answer.status_code < 500 or answer.status_code in (501, 503), answer.text
        assert str(answer.status_code) in operation.definition.raw["responses"], answer.text
        seen.append(answer.status_code)

    check()
    assert seen


@given(body=st.binary(max_size=300), path=st.sampled_from(["/v1/chat/completions", "/v1/embeddings"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_gets_a_4xx_in_openais_shape(url: str, body: bytes, path: str) -> None:
    answer = httpx2.post(url + path, content=body, timeout=10, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@given(name=st.text(min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_model_name_is_served_or_404(url: str, name: str) -> None:
    listed = httpx2.get(url + "/v1/models", timeout=10, trust_env=False).json()["data"]
    if name.lower() in {model["id"].lower() for model in listed}:
        return  # Hypothesis tries the words of our own source too
    body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
    answer = httpx2.post(
        url + "/v1/chat/completions", content=msgspec.json.encode(body), timeout=10, trust_env=False
    )
    assert answer.status_code == 404, name
    assert answer.json()["error"]["code"] == "model_not_found"
