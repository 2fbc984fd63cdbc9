"""Facts planted at every depth of conversations that overflow the window, and how many can still be answered.

A conversation is forty notes (paragraphs of XQuAD, the one that is asked about among them, at ten depths) and a last
question in the words of whoever wrote it, which are not the paragraph's. The budget is the same for both ways: plain
truncation drops the oldest messages until the rest fits; the stage's `fit` chooses. A question counts as answerable
if the sentence with its answer is among what is kept: the judge is pretend, and never wrong about what is there.
"""

from __future__ import annotations

import json
import lzma
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.evidence.claim import REPORT, Claim, Say, half, interval, needed, percent

from potluck.stages.fitting import Message, fit, size, text_of

NOTES, DEPTHS = 40, 10
BUDGETS = (1_000, 2_000, 3_000)
MAIN = 2_000
SEED = 7
LIMITS = [
    "The judge is pretend: it says whether the sentence is there, not whether a model would find it.",
    "Relevance is by words in common: a question in wholly other words, or in another language than the notes, is "
    "kept no better than by recency.",
    "For the latest notes plain truncation is as good: there the stage spends room on older ones.",
]


def count(text: str) -> int:
    """Tokens, near enough for a budget that is the same for both."""
    return len(text.encode()) // 4 + 1


def measure(data: Path, say: Say) -> Claim:
    [path] = needed(data / "xquad", "xquad.en.json.xz")
    with lzma.open(path) as file:
        articles = json.load(file)["data"]
    paragraphs = [one for article in articles for one in article["paragraphs"]]
    asked = [(p, qa) for p in paragraphs for qa in p["qas"] if half(qa["question"]) == REPORT]
    chance = random.Random(SEED)
    kept: dict[int, dict[str, list[float]]] = {size: {"fit": [], "plain": []} for size in BUDGETS}
    by_depth: dict[int, dict[str, list[float]]] = defaultdict(lambda: {"fit": [], "plain": []})
    for number, (paragraph, qa) in enumerate(asked):
        depth = number % DEPTHS
        talk = conversation(paragraph, qa["question"], paragraphs, depth, chance)
        needle = sentence(paragraph["context"], qa["answers"][0])
        for budget in BUDGETS:
            for way, messages in (("fit", fitted(talk, budget)), ("plain", truncated(talk, budget))):
                found = float(any(needle in text_of(one) for one in messages[:-1]))
                kept[budget][way].append(found)
                if budget == MAIN:
                    by_depth[depth][way].append(found)
    say(f"  {len(asked)} questions, budgets of {', '.join(map(str, BUDGETS))} tokens")
    return _claim(kept, by_depth, len(asked))


def conversation(
    paragraph: Any, question: str, paragraphs: list[Any], depth: int, chance: random.Random
) -> list[Message]:
    """`depth` 0 is the oldest tenth. The paragraph's neighbours in its article are among the notes: near misses."""
    others = chance.sample([one for one in paragraphs if one is not paragraph], NOTES - 1)
    at = min(NOTES - 1, int((depth + 0.5) * NOTES / DEPTHS))
    notes = [*others[:at], paragraph, *others[at:]]
    talk: list[Message] = [{"role": "system", "content": "You keep notes and answer from them."}]
    talk.append({"role": "user", "content": "I will give you notes. Remember them."})
    for note in notes:
        talk += [{"role": "user", "content": note["context"]}, {"role": "assistant", "content": "Noted."}]
    return [*talk, {"role": "user", "content": question}]


def sentence(context: str, answer: Any) -> str:
    """The sentence that holds the answer, as it stands in the paragraph."""
    start = answer["answer_start"]
    begin = max((m.end() for m in re.finditer(r"[.!?]\s+", context[:start])), default=0)
    end = re.search(r"[.!?](\s|$)", context[start + len(answer["text"]) :])
    stop = start + len(answer["text"]) + (end.start() if end else len(context))
    return context[begin:stop].strip()


def fitted(talk: list[Message], budget: int) -> list[Message]:
    found = fit(talk, budget, count)
    return found.messages if found is not None else talk[-1:]


def truncated(talk: list[Message], budget: int) -> list[Message]:
    """What most clients do: the system message and as many of the latest as fit."""
    left = budget - size(talk[0], count)
    kept: list[Message] = []
    for message in reversed(talk[1:]):
        left -= size(message, count)
        if left < 0:
            break
        kept.insert(0, message)
    return [talk[0], *kept]


def _claim(
    kept: dict[int, dict[str, list[float]]], by_depth: dict[int, dict[str, list[float]]], questions: int
) -> Claim:
    main = {way: interval(values) for way, values in kept[MAIN].items()}
    more = main["fit"][0] / main["plain"][0] - 1 if main["plain"][0] else float("inf")
    rows, depths = tables(kept, by_depth)
    header = ("", "the stage", "plain truncation")
    return Claim(
        name="context",
        claim="context is kept 40% better",
        data=f"{questions} held-out questions of XQuAD, each about one of {NOTES} notes in a conversation of some 8,000 tokens",
        bar="at least 40% more facts answerable at the same token budget",
        found=f"{main['fit'][0]:.1%} answerable instead of {main['plain'][0]:.1%} at {MAIN:,} tokens: {more:+.0%}",
        met=more >= 0.4,
        figures={
            "more": more,
            "budget": MAIN,
            **{f"{way}": value for way, value in main.items()},
            "by_budget": {
                str(size): {way: interval(v)[0] for way, v in found.items()} for size, found in kept.items()
            },
        },
        tables=[
            ("Questions whose answer is still there, by budget in tokens.", ("budget", *header[1:]), rows),
            (f"By depth at {MAIN:,} tokens: 0-10% is the oldest tenth.", ("depth", *header[1:]), depths),
        ],
        limits=LIMITS,
    )


def tables(
    kept: dict[int, dict[str, list[float]]], by_depth: dict[int, dict[str, list[float]]]
) -> tuple[list[list[str]], list[list[str]]]:
    """Rows by budget, and by depth."""
    rows = [
        [str(size), percent(interval(found["fit"])), percent(interval(found["plain"]))]
        for size, found in kept.items()
    ]
    depths = [
        [
            f"{10 * depth}-{10 * depth + 10}%",
            percent(interval(found["fit"])),
            percent(interval(found["plain"])),
        ]
        for depth, found in sorted(by_depth.items())
    ]
    return rows, depths
