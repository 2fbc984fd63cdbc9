"""What a stored answer is, which to drop, and what any store of them offers.

Rules: nothing that a request asks of a store raises because the store is gone: that is a miss.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

OVERHEAD = 400  # bytes of an entry besides its answer: key, names, indexes


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answer. Times are epoch seconds; `answer` is JSON of Chat Completions or Embeddings.

    `question`, `context` and `vector` (float32) are there for what may also answer other words; `same` is the key of
    the first entry that was found to give the same answer.
    """

    key: bytes
    tenant: str
    model: str  # as the client asked
    target: str  # who answered
    made: float
    expires: float
    answer: bytes
    tokens_in: int = 0  # spent on it, and spared by each hit
    tokens_out: int = 0
    requests: int = 1
    tags: tuple[str, ...] = ()
    question: str = ""
    context: bytes = b""
    vector: bytes = b""
    same: bytes = b""

    @property
    def size(self) -> int:
        return len(self.answer) + len(self.question) + len(self.vector) + OVERHEAD


class Which(msgspec.Struct, frozen=True):
    """What to drop: all that is said must hold; nothing said is everything. `before` is epoch seconds."""

    tenant: str | None = None
    tag: str | None = None
    model: str | None = None  # as asked, or the target that answered
    before: float | None = None

    def matches(self, entry: Entry) -> bool:
        return (
            (self.tenant is None or entry.tenant == self.tenant)
            and (self.tag is None or self.tag in entry.tags)
            and (self.model is None or self.model in (entry.model, entry.target))
            and (self.before is None or entry.made < self.before)
        )


class Stats(msgspec.Struct, frozen=True):
    """`models` has entries by the target that answered, `counts` how often each outcome was."""

    entries: int = 0
    bytes: int = 0
    oldest: float = 0.0  # epoch seconds, 0 = there is none
    models: dict[str, int] = {}
    counts: dict[str, int] = {}


class Answers(Protocol):
    """Where answers are stored. `put` and `count` return at once; `drop` and `stats` raise what the store raises."""

    async def get(self, key: bytes, now: float) -> Entry | None: ...

    def put(self, entry: Entry, now: float) -> None: ...

    def count(self, outcome: str) -> None: ...

    async def drop(self, which: Which) -> int: ...

    async def stats(self) -> Stats: ...

    async def meant(self, after: int, limit: int) -> list[tuple[int, Entry]]:
        """Entries that have a question, each with a number that grows; those above `after`."""
        ...

    def close(self) -> None: ...
