"""Whose turn it is, among the workers that share a data directory: a lock on a file beside what is worked on.

Rules: at most one holds it, a dead one holds none, nobody waits.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def turn(path: Path) -> Iterator[bool]:
    """Whether it is ours. Raises OSError when the lock's file cannot be written."""
    if sys.platform == "win32":
        yield True  # one worker only there
        return
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
