"""What was learned of token counts, kept over restarts in one small file.

Rules: several workers write it and the last one stands: they see the same models, and a learner that loses an hour
is only a little more careful. A file that cannot be written or read costs nothing but the learning.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from potluck.app.tokens import UNKNOWN, Tokenizer
from potluck.config import Settings
from potluck.estimate import Estimates

NAME = "token-estimates"


def remembered(settings: Settings, measure: Tokenizer | None) -> Estimates:
    """What was learned with the same measure: a ratio to bytes says nothing of a ratio to tokens."""
    estimates = Estimates() if measure is None else Estimates(UNKNOWN)
    with contextlib.suppress(OSError):
        estimates.load(_path(settings, measure).read_bytes())
    return estimates


def remember(settings: Settings, estimates: Estimates, measure: Tokenizer | None) -> None:
    if not estimates.changed:
        return
    path = _path(settings, measure)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        fresh.write_bytes(estimates.dump())
        fresh.replace(path)


def _path(settings: Settings, measure: Tokenizer | None) -> Path:
    return settings.home / (f"{NAME}.json" if measure is None else f"{NAME}-{measure.name}.json")
