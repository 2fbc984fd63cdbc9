"""Quota states of one process, for tests, simulation and a gateway that may forget.

Rules: nothing survives the process. Two ledgers of one process may share it (`exclusive=False`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from potluck.quota.state import R, State


class MemoryStore:
    remote = False

    def __init__(self, *, exclusive: bool = True) -> None:
        self.exclusive = exclusive
        self._states: dict[str, State] = {}
        self._version = 0

    def step(self, ids: Sequence[str], change: Callable[[list[State]], R]) -> R:
        self._version += not self.exclusive  # alone, nobody else can have changed anything
        return change(self.read(ids))

    def read(self, ids: Sequence[str]) -> list[State]:
        return [self._states.get(id) or self._states.setdefault(id, State()) for id in ids]

    def version(self) -> int:
        return self._version

    def close(self) -> None:
        """Nothing to give back."""
