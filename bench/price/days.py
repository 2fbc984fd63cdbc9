"""The days that are compared: which keys, how many requests, how many of them need a good model; and policies.

Rules: a trace gives its lengths and its rhythm. Of each trace the first half is for tuning, the second for the
report; a half is thinned evenly and stretched over a day. The synthetic days follow the same rule by seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from potluck import catalog
from potluck.app import workload
from potluck.app.workload import DAY, Ask
from potluck.dispatch import Dispatch
from potluck.router import Outlook
from potluck.types import Request, Target

TRACES = Path("/work/shared/data/traces")
SCARCE = 0.25
KEYS = {
    "two": ("groq", "google"),
    "three": ("groq", "google", "cloudflare"),
    "five": ("groq", "google", "cloudflare", "openrouter", "sambanova"),
}
SIZES = (600, 1500, 3000)  # requests a day: ample, tight, too many for two keys
NEEDY = 0.2  # share that needs quality 4


class Day(msgspec.Struct, frozen=True):
    name: str
    targets: tuple[Target, ...]
    asks: tuple[Ask, ...]


def days(report: bool, sizes: tuple[int, ...] = SIZES) -> Iterator[Day]:
    """The days for the report, or those for tuning."""
    for keys, providers in KEYS.items():
        targets = tuple(opened(providers))
        for size in sizes:
            for path in sorted(TRACES.glob("*.csv.gz")):
                yield Day(f"{path.name.split('.')[0]} {keys} {size}", targets, _half(path, report, size))
            sentence = (
                f"{size} chats a day, 1500 tokens in, 400 out, 80% by day, 20% need quality 4, in bursts of 3"
            )
            asks = workload.asks(workload.shape(sentence), 1, 100 + report)
            yield Day(f"by day {keys} {size}", targets, tuple(asks))


def opened(providers: tuple[str, ...]) -> list[Target]:
    """The chat targets that keys for these providers open."""
    known = catalog.load()
    chosen = {name: known[name] for name in providers}
    names = {name for one in chosen.values() for name in (*one.env, *one.key_env)}
    found = catalog.targets(chosen, dict.fromkeys(names, "a-key"))
    return [target for target in found if target.kind == "chat"]


def _half(path: Path, second: bool, size: int) -> tuple[Ask, ...]:
    asks = workload.read(path)
    middle = len(asks) // 2
    half = asks[middle:] if second else asks[:middle]
    chance = random.Random(1 + second)
    kept = sorted(chance.sample(half, min(size, len(half))), key=lambda ask: ask.at)
    first, span = kept[0].at, kept[-1].at - kept[0].at + 1.0
    return tuple(
        msgspec.structs.replace(
            ask, at=(ask.at - first) * DAY / span, quality=4 if chance.random() < NEEDY else 0
        )
        for ask in kept
    )


class Greedy(Dispatch):
    """Best first, whatever is left of it."""

    def _outlook(self, target: Target, request: Request) -> Outlook:
        return msgspec.structs.replace(super()._outlook(target, request), risk=0.0)


class Before(Dispatch):
    """The score before there were prices: half a tier for room, and 1.5 off below a quarter of it."""

    def _outlook(self, target: Target, request: Request) -> Outlook:
        seen: Any = super()._outlook(target, request)
        scarce = 1.5 * (1.0 - seen.share / SCARCE) if seen.share < SCARCE else 0.0
        # A share of twice the size weighs half a tier, and flakiness is one tier each.
        return msgspec.structs.replace(
            seen, share=2.0 * seen.share, flakiness=seen.flakiness + scarce, risk=0.0, full=False
        )


POLICIES: dict[str, type[Dispatch]] = {"greedy": Greedy, "before": Before, "price": Dispatch}
