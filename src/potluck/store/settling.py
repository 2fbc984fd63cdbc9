"""Adds vectors to a Qdrant shard and builds its index: `python -m potluck.store.settling DIRECTORY`, a child process.

Rules: it reads `coming.npz`, and the file `upto` is written last: a directory without it is not finished. It yields to
whatever else runs on the machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from potluck.store.vectors import ALIAS, WIDTH

AT_ONCE = 500  # points in one operation
LINKS, BUILD_EF = (
    16,
    100,
)  # of the HNSW graph (Malkov and Yashunin 2016): links a node, candidates while building


def settle(directory: Path) -> None:
    import numpy as np
    import qdrant_edge as q

    source = directory / "coming.npz"
    with np.load(source) as coming:
        numbers, contexts, vectors = coming["numbers"], coming["contexts"], coming["vectors"]
    source.unlink()
    before, upto = directory / "upto", 0
    if before.exists():
        upto = int(before.read_text())
        before.unlink()
        shard = q.EdgeShard.load(str(directory))
    else:
        shard = q.EdgeShard.create(str(directory), _config(q))
        shard.update(q.UpdateOperation.create_field_index("c", q.PayloadSchemaType.Integer))
    for start in range(0, len(numbers), AT_ONCE):
        rows = range(start, min(len(numbers), start + AT_ONCE))
        points = [
            q.Point(
                int(numbers[n]), vectors[n].tolist(), {"c": int(contexts[n]), "a": int(numbers[n] >= ALIAS)}
            )
            for n in rows
        ]
        shard.update(q.UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    shard.close()
    stored = numbers[numbers < ALIAS]
    (directory / "upto").write_text(str(max(upto, int(stored.max()) if len(stored) else 0)))


def _config(q: Any) -> Any:
    return q.EdgeConfig(
        vectors=q.EdgeVectorParams(size=WIDTH, distance=q.Distance.Dot),
        hnsw_config=q.HnswIndexConfig(
            m=LINKS, ef_construct=BUILD_EF, full_scan_threshold=1_000, max_indexing_threads=1
        ),
        optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1_000),
        max_search_threads=1,
    )


if __name__ == "__main__":
    os.nice(10)
    settle(Path(sys.argv[1]))
