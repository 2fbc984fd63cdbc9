"""What a simulated day asks for: a sentence ("300 chats a day, 2000 tokens in, 70% by day") or a trace file.

Rules: pure but for `read`; the same seed makes the same day. Moments are seconds from the start of the day,
which is midnight on this machine's clock; "by day" is DAYTIME of it. A word that is not understood is an error:
a plan for another workload than the one that was meant is worse than none.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from potluck.errors import Invalid
from potluck.types import Kind

DAY, HOUR = 86_400.0, 3600.0
DAYTIME = (8, 22)  # hours
SPREAD = 0.6  # sigma of the log-normal lengths: the middle half is within 2/3 and 3/2 of the median
LIMIT = 200_000  # requests: beyond this a day is not simulated in seconds any more


class Ask(msgspec.Struct, frozen=True):
    """One request to come. `at`: seconds from the start; tokens as the provider will count them."""

    at: float
    tokens_in: int = 1000
    tokens_out: int = 300
    kind: Kind = "chat"
    quality: int = 0  # the lowest tier that will do
    needs: frozenset[str] = frozenset()


class Shape(msgspec.Struct, frozen=True):
    """What a sentence says. Shares are 0..1, tokens medians; `by_day` None = evenly round the clock."""

    a_day: float = 0.0
    tokens_in: int = 1000
    tokens_out: int = 300
    kind: Kind = "chat"
    by_day: float | None = None
    burst: int = 1
    quality: int = 0
    quality_share: float = 0.0
    image_share: float = 0.0
    tool_share: float = 0.0


_N = r"(?P<n>\d[\d,_ ]*(?:\.\d+)?)\s*(?P<k>[kKmM]?)"
_P = r"(?P<n>\d+(?:\.\d+)?)(?P<k>)\s*%\s+(?:of\s+\w+\s+)?"
_PER = {"day": 1.0, "hour": 24.0, "minute": 1440.0, "week": 1 / 7}


def _rate(match: re.Match[str], value: float) -> dict[str, Any]:
    kind = "embeddings" if match["what"].startswith("embed") else "chat"
    return {"a_day": value * _PER[match["per"]], "kind": kind}


Rule = tuple[str, Callable[[re.Match[str], float], dict[str, Any]]]
RULES: tuple[Rule, ...] = (
    (
        _N + r"\s*(?P<what>chats?|requests?|questions?|calls?|embeddings?)\s+(?:an?|per|each|every)\s+"
        r"(?P<per>day|hour|minute|week)",
        _rate,
    ),
    (_N + r"\s*(?:input\s+tokens|tokens\s+in|in)", lambda _, n: {"tokens_in": round(n)}),
    (_N + r"\s*(?:output\s+tokens|tokens\s+out|out)", lambda _, n: {"tokens_out": round(n)}),
    (_P + r"(?:by|in|during)\s+(?:the\s+)?day", lambda _, n: {"by_day": n / 100}),
    (_P + r"(?:by|at|in the)\s+night", lambda _, n: {"by_day": 1 - n / 100}),
    (r"in\s+bursts\s+of\s+" + _N, lambda _, n: {"burst": max(1, round(n))}),
    (
        _P + r"needs?\s+quality\s+(?P<tier>[1-5])",
        lambda match, n: {"quality_share": n / 100, "quality": int(match["tier"])},
    ),
    (_P + r"(?:with|needs?)\s+images?", lambda _, n: {"image_share": n / 100}),
    (_P + r"(?:with|needs?|use)\s+tools?", lambda _, n: {"tool_share": n / 100}),
)
_EXAMPLE = '"300 chats a day, 2000 tokens in, 400 out, 70% by day, 10% need quality 4, 5% with images, in bursts of 3"'


def shape(sentence: str) -> Shape:
    """Raises Invalid, naming the words that were not understood."""
    said: dict[str, Any] = {}
    for part in re.split(r",(?!\d{3})|;|\band\b", sentence):
        words = part.strip().lower()
        if words:
            said |= _part(words)
    if not said.get("a_day"):
        raise Invalid(f"The workload does not say how many requests a day. Write it like {_EXAMPLE}.")
    if said["a_day"] > LIMIT:
        raise Invalid(f"More than {LIMIT:,} requests a day are not simulated; simulate a part of them.")
    if any(
        not 0 <= said.get(share, 0) <= 1 for share in ("by_day", "quality_share", "image_share", "tool_share")
    ):
        raise Invalid("A share is between 0% and 100%.")
    return Shape(**said)


def _part(words: str) -> dict[str, Any]:
    for pattern, made in RULES:
        match = re.fullmatch(pattern, words)
        if match:
            number = float(re.sub("[,_ ]", "", match["n"])) * {"": 1, "k": 1e3, "m": 1e6}[match["k"].lower()]
            return made(match, number)
    raise Invalid(f"{words!r} is not understood in a workload. Write it like {_EXAMPLE}.")


def asks(shape: Shape, days: int, seed: int) -> list[Ask]:
    """The requests of so many days, in order."""
    chance = random.Random(seed)
    found: list[Ask] = []
    for day in range(days):
        for _ in range(max(1, round(shape.a_day / shape.burst))):
            at = day * DAY + _moment(shape.by_day, chance)
            found += [_one(shape, at + 2.0 * n, chance) for n in range(shape.burst)]
    found.sort(key=lambda ask: ask.at)
    return found


def _moment(by_day: float | None, chance: random.Random) -> float:
    start, end = DAYTIME
    if by_day is None:
        return chance.random() * DAY
    if chance.random() < by_day:
        return (start + chance.random() * (end - start)) * HOUR
    return (end + chance.random() * (24 - end + start)) * HOUR % DAY


def _one(shape: Shape, at: float, chance: random.Random) -> Ask:
    needs = set()
    if shape.image_share and chance.random() < shape.image_share:
        needs.add("image")
    if shape.tool_share and chance.random() < shape.tool_share:
        needs.add("tools")
    demanding = shape.quality_share and chance.random() < shape.quality_share
    return Ask(
        at,
        max(1, round(shape.tokens_in * chance.lognormvariate(0.0, SPREAD))),
        max(1, round(shape.tokens_out * chance.lognormvariate(0.0, SPREAD))) if shape.kind == "chat" else 0,
        shape.kind,
        shape.quality if demanding else 0,
        frozenset(needs),
    )


NAMES: Mapping[str, tuple[str, ...]] = {  # what public traces call the same thing
    "at": ("at", "timestamp", "time", "arrival", "arrived_at", "start_time"),
    "tokens_in": (
        "tokens_in",
        "contexttokens",
        "input_length",
        "request tokens",
        "input_tokens",
        "prompt_tokens",
    ),
    "tokens_out": (
        "tokens_out",
        "generatedtokens",
        "output_length",
        "response tokens",
        "output_tokens",
        "completion_tokens",
    ),
    "quality": ("quality", "min_quality"),
    "kind": ("kind",),
}


def read(path: Path, *, stretch: bool = False, every: int = 1) -> list[Ask]:
    """The requests of a trace: CSV with a header, or JSON lines; either may be gzipped.

    The first request comes at 0 s. `stretch`: spread over a whole day what covers less. `every`: only each n-th.
    Raises Invalid where columns are missing, OSError where there is no such file.
    """
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        name = path.name.removesuffix(".gz")
        try:
            rows: Iterable[Mapping[str, Any]] = (
                map(json.loads, filter(str.strip, file))
                if name.endswith((".jsonl", ".json"))
                else csv.DictReader(file)
            )
            found = [_row(row, path, number) for number, row in enumerate(rows, 1) if number % every == 0]
        except (json.JSONDecodeError, UnicodeDecodeError, csv.Error, EOFError) as error:
            raise Invalid(f"{path} is neither CSV with a header nor JSON lines: {error}") from error
    if not found:
        raise Invalid(f"{path} holds no request.")
    if len(found) > LIMIT:
        raise Invalid(f"{path} holds more than {LIMIT:,} requests; take each n-th of them with --every.")
    return _from_zero(found, stretch)


def _from_zero(found: Sequence[Ask], stretch: bool) -> list[Ask]:
    first, last = min(ask.at for ask in found), max(ask.at for ask in found)
    factor = DAY / (last - first + 1.0) if stretch and last - first < DAY else 1.0
    moved = [msgspec.structs.replace(ask, at=(ask.at - first) * factor) for ask in found]
    return sorted(moved, key=lambda ask: ask.at)


def _row(row: Mapping[str, Any], path: Path, number: int) -> Ask:
    named = {str(key).strip().lower(): value for key, value in row.items()}
    values = {name: next((named[n] for n in names if n in named), None) for name, names in NAMES.items()}
    if values["at"] is None or values["tokens_in"] is None:
        raise Invalid(
            f"{path} needs columns for the time and the input tokens, such as at,tokens_in,tokens_out."
        )
    try:
        at = _seconds(values["at"], milliseconds="input_length" in named)
        tokens_in, tokens_out = int(float(values["tokens_in"])), int(float(values["tokens_out"] or 0))
        kind: Kind = "embeddings" if values["kind"] == "embeddings" else "chat"
        return Ask(at, max(1, tokens_in), max(0, tokens_out), kind, int(values["quality"] or 0))
    except (ValueError, TypeError, OverflowError) as error:
        raise Invalid(f"{path}: request {number} cannot be read: {error}") from error


def _seconds(value: Any, milliseconds: bool) -> float:
    """Epoch seconds, or an ISO date; traces with `input_length` count milliseconds (Mooncake's)."""
    try:
        return float(value) / (1000.0 if milliseconds else 1.0)
    except ValueError:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(value))).timestamp()
