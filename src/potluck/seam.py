"""Where the words of a second model join those of a first that broke off: pure text, and honest when it does not fit.

Rules: nothing that was shown is shown again, and nothing is joined that does not look like a continuation. A model
asked to go on does one of three things: it goes on, it repeats the last words first, or it starts over with the same
words. Each is recognised; anything else (a preface, another answer) is no continuation, and the stream ends as cut.
"""

from __future__ import annotations

import re

LOOK = 80  # characters of the continuation that are looked at before any is shown
OVERLAP = 300  # characters of the end that may be repeated
LEAST = 8  # characters that must agree to be called a repetition
_ENDED = re.compile(r"[.!?:;…。！？\n)\]}\"'`*]\s*$")
_PREFACE = re.compile(
    r"\s*(sure|certainly|of course|okay|ok\b|here(?:'s| is| are)|continu|i apolog|sorry|as an ai|the (text|message) )",
    re.IGNORECASE,
)


def enough(before: str, fresh: str) -> bool:
    """Whether so much of the continuation is here that `join` can tell."""
    if before.startswith(fresh[:LOOK]) or fresh.startswith(before[:LOOK]):
        return len(fresh) > len(before)  # it may be starting over: wait until the old words are through
    return len(fresh) >= LOOK


def join(before: str, fresh: str) -> str | None:
    """What of `fresh` is to be shown after `before`; None if it is no continuation of it."""
    if not fresh.strip():
        return None
    if fresh.startswith(before):
        return fresh[len(before) :]
    if len(before) >= LEAST and fresh[:LEAST] == before[:LEAST]:
        return None  # started over, with other words
    for length in range(min(OVERLAP, len(before), len(fresh)), LEAST - 1, -1):
        if before.endswith(fresh[:length]):
            return fresh[length:]
    stripped = before.rstrip()
    if _PREFACE.match(fresh) or (not _ENDED.search(before) and fresh.lstrip()[:1].isupper()):
        return None
    if stripped == before and before[-1:].isalnum() and fresh[:1].isalnum():
        return " " + fresh  # models leave out the space that begins their first word
    return fresh
