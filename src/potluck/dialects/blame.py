"""What a refusal means: whose fault it is and whether another target, another time, or nobody can help.

The provider's own rules (`[[error]]` of its TOML) are asked first, then what HTTP and common practice say.
This is the only place that looks at the text of an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from potluck import errors
from potluck.durations import duration
from potluck.types import Behaviour, Blame

MAX_MESSAGE = 300  # characters of a provider's message that we repeat
_HINT = re.compile(
    r"(?:try again|retry|wait|available)[^0-9]{0,24}(\d[\d.]*\s*(?:ms|seconds|second|minutes|minute|s|m|h|d)?"
    r"(?:\s*\d[\d.]*(?:ms|s|m|h))*)",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context[_ ](?:length|window|size)|maximum context|exceed_context_size|prompt (?:is )?too long|too many tokens",
    re.IGNORECASE,
)
_SECRETISH = re.compile(r"\b(?:sk|pk|gsk|hf|nvapi|AIza)[-_A-Za-z0-9]{12,}")

_MEANS_BY_STATUS = {
    400: "bad_request",
    401: "bad_key",
    402: "no_money",
    403: "forbidden",
    404: "gone",
    408: "unavailable",
    409: "unavailable",
    410: "gone",
    413: "too_large",
    422: "bad_request",
    429: "minute",
    498: "busy",
    503: "busy",
    529: "busy",
}


def blame(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, behaviour: Behaviour
) -> errors.TargetFailed:
    """The failure that a refusal stands for. Never raises; `retry_after` is the provider's own hint."""
    text = body[:65536].decode("utf-8", "replace")
    rule = _rule(status, text, behaviour.blames)
    means = rule.means if rule else _by_status(status, text)
    said = message(text) or f"HTTP {status}"
    hint = _hint(headers, text)
    return _FAILURES[means](said, status, hint, rule.unit if rule else "", means)


def of_whole(raw: bytes, problem: str) -> errors.TargetFailed:
    """A 200 whose body is not an answer: an error object in disguise, or not JSON at all."""
    said = message(raw[:65536].decode("utf-8", "replace"))
    if said:
        return errors.Unavailable(f"the provider answered 200 with an error in it: {said}", status=200)
    return errors.Malformed(f"the provider's answer is not the JSON it should be: {problem}", status=200)


def message(text: str) -> str:
    """The sentence for people inside an error body of any of the known shapes, without anything like a key."""
    try:
        data: Any = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        data = None if text.lstrip()[:1] in ("<", "{", "[") else text.strip()
    return _SECRETISH.sub("***", _sentence(data))[:MAX_MESSAGE]


def _sentence(data: Any) -> str:
    if isinstance(data, list) and data:  # one-element arrays around the object
        return _sentence(data[0])
    if isinstance(data, str):
        return data
    if not isinstance(data, dict):
        return ""
    for name in ("error", "message", "errors", "detail", "title"):
        if data.get(name):
            return _sentence(data[name])
    return ""


def _rule(status: int, text: str, rules: tuple[Blame, ...]) -> Blame | None:
    for rule in rules:
        if rule.status in (0, status) and (not rule.pattern or _compiled(rule.pattern).search(text)):
            return rule
    return None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _by_status(status: int, text: str) -> str:
    if status in (400, 413, 422) and _CONTEXT.search(text):
        return "context"
    if 300 <= status < 400:
        return "redirect"
    return _MEANS_BY_STATUS.get(status, "bad_request" if 400 <= status < 500 else "unavailable")


def _hint(headers: list[tuple[bytes, bytes]], text: str) -> float | None:
    for name, value in headers:
        if name == b"retry-after":
            seconds = duration(value.decode("latin-1"))
            if seconds is not None:
                return seconds
    found = re.search(r'"retryDelay"\s*:\s*"([^"]+)"', text) or _HINT.search(text)
    if found is None:
        return None
    words = re.sub(r"\s*(?:seconds|second)$", "s", found.group(1).rstrip(". "))
    return duration(re.sub(r"\s*(?:minutes|minute)$", "m", words))


def _limited(said: str, status: int, hint: float | None, unit: str, means: str) -> errors.TargetFailed:
    return errors.RateLimited(said, means=means, unit=unit, status=status, retry_after=hint)


def _plain(kind: type[errors.TargetFailed]) -> Callable[..., errors.TargetFailed]:
    def make(said: str, status: int, hint: float | None, unit: str, means: str) -> errors.TargetFailed:
        return kind(said, status=status, retry_after=hint)

    return make


def _redirect(said: str, status: int, hint: float | None, unit: str, means: str) -> errors.TargetFailed:
    return errors.Unavailable(
        f"the provider redirects (HTTP {status}); redirects are not followed, because the key would go along. "
        "Correct base_url in its TOML file.",
        status=status,
    )


_FAILURES: dict[str, Callable[..., errors.TargetFailed]] = {
    "minute": _limited,
    "hour": _limited,
    "day": _limited,
    "month": _limited,
    "once": _limited,
    "never": _limited,
    "too_large": _plain(errors.NeverFits),
    "busy": _plain(errors.Busy),
    "no_money": _plain(errors.OutOfCredit),
    "bad_key": _plain(errors.Denied),
    "forbidden": _plain(errors.Denied),
    "gone": _plain(errors.Gone),
    "context": _plain(errors.ContextExceeded),
    "content": _plain(errors.ContentRefused),
    "bad_request": _plain(errors.NotUnderstood),
    "unavailable": _plain(errors.Unavailable),
    "redirect": _redirect,
}
