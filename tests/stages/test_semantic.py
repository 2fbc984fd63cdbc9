"""A question in other words gets the answer that its meaning already has, and only that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.errors import Unavailable
from potluck.stages.cache import Cache, Rules
from potluck.stages.likeness import same_answer
from potluck.stages.semantic import Semantic
from potluck.stages.threshold import State, Threshold
from potluck.store.answers import Which
from potluck.store.cache import SqliteAnswers
from potluck.store.vectors import WIDTH, TwoTiers
from potluck.techniques import Cache as Said
from tests.stages.cached import MIB, Clock, Model, ask, outcome

FRANCE = "What is the capital of France?"
AGAIN = "which city is the capital of France"
# What a question means, as directions in space: the words that all questions share stand at small angles.
MEANINGS = {"capital": 0, "population": 1, "bake": 2}


def embed(texts: Sequence[str]) -> Any:
    rows = np.zeros((len(texts), WIDTH), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word, axis in MEANINGS.items():
            row[axis] = 1.0 if word in text else 0.05
        row[10 + sum(map(ord, text)) % 100] = 0.1  # no two texts are the same
        row /= np.linalg.norm(row)
    return rows


class Scene:
    def __init__(self, path: Path, **fields: Any) -> None:
        self.clock, self.model, self.checks = Clock(), Model(), list[tuple[str, bool]]()
        self.kept: list[State] = []
        self.draw = 1.0  # at or above the share: nothing is checked
        self.store = SqliteAnswers(path / "cache.sqlite", max_bytes=MIB)
        self.meaning = Semantic(
            fields.pop("embed", embed),
            TwoTiers(path / "vectors"),
            self.store,
            threshold=Threshold(State(weights=[-10.0, 14.0, 0.0, 0.0, 0.0, 0.0])),  # serves above some .85
            keep=self.kept.append,
            checked=lambda technique, agreed: self.checks.append((technique, agreed)),
            look_every=0.0,
        )
        said = Said(semantic=True, error_rate=0.2, **fields)
        self.cache = Cache(
            self.store, self.clock, Rules(said), meaning=self.meaning, chance=lambda: self.draw
        )

    async def ask(self, text: str, **fields: Any) -> str:
        """What the cache did; everything is learned and written down before the next question comes."""
        found = await outcome(self.cache, self.model, ask(text, **fields))
        await self.cache.idle()
        await self.meaning.idle()
        self.store.flush()
        return found


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.cache.close()


async def test_other_words_of_the_same_meaning_are_a_hit(scene: Scene) -> None:
    assert await scene.ask(FRANCE) == "miss"
    assert await scene.ask(AGAIN) == "semantic"
    assert await scene.ask("how do I bake bread") == "miss"
    assert scene.model.calls == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hit_by_meaning_spares_and_says_what_it_spared(scene: Scene, stream: bool) -> None:
    await scene.ask(FRANCE)
    request = ask(AGAIN, stream=stream)
    reply = await scene.cache(request, scene.model)
    assert "".join([chunk.text async for chunk in reply]) == "Paris"
    assert [(saving.requests, saving.tokens_in) for saving in request.trace.savings] == [(1, 10)]
    assert request.trace.notes["age"] == "0"


async def test_what_the_guard_refuses_is_asked(scene: Scene) -> None:
    await scene.ask(FRANCE)
    assert await scene.ask("What is the capital of Spain?") == "miss"


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": "someone else"},
        {"seed": 7},
        {"model": "other"},
        {"caching": "exact"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
async def test_only_the_question_may_differ(scene: Scene, fields: dict[str, Any]) -> None:
    await scene.ask(FRANCE)
    assert await scene.ask(AGAIN, **fields) == "miss"


async def test_another_conversation_before_it_is_another_question(scene: Scene) -> None:
    def after(system: str, text: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]

    await scene.ask("", messages=after("Be brief", FRANCE))
    assert await scene.ask("", messages=after("Be long", AGAIN)) == "miss"
    assert await scene.ask("", messages=after("Be brief", AGAIN)) == "semantic"


async def test_a_dropped_answer_is_found_by_no_words(scene: Scene) -> None:
    await scene.ask(FRANCE)
    await scene.store.drop(Which())
    assert await scene.ask(AGAIN) == "miss"


async def test_an_answer_that_has_expired_is_found_by_no_words(scene: Scene) -> None:
    await scene.ask(FRANCE)
    scene.clock.at += 700_000
    assert await scene.ask(AGAIN) == "miss"


async def test_a_share_of_hits_is_asked_again_and_compared(scene: Scene) -> None:
    await scene.ask(FRANCE)
    scene.draw = 0.0
    assert await scene.ask(AGAIN, stream=True) == "semantic"
    assert scene.checks == [("cache", True)]
    assert scene.model.calls == 2
    again = scene.model.seen[-1]
    assert (again.stream, "stream" in again.body, again.priority) == (False, False, "low")


async def test_an_answer_that_proves_wrong_lowers_the_trust_in_its_neighbourhood(scene: Scene) -> None:
    await scene.ask(FRANCE)
    scene.draw, scene.model.answer = 0.0, "It is 42, and that is all there is to say about it"
    for n in range(4):
        if await scene.ask(f"{AGAIN}, {'x' * n}") == "miss":
            break
    assert ("cache", False) in scene.checks
    scene.draw = 1.0
    assert await scene.ask(f"{AGAIN} please, thanks") == "miss"


async def test_a_check_that_fails_hurts_nobody(scene: Scene) -> None:
    await scene.ask(FRANCE)
    scene.draw, scene.model.failure = 0.0, Unavailable("down")
    assert await scene.ask(AGAIN) == "semantic"
    assert scene.checks == []


async def test_a_model_that_cannot_embed_leaves_the_same_requests_as_hits(tmp_path: Path) -> None:
    def broken(texts: Sequence[str]) -> Any:
        raise RuntimeError("no memory")

    scene = Scene(tmp_path, embed=broken)
    assert [await scene.ask(FRANCE), await scene.ask(FRANCE), await scene.ask(AGAIN)] == [
        "miss",
        "hit",
        "miss",
    ]
    scene.cache.close()


async def test_meanings_survive_a_restart(tmp_path: Path) -> None:
    first = Scene(tmp_path)
    await first.ask(FRANCE)
    first.cache.close()
    assert first.kept
    second = Scene(tmp_path)
    assert await second.ask(AGAIN) == "semantic"
    second.cache.close()


async def test_only_if_cached_takes_a_hit_by_meaning(scene: Scene) -> None:
    await scene.ask(FRANCE)
    assert await scene.ask(AGAIN, caching="only-if-cached") == "semantic"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris.", "paris", True),
        ("The capital of France is Paris.", "The capital of France is Lyon.", False),
        ("The capital of France is 7", "The capital of France is 8", False),
        ("The capital is nice", "how to bake bread", False),
        ("the capital, in short", "in short: the capital", True),
    ],
)
def test_two_answers_are_compared_by_what_they_say(one: str, other: str, same: bool) -> None:
    assert same_answer(one, other, embed) is same
