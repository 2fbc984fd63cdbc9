"""Whether two answers say the same: equal words, or near in meaning with nothing that speaks against it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from potluck.stages.guard import against

NEAR = (
    0.85  # cosine of two answers that say the same: two answers of one model to one question are seldom below
)
SHORT = 200  # characters: of a shorter answer each number, name and "not" is looked at
READ = 1_500  # characters of an answer that are compared

_IDLE = re.compile(r"[\W_]+")


def same_answer(one: str, other: str, embed: Callable[[Sequence[str]], Any]) -> bool:
    """Blocks while it embeds both, where their words differ."""
    if plain(one) == plain(other):
        return True
    if min(len(one), len(other)) < SHORT and against(one, other) not in ("", "order", "asked"):
        return False
    vectors = embed([one[:READ], other[:READ]])
    return float(vectors[0] @ vectors[1]) >= NEAR


def plain(text: str) -> str:
    """Without case, punctuation and spacing; a text of signs alone stays as it is."""
    return _IDLE.sub(" ", text.casefold()).strip() or text.strip()
