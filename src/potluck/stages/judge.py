"""Whether a cheap answer is likely right: what it says, who else says so, and how it says it. Pure.

An answer is brought down to what can be compared (`gist`): a choice's letter, the last number, JSON, a short text.
Those of several cheap models with the same gist are a group; the largest group is the candidate. Its *signs* are the
numbers that `calibration.py` weighs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec

SHORT = 80  # characters up to which a text is compared as a whole
SIGNS = (
    "one",  # the constant
    "first",  # the first model asked says what the candidate says …
    "second",
    "third",
    "share",  # of those asked who say it
    "share_squared",
    "rival",  # the share of the next group
    "gists",  # how many different ones there are, by how many were asked
    "no_gist",  # nothing in it can be compared
    "answer_long",
    "question_long",
    "digits_asked",  # share of the question's characters
    "digits_answered",
    "options",  # it offers choices
    "hedges",
)
_CHOICE = re.compile(r"(?:answer|option|choice)\s*(?:is|:)?\s*\**\s*\(?([A-J])\)?(?![A-Za-z])", re.IGNORECASE)
_LONE = re.compile(r"^\s*\(?([A-J])\)?[.\s]*$")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_OPTION = re.compile(r"(?m)^\s*\(?[A-J][).:]\s")
_HEDGE = re.compile(
    r"\b(i(?:'m| am) not sure|i think|probably|cannot determine|can't determine|as an ai|i cannot|i can't|unable to|"
    r"it is unclear|not enough information)\b",
    re.IGNORECASE,
)
_COUNTING = re.compile(
    r"\b(how (many|much|old|far|long|tall)|what is the (total|sum|number)|calculate)\b", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")


class Ballot(msgspec.Struct, frozen=True):
    """What the cheap models came to. `who`: the number of the one whose answer is given, -1 = nobody's. `backers`: the
    numbers of those who say the same; `gists`: how many different ones there are."""

    who: int
    backers: tuple[int, ...]
    asked: int
    rival: int
    gists: int


def gist(text: str, question: str = "") -> str:
    """What an answer comes to, in a form that can be compared; "" if it cannot."""
    text = text.strip()
    if not text:
        return ""
    if text[0] in "{[":
        try:
            return msgspec.json.encode(msgspec.json.decode(text), order="sorted").decode()
        except (msgspec.DecodeError, RecursionError):
            pass
    lone = _LONE.match(text)
    if lone:
        return f"({lone.group(1)})"
    choices = _CHOICE.findall(text)
    if choices and (_OPTION.search(question) or not _NUMBER.search(text.rsplit(choices[-1], 1)[-1])):
        return f"({choices[-1].upper()})"
    numbers = _NUMBER.findall(text)
    if numbers and (len(text) <= SHORT or _counts(question)):
        return number(numbers[-1])
    return _SPACE.sub(" ", text).strip(" .!\"'`").lower() if len(text) <= SHORT else ""


def number(text: str) -> str:
    """12, 12.0 and 1,200 → 12, 12 and 1200."""
    value = float(text.replace(",", ""))
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _counts(question: str) -> bool:
    """Whether a number is wanted."""
    return bool(_COUNTING.search(question))


def ballot(gists: Sequence[str]) -> Ballot:
    """The candidate among the gists, in the order in which the models were asked; the first wins a tie."""
    backers: dict[str, list[int]] = {}
    for number, one in enumerate(gists):
        if one:
            backers.setdefault(one, []).append(number)
    if not backers:
        return Ballot(-1, (), len(gists), 0, 0)
    best = max(backers, key=lambda one: (len(backers[one]), -backers[one][0]))
    rival = max((len(mine) for one, mine in backers.items() if one != best), default=0)
    return Ballot(backers[best][0], tuple(backers[best]), len(gists), rival, len(backers))


def signs(found: Ballot, question: str, answer: str) -> tuple[float, ...]:
    """The numbers of `SIGNS`, each about 0..1. `answer` is the first model's."""
    share = len(found.backers) / max(1, found.asked)
    digits = sum(map(str.isdigit, question)) / (len(question) or 1)
    return (
        1.0,
        float(0 in found.backers),
        float(1 in found.backers),
        float(2 in found.backers),
        share,
        share * share,
        found.rival / max(1, found.asked),
        found.gists / max(1, found.asked),
        float(found.who < 0),
        math.log1p(len(answer)) / 8,
        math.log1p(len(question)) / 8,
        digits,
        sum(map(str.isdigit, answer)) / (len(answer) or 1),
        float(len(_OPTION.findall(question)) >= 3),
        float(bool(_HEDGE.search(answer))),
    )
