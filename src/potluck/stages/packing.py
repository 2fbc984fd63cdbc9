"""Several small questions in one prompt, and its answer taken apart again. Pure.

Rules: each question has a number and each answer must come back under it, once, as text that is not empty. Whatever
is wrong with one answer costs that one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "answers",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "answers": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"id": {"type": "integer"}, "answer": {"type": "string"}},
                        "required": ["id", "answer"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["answers"],
            "additionalProperties": False,
        },
    },
}
ASK = (
    "Below are {count} separate requests as JSON. They have nothing to do with each other. Answer each one by itself, "
    'as if you had been asked it alone. Reply with JSON: {{"answers": [{{"id": 1, "answer": "..."}}, ...]}}, one entry '
    "for each id.\n\n{items}"
)
_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct):
    id: int
    answer: str


class _Answers(msgspec.Struct):
    answers: list[Any]


def packed(system: str, questions: Sequence[str]) -> list[dict[str, str]]:
    """The messages that ask all of them; the system message they share is sent once."""
    items = _encode([{"id": n, "request": text} for n, text in enumerate(questions, 1)]).decode()
    user = {"role": "user", "content": ASK.format(count=len(questions), items=items)}
    return [*([{"role": "system", "content": system}] if system else []), user]


def taken_apart(text: str, count: int) -> list[str | None]:
    """The answer to each question, None where there is no valid one."""
    found: list[str | None] = [None] * count
    try:
        rows = msgspec.json.decode(_inner(text).encode(), type=_Answers).answers
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return found
    seen: set[int] = set()
    for row in rows:
        try:
            one = msgspec.convert(row, _Answer)
        except msgspec.ValidationError:
            continue
        if not 1 <= one.id <= count:
            continue
        # Two answers under one number: nobody can say which is meant.
        found[one.id - 1] = one.answer if one.id not in seen and one.answer.strip() else None
        seen.add(one.id)
    return found


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts as large as the weights say; they add up to it exactly (largest remainder)."""
    whole = sum(weights) or len(weights)
    exact = [total * (weight if sum(weights) else 1) / whole for weight in weights]
    parts = [int(one) for one in exact]
    order = sorted(range(len(parts)), key=lambda n: parts[n] - exact[n])
    for n in order[: total - sum(parts)]:
        parts[n] += 1
    return parts


def _inner(text: str) -> str:
    """The JSON in an answer that may have a fence around it."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text
