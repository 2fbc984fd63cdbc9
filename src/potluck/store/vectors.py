"""Nearest neighbours of a vector among those of stored questions, in this process.

Two tiers, because an index is slow to build and a matrix is slow to search when it is long: new vectors are compared
one by one (10,000 take 1 ms), and once there are `SETTLE` of them a child process adds them to a Qdrant shard on disk,
which is swapped in when it is done. A child, because qdrant-edge holds Python's global lock while it builds: a minute
during which no request would be served (measured: 53 s for 20,000 vectors on a busy machine).

Rules: `numbers` are those of the store and grow. What is stored can be built again from the store: a shard that is
damaged, or of another layout, is thrown away. A directory is of one process at a time; a second worker has its own.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Vector = NDArray[numpy.float32]

WIDTH = 384
SETTLE = 10_000  # vectors that are compared one by one, before they are indexed
ALIAS = (
    1 << 62
)  # numbers from here on are of questions that the store knows nothing of: they last until a restart
EF = 96  # candidates that the index looks at: recall of the first ten against their cost

_log = logging.getLogger("potluck.cache")


class Vectors(Protocol):
    """What the cache needs of an index; an index of many hosts would be one of these, too. Blocking calls."""

    def add(self, number: int, vector: Vector, context: bytes) -> None: ...

    def search(self, vector: Vector, context: bytes, count: int) -> list[tuple[int, float]]:
        """The nearest of this context, nearest first: number and cosine."""
        ...

    def forget(self) -> None:
        """All of them."""
        ...

    @property
    def upto(self) -> int:
        """The highest number that need not be added again after a restart."""
        ...

    def close(self) -> None: ...


class TwoTiers:
    """`directory` holds the shard; `settle` is `SETTLE` except in tests; `release` is called when it is closed."""

    def __init__(
        self, directory: Path, *, settle: int = SETTLE, release: Callable[[], object] = lambda: None
    ) -> None:
        import numpy as np

        self._directory, self._settle, self._release = directory, settle, release
        self._fresh: Vector = np.empty((256, WIDTH), np.float32)
        self._contexts = np.empty(256, np.int64)
        self._numbers = np.empty(256, np.int64)
        self._count = 0
        self._going = 0  # of the fresh ones, how many the child is adding
        self._child: subprocess.Popen[bytes] | None = None
        self._shard: Any = None
        self._upto = 0
        self._load()
        if self._shard is not None:
            self._forget_aliases()

    @property
    def upto(self) -> int:
        return self._upto

    def __len__(self) -> int:
        """Those that are not in the shard yet."""
        return self._count

    def add(self, number: int, vector: Vector, context: bytes) -> None:
        import numpy as np

        if self._count == len(self._fresh):
            room = ((0, self._count), (0, 0))
            self._fresh = np.pad(self._fresh, room)
            self._contexts = np.pad(self._contexts, room[0])
            self._numbers = np.pad(self._numbers, room[0])
        at = self._count
        self._fresh[at], self._contexts[at], self._numbers[at] = vector, short(context), number
        self._count += 1
        if self._count >= self._settle and self._child is None:
            self._begin()

    def search(self, vector: Vector, context: bytes, count: int) -> list[tuple[int, float]]:
        self._swap()
        found = self._among_fresh(vector, short(context), count)
        if self._shard is not None:
            found += self._among_settled(vector, short(context), count)
            found.sort(key=lambda each: -each[1])
        return found[:count]

    def forget(self) -> None:
        self._stop_child()
        self._close_shard()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._count = self._upto = 0

    def close(self) -> None:
        self._stop_child()
        self._close_shard()
        self._release()

    def _among_fresh(self, vector: Vector, context: int, count: int) -> list[tuple[int, float]]:
        import numpy as np

        rows = np.flatnonzero(self._contexts[: self._count] == context)
        if not len(rows):
            return []
        every = len(rows) == self._count  # the usual case needs no copy
        scores = (self._fresh[: self._count] if every else self._fresh[rows]) @ vector
        best = np.argpartition(-scores, min(count, len(scores)) - 1)[:count]
        best = best[np.argsort(-scores[best])]
        return [(int(self._numbers[rows[n]]), float(scores[n])) for n in best]

    def _among_settled(self, vector: Vector, context: int, count: int) -> list[tuple[int, float]]:
        import qdrant_edge as q

        asked = q.SearchRequest(
            query=q.Query.Nearest(vector.tolist()),
            limit=count,
            filter=q.Filter(must=[q.FieldCondition(key="c", match=q.MatchValue(value=context))]),
            params=q.SearchParams(hnsw_ef=EF),
        )
        return [(int(str(each.id)), float(each.score)) for each in self._shard.search(asked)]

    def _begin(self) -> None:
        """Hands what is fresh to a child process; searching goes on meanwhile."""
        import numpy as np

        if util.find_spec("qdrant_edge") is None:
            return
        self._going = self._count
        coming = self._coming
        coming.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(coming, ignore_errors=True)
        if self._shard is not None:
            self._shard.flush()
            shutil.copytree(self._directory, coming)
        coming.mkdir(exist_ok=True)
        np.savez(
            coming / "coming.npz",
            numbers=self._numbers[: self._count],
            contexts=self._contexts[: self._count],
            vectors=self._fresh[: self._count],
        )
        command = [sys.executable, "-m", "potluck.store.settling", str(coming)]
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603

    def _swap(self) -> None:
        """If the child is done: its shard instead of ours, without what is in it now."""
        if self._child is None or self._child.poll() is None:
            return
        status, self._child = self._child.returncode, None
        if status:
            _log.warning(
                "the index of the semantic cache could not be built (exit %s): searching without", status
            )
            self._settle *= 4  # it goes on with the matrix, and is tried again when there is more
            return
        self._close_shard()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._coming.rename(self._directory)
        self._load()
        left = self._count - self._going
        for column in (self._fresh, self._contexts, self._numbers):
            column[:left] = column[self._going : self._count]
        self._count, self._going = left, 0

    @property
    def _coming(self) -> Path:
        return self._directory.with_name(self._directory.name + ".coming")

    def _load(self) -> None:
        if not (self._directory / "upto").exists() or util.find_spec("qdrant_edge") is None:
            return
        import qdrant_edge as q

        try:
            self._upto = int((self._directory / "upto").read_text())
            self._shard = q.EdgeShard.load(str(self._directory))
        except Exception as error:  # the library's own exceptions have no common base
            _log.warning("the index %s cannot be used (%s): it is built again", self._directory, error)
            self._shard, self._upto = None, 0
            shutil.rmtree(self._directory, ignore_errors=True)

    def _forget_aliases(self) -> None:
        import qdrant_edge as q

        alias = q.Filter(must=[q.FieldCondition(key="a", match=q.MatchValue(value=1))])
        self._shard.update(q.UpdateOperation.delete_points_by_filter(alias))

    def _close_shard(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.close()

    def _stop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            shutil.rmtree(self._coming, ignore_errors=True)


def short(context: bytes) -> int:
    """A context as the index filters by it: 63 bits of its hash."""
    return int.from_bytes(context[:8], "big") >> 1
