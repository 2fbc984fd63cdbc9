"""Small models first: who is asked, whose answer is given, what is learned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import sim
from potluck.app.cascading import cascade as made
from potluck.config import Profile
from potluck.errors import ConfigError, Exhausted
from potluck.pipeline import Handler
from potluck.stages import judge
from potluck.stages.calibration import FARTHEST, SCARCE, Weights, bar, chance, gain, moved, shipped
from potluck.stages.cascade import Cascade
from potluck.stages.judge import SIGNS, ballot, gist, signs
from potluck.techniques import Cascade as Settings
from potluck.types import Attempt, Event, Reply, Request, Usage
from tests.house import error_of, house

WEIGHTS = shipped()
SMALL, STRONG = ("a", "b", "c"), "strong"
QUESTION = "How many eggs are in two dozen?"


class Models:
    """Answers by name; `asked` is who was asked, in order."""

    def __init__(self, answers: Mapping[str, str | Exception]) -> None:
        self.answers, self.asked = answers, list[str]()

    async def __call__(self, request: Request) -> Reply:
        self.asked.append(request.model)
        said = self.answers[request.model]
        if isinstance(said, Exception):
            raise said
        request.trace.attempts.append(Attempt(f"p/{request.model}", "ok"))
        return Reply.of(Event(text=said, finish="stop", usage=Usage(10, 5)))


def stage(**changes: Any) -> Cascade:
    settings = Settings(**{"small": SMALL, "strong": STRONG, "quality": 0.9, "shadow": 0.0, **changes})
    return Cascade(settings, WEIGHTS, random=Random(1))


def asking(**changes: Any) -> Request:
    message = [{"role": "user", "content": changes.pop("question", QUESTION)}]
    body = {"messages": msgspec.Raw(msgspec.json.encode(message))}
    return Request("thrifty", body, tokens_in=10, **changes)


async def said(cascade: Cascade, models: Handler, request: Request) -> str:
    return "".join([chunk.text async for chunk in await cascade(request, models)])


async def test_two_small_models_that_agree_are_believed_and_the_strong_one_is_not_asked() -> None:
    models, request = Models({"a": "The answer is 24.", "b": "24", STRONG: "24"}), asking()
    assert await said(stage(), models, request) == "The answer is 24."
    assert sorted(models.asked) == ["a", "b"]
    assert request.trace.notes["cascade"] == "small (p/a), 2 of 2 agree"
    [saving] = request.trace.savings
    assert (saving.requests, saving.tokens_in, saving.target) == (-1, 10, STRONG)


async def test_a_third_is_asked_where_two_differ_and_the_strong_one_where_none_agree() -> None:
    models = Models({"a": "23", "b": "24", "c": "24", STRONG: "24"})
    assert await said(stage(quality=0.5), models, asking()) == "24"
    assert sorted(models.asked) == ["a", "b", "c"]
    models = Models({"a": "22", "b": "23", "c": "25", STRONG: "24"})
    request = asking()
    assert await said(stage(), models, request) == "24"
    assert models.asked[-1] == STRONG
    assert request.trace.notes["cascade"].startswith("strong: 3 small answers")


async def test_what_words_cannot_judge_goes_to_the_strong_model_at_once() -> None:
    changes: dict[str, Any]
    for changes in ({"needs": frozenset({"tools"})}, {"needs": frozenset({"image"})}, {"bodies": ({}, {})}):
        models = Models({STRONG: "24"})
        assert await said(stage(), models, asking(**changes)) == "24"
        assert models.asked == [STRONG]


async def test_a_small_model_that_fails_is_no_reason_to_fail() -> None:
    models = Models({"a": Exhausted("full"), "b": Exhausted("full"), "c": "24", STRONG: "24"})
    assert await said(stage(), models, asking()) == "24"


async def test_the_strong_answer_alone_streams_and_small_ones_are_asked_whole() -> None:
    streamed: list[tuple[str, bool, bool]] = []

    async def next(request: Request) -> Reply:
        streamed.append((request.model, request.stream, "stream" in request.body))
        return Reply.of(Event(text=request.model, finish="stop"))

    body = {
        "messages": msgspec.Raw(b'[{"role":"user","content":"Tell me a story"}]'),
        "stream": msgspec.Raw(b"true"),
    }
    await stage()(Request("thrifty", body, stream=True), next)
    assert ("a", False, False) in streamed
    assert streamed[-1] == (STRONG, True, True)


async def test_a_share_of_small_answers_is_asked_again_and_compared_beside_the_request() -> None:
    heard: list[tuple[str, bool]] = []
    done = asyncio.Event()

    def checked(technique: str, agreed: bool) -> None:
        heard.append((technique, agreed))
        done.set()

    models = Models({"a": "24", "b": "24", STRONG: "25"})
    cascade = Cascade(Settings(small=SMALL, strong=STRONG, quality=0.9, shadow=1.0), WEIGHTS, checked=checked)
    request = asking()
    assert await said(cascade, models, request) == "24"
    await asyncio.wait_for(done.wait(), 5)
    assert heard == [("cascade", False)]
    assert cascade.offset < 0  # the strong model said otherwise: small answers are believed a little less
    assert STRONG not in [attempt.target for attempt in request.trace.attempts]


async def test_feedback_is_taken_once_and_from_who_asked() -> None:
    cascade, request = stage(), asking(tenant="bob")
    request.trace.id = "1"
    await said(cascade, Models({"a": "24", "b": "24"}), request)
    assert not cascade.feedback("1", "eve", False)
    assert cascade.feedback("1", "bob", False)
    assert not cascade.feedback("1", "bob", False)
    assert cascade.offset < 0


@pytest.mark.parametrize(
    ("text", "question", "wanted"),
    [
        ("The answer is (C).", "Which?\nA) x\nB) y\nC) z", "(C)"),
        ("So the answer is **B**", "Which?\nA) x\nB) y\nC) z", "(B)"),
        ("D", "", "(D)"),
        ("She has 3 and 4, which makes 7 eggs.", "How many eggs?", "7"),
        ("1,200.0", "", "1200"),
        ('{"b": 1, "a": [2]}', "", '{"a":[2],"b":1}'),
        ("Yes!", "", "yes"),
        ("A long story about soup. " * 10, "Tell a story", ""),
        ("", "", ""),
    ],
)
def test_a_gist_is_what_can_be_compared(text: str, question: str, wanted: str) -> None:
    assert gist(text, question) == wanted


@given(st.lists(st.sampled_from(["", "x", "y", "z"]), max_size=5))
def test_a_candidate_is_what_most_say_and_the_first_wins_a_tie(gists: list[str]) -> None:
    found = ballot(gists)
    counts = {one: gists.count(one) for one in gists if one}
    assert (found.who < 0) == (not counts)
    if counts:
        assert len(found.backers) == max(counts.values())
        assert gists[found.who] in counts
        assert found.who == min(found.backers)


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_has_a_gist_and_signs_between_bounds(text: str, question: str) -> None:
    found = signs(ballot([gist(text, question)]), question, text)
    assert len(found) == len(SIGNS) == len(WEIGHTS.two.cheap) == len(WEIGHTS.all.strong)
    assert all(0.0 <= one <= 2.0 for one in found)


@given(st.floats(0.5, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_bar_rises_when_the_strong_models_day_is_nearly_gone_and_falls_with_the_wished_quality(
    quality: float, room: float, more: float
) -> None:
    low, high = sorted((room, more))
    assert bar(WEIGHTS, quality, low) >= bar(WEIGHTS, quality, high)
    assert bar(WEIGHTS, quality, 0.0) == 1.0  # nothing is escalated any more
    assert bar(WEIGHTS, quality, SCARCE) == bar(WEIGHTS, quality, 1.0)
    assert bar(WEIGHTS, min(1.0, quality + 0.1)) <= bar(WEIGHTS, quality)


@given(st.lists(st.booleans(), max_size=200))
def test_feedback_moves_belief_the_right_way_and_never_far(verdicts: list[bool]) -> None:
    seen = signs(ballot(["x", "x"]), QUESTION, "x")
    offset = 0.0
    for good in verdicts:
        after = moved(offset, seen, WEIGHTS.two, good)
        assert (after >= offset) if good else (after <= offset)
        assert abs(after) <= FARTHEST
        offset = after
    assert 0.0 <= chance(WEIGHTS.two.cheap, seen, offset) <= 1.0


def test_agreement_makes_asking_the_strong_model_worth_less() -> None:
    agree = signs(ballot(["24", "24"]), QUESTION, "24")
    differ = signs(ballot(["24", "23"]), QUESTION, "24")
    assert gain(WEIGHTS.two, agree) < gain(WEIGHTS.two, differ)
    assert isinstance(WEIGHTS, Weights)
    assert judge.number("1,200.50") == "1200.5"


async def test_in_a_whole_gateway_a_profile_cascades_and_feedback_is_taken(tmp_path: Path) -> None:
    wanted = {
        "groq": sim.Options(text="24", unlimited=True),
        "mistral": sim.Options(text="24", unlimited=True),
    }
    profiles = {"thrifty": Profile(stages=("cascade",))}
    small = ("groq/openai/gpt-oss-20b", "mistral/ministral-8b-latest")
    settings = Settings(small=small, strong="groq/openai/gpt-oss-120b", quality=0.9, shadow=0.0)
    async with house(tmp_path, wanted, profiles=profiles, cascade=settings) as home:
        answer = await home.chat("thrifty", messages=[{"role": "user", "content": QUESTION}])
        assert answer.json()["choices"][0]["message"]["content"] == "24"
        assert answer.headers["x-potluck-cascade"].startswith("small")
        good = {"id": answer.json()["id"], "good": True}
        assert (await home.client.post("/v1/feedback", json=good)).json() == {"learned": True}
        again = await home.client.post("/v1/feedback", json=good)
        assert (again.status_code, error_of(again)["code"]) == (404, "not_found")
        assert (await home.client.post("/v1/feedback", json={"id": 1})).status_code == 400
        plain = await home.chat("auto")
        assert "x-potluck-cascade" not in plain.headers


def test_a_cascade_without_models_refuses_to_start_and_says_what_it_needs() -> None:
    gateway: Any = SimpleNamespace(settings=SimpleNamespace(cascade=Settings()))
    with pytest.raises(ConfigError, match="two small models"):
        made(gateway)
