"""Banking77 as the questions of a support bot: intents by Zipf's law, arrival order seeded.

Source of the data: Casanueva et al. 2020, arXiv:2003.04807 (CC BY 4.0). An intent stands for the answer that the bot
would give: a hit is wrong if the stored answer was given to a question of another intent.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from bench.evidence.claim import half, needed

ZIPF = 1.0  # exponent: the n-th most frequent intent arrives 1/n as often as the first


class Questions(msgspec.Struct, frozen=True):
    """All of one half: row n of each is one question. `vectors` are (n, 384) float32 of length 1."""

    texts: Sequence[str]
    intents: Sequence[str]
    vectors: np.ndarray


def read(data: Path, which: int) -> tuple[list[str], list[str]]:
    """Texts and intents of TUNE or REPORT, each text once. Raises Absent."""
    seen: dict[str, str] = {}
    for path in needed(data / "banking77", "train.csv.gz", "test.csv.gz"):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                text = row["text"].strip()
                if text and half(text) == which:
                    seen.setdefault(text, row["category"])
    return list(seen), list(seen.values())


def arrivals(questions: Questions, seed: int, count: int, *, repeats: bool) -> list[int]:
    """Row numbers in the order they arrive.

    `repeats`: an intent's texts are drawn with replacement, as people do repeat each other; without, each text
    arrives once, and an intent that has run out of texts arrives no more.
    """
    generator = np.random.default_rng(seed)
    by_intent: dict[str, list[int]] = {}
    for row, intent in enumerate(questions.intents):
        by_intent.setdefault(intent, []).append(row)
    intents = sorted(by_intent)
    generator.shuffle(intents)
    weights = 1.0 / np.arange(1, len(intents) + 1) ** ZIPF
    pools = [list(generator.permutation(by_intent[intent])) for intent in intents]
    alive = np.ones(len(intents))
    found: list[int] = []
    while len(found) < count and alive.any():
        chances = weights * alive
        which = int(generator.choice(len(intents), p=chances / chances.sum()))
        pool = pools[which]
        if repeats:
            found.append(int(pool[generator.integers(len(pool))]))
        else:
            found.append(int(pool.pop()))
            alive[which] = bool(pool)
    return found
