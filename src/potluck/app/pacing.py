"""Which accounts are paced and how: the configuration's manners, applied to one target.

Rules: what a user wrote for a provider binds. Else free accounts elsewhere are paced, and what is local, paid,
one's own, or on this machine is not: nobody is annoyed by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from potluck import catalog
from potluck.config import Settings
from potluck.pacing import Pace, Pacing
from potluck.quota.room import QuotaState
from potluck.types import Target
from potluck.upstream.origin import Origin, is_loopback

_OURS = frozenset({"local", "dedicated", "paid"})  # categories that nobody gives away


def pacing(settings: Settings, providers: Mapping[str, catalog.Provider]) -> Pacing:
    return Pacing(rule(settings, providers))


def rule(settings: Settings, providers: Mapping[str, catalog.Provider]) -> Callable[[Target], Pace | None]:
    """How a target's account is paced by one worker, or None."""
    plain = settings.pacing
    usual = Pace(plain.gap, plain.burst, plain.concurrent, plain.per_host)

    def pace(target: Target) -> Pace | None:
        chosen = settings.providers.get(target.provider)
        own = chosen.pacing if chosen is not None else None
        if own is not None:
            if not own.enabled:
                return None
            told = {name: getattr(own, name) for name in Pace.__struct_fields__}
            found = msgspec.structs.replace(usual, **{k: v for k, v in told.items() if v is not None})
            return found.shared_by(settings.workers)
        provider = providers.get(target.provider)
        if not plain.enabled or target.local or target.paid or (provider and provider.category in _OURS):
            return None
        return None if is_loopback(Origin.of(target.base_url).host) else usual.shared_by(settings.workers)

    return pace


def bursts(pacing: Pacing, now: float, at: float) -> list[dict[str, Any]]:
    """The paced accounts that were used, as rows beside the quotas. `now` is monotonic, `at` epoch seconds."""
    rows: list[dict[str, Any]] = []
    for one in pacing.accounts(now):
        row = QuotaState(
            scope=f"{one.provider}/pacing", label="burst (our pacing)", unit="requests",
            amount=one.burst, published=one.burst, used=one.burst - one.open, held=one.flying,
            left=one.open if not one.wait else 0, resets_at=at + one.whole, closed_until=0.0, why="",
            basis="assumed", source="[pacing]", learned=False,
        )  # fmt: skip
        plain: dict[str, Any] = msgspec.to_builtins(row)
        rows.append(plain | {"per_hour": 0.0, "runs_out_at": math.inf, "returns_at": at + one.whole})
    return rows
