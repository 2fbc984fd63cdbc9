"""Questions that got the same answer, as groups: which belong together, and what they are like in the mean.

Rules: two groups become one when an answer repeats both. Only the latest `KEPT` are remembered: 1.5 kB each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Vector = NDArray[numpy.float32]

KEPT = 20_000


class Groups:
    """A group is named by the key of its first entry."""

    def __init__(self) -> None:
        self._into: dict[bytes, bytes] = {}  # a group that became part of another
        self._sums: OrderedDict[bytes, Vector] = OrderedDict()

    def of(self, group: bytes) -> bytes:
        """The group that this one is part of by now: itself, as a rule."""
        while (into := self._into.get(group)) is not None:
            group = into
        return group

    def add(self, group: bytes, vector: Vector) -> None:
        group = self.of(group)
        total = self._sums.pop(group, None)
        self._sums[group] = vector if total is None else total + vector
        if len(self._sums) > KEPT:
            self._sums.popitem(last=False)

    def join(self, groups: Sequence[bytes]) -> bytes:
        """One group of all of them: its name."""
        first, *others = dict.fromkeys(self.of(group) for group in groups)
        for other in others:
            self._into[other] = first
            if (total := self._sums.pop(other, None)) is not None:
                self.add(first, total)
        return first

    def likeness(self, group: bytes, vector: Vector) -> float:
        """Cosine of a question with the mean of the group's questions; 0 where that is not remembered."""
        total = self._sums.get(self.of(group))
        return 0.0 if total is None else float(total @ vector) / max(1e-9, float(total @ total) ** 0.5)
