"""What the ledger's tests share: a clock that stands still until told, targets, and every store that keeps
states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from potluck.quota.ledger import Full, Hold, Ledger
from potluck.quota.memory import MemoryStore
from potluck.quota.sqlite import SqliteStore
from potluck.quota.state import Store
from potluck.types import Behaviour, Quota, Target, Unit, Window

PLAIN = Behaviour()
NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC


class Clock:
    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def quota(amount: int, window: Window, unit: Unit = "requests", scope: str = "acme/k1") -> Quota:
    return Quota(scope, unit, amount, window, label=f"{unit}/{window.kind}")


def target(*quotas: Quota, id: str = "acme/m", behaviour: Behaviour = PLAIN) -> Target:
    return Target(
        id=id, provider="acme", model="m", name="m", base_url="http://x", quotas=quotas, behaviour=behaviour
    )


def drain(ledger: Ledger, target: Target, tries: int, tokens: tuple[int, int] = (0, 0)) -> list[Hold]:
    """As many holds as `tries` attempts get."""
    holds = []
    for _ in range(tries):
        try:
            holds.append(ledger.reserve(target, *tokens))
        except Full:
            continue
    return holds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """A function that opens one more connection to the same shared store."""
    shared = MemoryStore(exclusive=False)
    opened: list[Store] = []

    def open() -> Store:
        store: Store = shared if request.param == "memory" else SqliteStore(tmp_path / "quota.db")
        opened.append(store)
        return store

    yield open
    for store in opened:
        store.close()
