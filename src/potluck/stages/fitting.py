"""What of a conversation is kept where not all of it fits: pure, over a list of messages.

Rules: the task is never dropped: system messages, the first thing the client said and its last message stay, whole.
A call of a tool and its results stay together or go together. Of the rest, what has words in common with the last
message is kept first (BM25, Robertson & Zaragoza 2009), then what is recent. From a message that does not fit whole,
the sentences that matter are kept, with an ellipsis for what is left out. The order of what is kept never changes,
so that a provider's prompt cache still sees the same beginning.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

K1, B = 1.2, 0.75  # BM25's usual constants
RECENT = 0.35  # of the highest relevance: what the latest message gets for being recent
HALF = 6.0  # messages ago at which that is halved
SHORTEST = 24  # tokens: below it a message is not shortened but left out
GAP = " […] "
_WORD = re.compile(r"\w+", re.UNICODE)
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")

Message = dict[str, Any]
Count = Callable[[str], int]


class Fitted(msgspec.Struct, frozen=True):
    """`kept` and `shortened` count messages, `left_out` tokens."""

    messages: list[Message]
    kept: int
    shortened: int
    of: int
    left_out: int


def fit(messages: Sequence[Message], budget: int, count: Count) -> Fitted | None:
    """The messages within `budget` tokens; None if what must stay alone is more. `count` counts a text's tokens."""
    groups = grouped(messages)
    sizes = [sum(size(messages[n], count) for n in group) for group in groups]
    pinned = _pinned(messages, groups)
    room = budget - sum(sizes[g] for g in pinned)
    if room < 0:
        return None
    texts = [" ".join(text_of(messages[n]) for n in group) for group in groups]
    worth = _worth(texts, text_of(messages[-1]))
    chosen, cut = set(pinned), dict[int, Message]()
    asked = terms(text_of(messages[-1]))
    for g in sorted(set(range(len(groups))) - pinned, key=lambda g: (-worth[g], -g)):
        if sizes[g] <= room:
            chosen.add(g)
            room -= sizes[g]
        elif len(groups[g]) == 1 and room >= SHORTEST and worth[g] > 0:
            short = shortened(messages[groups[g][0]], asked, room, count)
            if short is not None:
                cut[g] = short
                chosen.add(g)
                room -= size(short, count)
    kept = [cut.get(g) or messages[n] for g in sorted(chosen) for n in groups[g]]
    whole = sum(sizes) - sum(size(one, count) for one in kept)
    return Fitted(list(kept), len(kept), len(cut), len(messages), max(0, whole))


def grouped(messages: Sequence[Message]) -> list[list[int]]:
    """Numbers of messages that belong together: a call of tools with its results, every other one alone."""
    groups: list[list[int]] = []
    for number, message in enumerate(messages):
        if message.get("role") in ("tool", "function") and groups:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _pinned(messages: Sequence[Message], groups: Sequence[Sequence[int]]) -> set[int]:
    """Groups that must stay: system messages, the client's first message and its last, and what follows the last."""
    users = [g for g, group in enumerate(groups) if messages[group[0]].get("role") == "user"]
    systems = {
        g for g, group in enumerate(groups) if messages[group[0]].get("role") in ("system", "developer")
    }
    last = users[-1] if users else len(groups) - 1
    return systems | set(users[:1]) | set(range(last, len(groups)))


def text_of(message: Message) -> str:
    content = message.get("content")
    texts = [content] if isinstance(content, str) else []
    if isinstance(content, list):
        texts = [str(part.get("text", "")) for part in content if isinstance(part, dict)]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            texts.append(f"{function.get('name')} {function.get('arguments')}")
    return "\n".join(texts)


def size(message: Message, count: Count) -> int:
    return count(text_of(message)) + 4


def terms(text: str) -> list[str]:
    """Words, brought down by the endings that English plurals and past tenses add."""
    return [
        word[:-1] if len(word) > 3 and word.endswith("s") else word for word in _WORD.findall(text.lower())
    ]


def bm25(documents: Sequence[Sequence[str]], query: Sequence[str]) -> list[float]:
    """How well each document answers to the query."""
    number, mean = len(documents), sum(map(len, documents)) / max(1, len(documents)) or 1.0
    counted = [Counter(document) for document in documents]
    found = [0.0] * number
    for term in set(query):
        having = sum(term in each for each in counted)
        if not having:
            continue
        idf = math.log(1 + (number - having + 0.5) / (having + 0.5))
        for n, each in enumerate(counted):
            often = each[term]
            if often:
                found[n] += idf * often * (K1 + 1) / (often + K1 * (1 - B + B * len(documents[n]) / mean))
    return found


def _worth(texts: Sequence[str], question: str) -> list[float]:
    """Relevance, and a little for being recent."""
    relevance = bm25([terms(text) for text in texts], terms(question))
    highest = max(relevance[:-1], default=0.0) or 1.0
    last = len(texts) - 1
    return [relevance[g] / highest + RECENT * 0.5 ** ((last - g) / HALF) for g in range(len(texts))]


def shortened(message: Message, asked: Sequence[str], room: int, count: Count) -> Message | None:
    """The message with the sentences that matter, within `room` tokens; None if hardly anything would be left."""
    text = text_of(message)
    sentences = [one for one in _SENTENCE.split(text) if one.strip()]
    if len(sentences) < 2 or not isinstance(message.get("content"), str):
        return None
    worth = bm25([terms(one) for one in sentences], asked)
    kept: set[int] = set()
    left = room - 4 - count(GAP) * 2
    for n in sorted(range(len(sentences)), key=lambda n: (-worth[n], n)):
        cost = count(sentences[n]) + 1
        if cost <= left and worth[n] > 0:
            kept.add(n)
            left -= cost
    if not kept:
        return None
    parts, before = [], -1
    for n in sorted(kept):
        parts.append((GAP if n != before + 1 else " " if before >= 0 else "") + sentences[n])
        before = n
    end = "" if before == len(sentences) - 1 else GAP
    return {**message, "content": ("".join(parts) + end).strip()}
