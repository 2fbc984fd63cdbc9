"""What the cache asks of whatever finds stored answers by the meaning of a question."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from potluck.store.answers import Entry


class Sought(msgspec.Struct, frozen=True):
    """What was found for one question. `hit` is what may be given; `near` are the features of the best candidate."""

    question: str
    context: bytes
    vector: bytes = b""  # of the question, float32
    hit: Entry | None = None
    candidate: Entry | None = (
        None  # the nearest that the guard let through, also where it was not near enough
    )
    near: Any = None


class Meaning(Protocol):
    """One of a gateway. Nothing here raises: whatever goes wrong is nothing found."""

    async def seek(self, question: str, context: bytes, error_rate: float, now: float) -> Sought | None:
        """None where the question is none to be compared, or cannot be now."""
        ...

    def learned(self, entry: Entry, sought: Sought) -> Entry:
        """The model's own answer to a question that was looked for: to be compared with the candidate's, and kept."""
        ...

    def given(self, sought: Sought) -> None:
        """The hit was given, and is not checked."""
        ...

    def close(self) -> None: ...
