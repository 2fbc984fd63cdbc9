"""One stream of questions through each cache: Potluck's own stage, a plain cosine, and GPTCache as it comes."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from bench.evidence.support_stream import Questions

from potluck.stages.cache import Cache, Rules
from potluck.stages.semantic import Semantic
from potluck.store.answers import Entry, Stats, Which
from potluck.store.vectors import TwoTiers
from potluck.techniques import Cache as Said
from potluck.types import Event, Reply, Request, Trace

PEER = Path(__file__).parents[1] / ".peers" / "gptcache"
CHECK_SHARE = 0.02


class Played(msgspec.Struct, frozen=True):
    """One arrival each: 1 where it was a hit, 1 where that was wrong. A call to check or to explore is no hit."""

    hits: list[int]
    wrong: list[int]

    @property
    def hit_rate(self) -> float:
        return sum(self.hits) / len(self.hits)

    @property
    def wrong_rate(self) -> float:
        """Of the hits."""
        return sum(self.wrong) / max(1, sum(self.hits))


class Kept:
    """Answers in memory, so that what was stored is found at once: the files' lag is no property of the method."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._meant: list[tuple[int, Entry]] = []

    async def get(self, key: bytes, now: float) -> Entry | None:
        return self._entries.get(key)

    def put(self, entry: Entry, now: float) -> None:
        self._entries[entry.key] = entry
        if entry.vector:
            self._meant.append((len(self._meant) + 1, entry))

    def count(self, outcome: str) -> None:
        pass

    async def drop(self, which: Which) -> int:
        return 0

    async def stats(self) -> Stats:
        return Stats()

    async def meant(self, after: int, limit: int) -> list[tuple[int, Entry]]:
        return self._meant[after : after + limit]

    def close(self) -> None:
        pass


class Standing:
    """A clock that stands still: nothing expires while a stream is played."""

    def now(self) -> float:
        return 1_795_521_600.0

    def monotonic(self) -> float:
        return 0.0


def potluck(questions: Questions, order: list[int], error_rate: float, seed: int) -> Played:
    """Through the very stage that serves requests; only the vectors were computed before."""
    return asyncio.run(_potluck(questions, order, error_rate, seed))


async def _potluck(questions: Questions, order: list[int], error_rate: float, seed: int) -> Played:
    rows = {text: row for row, text in enumerate(questions.texts)}
    kept = Kept()
    with tempfile.TemporaryDirectory() as folder:
        meaning = Semantic(
            lambda texts: questions.vectors[[rows[text] for text in texts]],
            TwoTiers(Path(folder) / "vectors", settle=10**9),
            kept,
            look_every=0.0,
            same=lambda one, other, _: one == other,  # an intent's name is its answer: the same or not
        )
        said = Said(semantic=True, error_rate=error_rate, check_share=CHECK_SHARE, ttl_passing=604_800.0)
        stage = Cache(kept, Standing(), Rules(said), meaning=meaning, chance=random.Random(seed).random)
        played = Played([], [])
        for row in order:
            request = _request(questions.texts[row])
            reply = await stage(request, _Answering(questions.intents[row]))
            given = "".join([chunk.text async for chunk in reply])
            reply.close()
            await stage.idle()
            await meaning.idle()
            spared = bool(request.trace.savings)
            played.hits.append(int(spared))
            played.wrong.append(int(spared and given != questions.intents[row]))
        stage.close()
    return played


class _Answering:
    """A model that always knows."""

    def __init__(self, intent: str) -> None:
        self._intent = intent

    async def __call__(self, request: Request) -> Reply:
        return Reply.of(Event(text=self._intent, finish="stop"))


def _request(text: str) -> Request:
    body = {"messages": msgspec.Raw(msgspec.json.encode([{"role": "user", "content": text}]))}
    return Request("auto", body, tenant="t", trace=Trace(id="r"))


def cosine(questions: Questions, order: list[int], threshold: float) -> Played:
    """The nearest stored question, if it is at least that near; what misses is stored."""
    stored = np.empty((len(order), questions.vectors.shape[1]), np.float32)
    answers: list[str] = []
    played = Played([], [])
    for row in order:
        best, near = -1, -1.0
        if answers:
            scores = stored[: len(answers)] @ questions.vectors[row]
            best = int(scores.argmax())
            near = float(scores[best])
        hit = near >= threshold
        played.hits.append(int(hit))
        played.wrong.append(int(hit and answers[best] != questions.intents[row]))
        if not hit:
            stored[len(answers)] = questions.vectors[row]
            answers.append(questions.intents[row])
    return played


def gptcache(questions: Questions, order: list[int]) -> Played:
    """GPTCache's own machinery and threshold, with the same vectors: its own model is a download. Raises OSError."""
    program = Path(__file__).with_name("gptcache_peer.py")
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.npz"
        np.savez(asked, vectors=questions.vectors, intents=np.array(questions.intents), order=np.array(order))
        done = subprocess.run(
            [str(PEER / "bin" / "python"), str(program), str(asked)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise OSError(f"GPTCache failed: {done.stderr.strip().splitlines()[-1:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Played(told["hits"], told["wrong"])
