"""Documents are ranked: by a reranker where there is one, by embeddings where not, and the answer says which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import catalog, sim
from potluck.dialects.rerank import Rerank as Dialect
from potluck.errors import Interrupted, Invalid, PotluckError, TargetFailed
from potluck.sim.wire import Exchange, Incoming, listen
from potluck.stages.rerank import cosines
from potluck.surfaces.rerank import Rerank
from potluck.surfaces.surface import About, Asked
from potluck.types import Behaviour, Event, Quota, Request, Target, Trace, Window
from tests.house import House, error_of, house
from tests.surfaces.test_ollama import CALM, JSON

SURFACE = Rerank()
DOCUMENTS = ["apples", "pears", "plums"]
EMBEDDER = {"mistral": sim.Options(unlimited=True)}


def parse(**fields: Any) -> Request:
    return SURFACE.parse(
        Asked(msgspec.json.encode({"query": "fruit", "documents": DOCUMENTS, **fields})), Trace()
    )


async def ask(home: House, **fields: Any) -> httpx2.Response:
    body = {"model": "auto", "query": "pears", "documents": DOCUMENTS, **fields}
    return await home.client.post("/v1/rerank", json=body)


@asynccontextmanager
async def host(answer: Callable[[Any], tuple[int, Any]]) -> AsyncIterator[str]:
    """The address of a host that answers as told: from the body it got to a status and a body."""

    def serve(incoming: Incoming, exchange: Exchange) -> None:
        status, said = answer({"path": incoming.path, **msgspec.json.decode(incoming.body)})
        exchange.send(status, msgspec.json.encode(said))

    server, connections = await listen(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
    server.close()
    for connection in list(connections):
        connection.transport.abort()
    await server.wait_closed()


@asynccontextmanager
async def reranker(answer: Callable[[Any], tuple[int, Any]], *quotas: Quota) -> AsyncIterator[Target]:
    async with host(answer) as url:
        how = Behaviour(dialect="rerank")
        yield Target("judge/r1", "judge", "r1", "r1", url, quotas=quotas, behaviour=how, kind="rerank")


def by_length(asked: Any) -> tuple[int, Any]:
    rows = [{"index": n, "relevance_score": 1 / len(text)} for n, text in enumerate(asked["documents"])]
    return 200, {"id": "x", "results": rows, "meta": {"billed_units": {"search_units": 1}}}


def test_documents_are_texts_or_objects_with_a_text() -> None:
    request = parse(documents=["a", {"text": "b", "title": "t"}], top_n=9, model="")
    assert {name: request.decoded(name) for name in request.body} == {
        "query": "fruit",
        "documents": ["a", "b"],
        "top_n": 2,
    }
    assert (request.kind, request.model, request.tokens_out) == ("rerank", "auto", 0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["x"] * 1001}, "documents"),
        ({"documents": [{"title": "no text"}]}, "documents[0]"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "all"}, "top_n"),
    ],
)
def test_bad_input_gets_a_clear_error_that_names_the_field(fields: Any, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(**fields)
    assert refused.value.param == param


@CALM
@given(
    body=st.dictionaries(st.sampled_from(["query", "documents", "top_n", "return_documents"]), JSON).map(
        msgspec.json.encode
    )
    | st.binary(max_size=200)
)
def test_any_body_is_a_request_or_a_clear_refusal(body: bytes) -> None:
    refused: PotluckError | None = None
    try:
        SURFACE.parse(Asked(body), Trace())
    except PotluckError as error:
        refused = error
    assert refused is None or refused.status == 400


@CALM
@given(st.dictionaries(st.integers(-2, 5), st.floats(-1, 1), max_size=6), st.integers(1, 3))
def test_the_answer_is_ordered_by_score_and_names_only_documents_of_the_request(
    scores: dict[int, float], top: int
) -> None:
    rows = [{"index": index, "relevance_score": score} for index, score in scores.items()]
    about = About("7", "auto", 0.0, parse(top_n=top))
    results = msgspec.json.decode(SURFACE.whole([Event(delta={"results": rows})], about))["results"]
    told = [row["relevance_score"] for row in results]
    assert told == sorted(told, reverse=True)
    assert {row["index"] for row in results} <= set(range(3))
    assert len(results) == min(top, len([index for index in scores if 0 <= index < 3]))


@CALM
@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_any_answer_of_a_provider_is_read_or_refused(raw: bytes) -> None:
    refused: PotluckError | None = None
    try:
        chunk, _ = Dialect().whole(raw, "rerank")
    except TargetFailed as error:
        refused = error
    else:
        assert chunk.events
    assert refused is None or str(refused)


async def test_a_reranker_is_asked_in_its_own_shape_and_its_request_is_counted(tmp_path: Path) -> None:
    seen: list[Any] = []

    def answer(asked: Any) -> tuple[int, Any]:
        seen.append(asked)
        return by_length(asked)

    quota = Quota("judge/key", "requests", 10, Window("fixed", 60.0))
    async with reranker(answer, quota) as judge, house(tmp_path, EMBEDDER, extra=(judge,)) as home:
        found = await ask(home, return_documents=True, top_n=2)
        again = await home.client.post("/v2/rerank", json={"query": "q", "documents": ["a"]})
        left = home.gateway.ledger.room(judge).left
    assert seen[0] == {
        "path": "/v2/rerank", "model": "r1", "query": "pears", "documents": DOCUMENTS, "top_n": 2
    }  # fmt: skip
    results = found.json()["results"]
    assert [row["index"] for row in results] == [1, 2]
    assert results[0]["document"] == {"text": "pears"}
    assert found.json()["meta"]["ranked_by"] == "reranker"
    assert "x-potluck-rerank" not in found.headers
    assert (again.status_code, left) == (200, 8)


async def test_without_a_reranker_embeddings_decide_and_the_answer_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, EMBEDDER) as home:
        found = await ask(home)
    results = found.json()["results"]
    assert results[0]["index"] == 1, "the same text is the nearest"
    assert results[0]["relevance_score"] == pytest.approx(1.0)
    assert found.json()["meta"]["ranked_by"] == "embeddings"
    assert found.headers["x-potluck-rerank"] == "cosine of embeddings"
    assert "document" not in results[0]


async def test_many_documents_are_embedded_in_parts_by_one_target(tmp_path: Path) -> None:
    documents = [f"document {n}" for n in range(250)]
    documents[177] = "alpha beta gamma delta"
    async with house(tmp_path, EMBEDDER) as home:
        found = await ask(home, query=documents[177], documents=documents, top_n=1)
        sizes = [len(body["input"]) for body in home.world.provider("mistral").bodies]
        targets = {attempt.split("=")[0] for attempt in home.attempts()}
    assert found.json()["results"][0]["index"] == 177
    assert sizes == [96, 96, 59]
    assert len(targets) == 1


async def test_vectors_of_two_models_are_never_compared(tmp_path: Path) -> None:
    asked_of: list[str] = []

    def embeds(name: str, times: int) -> Callable[[Any], tuple[int, Any]]:
        def answer(asked: Any) -> tuple[int, Any]:
            asked_of.append(name)
            if asked_of.count(name) > times:
                return 500, {"error": {"message": "broken"}}
            return 200, {"data": [{"index": n, "embedding": [1.0, n]} for n in range(len(asked["input"]))]}

        return answer

    async with host(embeds("first", 1)) as first, host(embeds("second", 9)) as second:
        extra = tuple(
            Target(f"{name}/e", name, f"{name}-e", f"{name}-e", url, kind="embeddings", quality=quality)
            for name, url, quality in (("first", first, 5), ("second", second, 1))
        )
        async with house(tmp_path, {"groq": sim.Options()}, extra=extra) as home:
            found = await ask(home, documents=["text"] * 150)
    assert found.status_code == 503
    assert set(asked_of) == {"first"}


async def test_an_exhausted_reranker_is_replaced_for_auto_and_never_where_it_was_named(
    tmp_path: Path,
) -> None:
    def full(asked: Any) -> tuple[int, Any]:
        return 429, {"message": "limited to 1000 API calls / month"}

    async with reranker(full) as judge, house(tmp_path, EMBEDDER, extra=(judge,)) as home:
        named = await ask(home, model="judge/r1")
        found = await ask(home)
    assert named.status_code in (429, 503)
    assert found.json()["meta"]["ranked_by"] == "embeddings"


@pytest.mark.parametrize("said", [{}, {"results": []}, {"results": [{"index": "a"}]}, [], "no"])
async def test_an_answer_that_is_no_ranking_is_not_passed_on(tmp_path: Path, said: Any) -> None:
    async with reranker(lambda _: (200, said)) as judge, house(tmp_path, [], extra=(judge,)) as home:
        found = await ask(home, model="judge/r1")
    assert found.status_code == 503
    assert error_of(found)["code"] == "all_targets_unavailable"


async def test_with_neither_the_error_says_what_to_do(tmp_path: Path) -> None:
    async with house(tmp_path, {"groq": sim.Options(unlimited=True)}) as home:
        found = await ask(home)
        unknown = await ask(home, model="no-such-reranker")
    assert found.status_code == 501
    assert "potluck providers" in error_of(found)["message"]
    assert unknown.status_code == 404


VECTORS = st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=5)


@CALM
@given(VECTORS)
def test_a_cosine_is_between_minus_one_and_one(vectors: list[list[float]]) -> None:
    assert all(-1.000001 <= score <= 1.000001 for score in cosines(vectors))
    assert len(cosines(vectors)) == len(vectors) - 1


def test_vectors_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(Interrupted):
        cosines([[1.0, 0.0], [1.0]])


def test_the_catalogs_reranker_is_a_target_at_its_own_address_with_its_own_minute() -> None:
    found = catalog.targets(catalog.load(), {"COHERE_API_KEY": "k" * 40})
    judge = next(target for target in found if target.kind == "rerank")
    assert (judge.base_url, judge.behaviour.dialect) == ("https://api.cohere.com/v2", "rerank")
    assert {(quota.unit, quota.amount) for quota in judge.quotas} == {("requests", 1000), ("requests", 10)}
