"""What was learned of token counts, kept over restarts in one small file.

Rules: several workers write it and the last one stands: they see the same models, and a learner that loses an hour
is only a little more careful. A file that cannot be written or read costs nothing but the learning.
"""

from __future__ import annotations

import contextlib
import os

from potluck.config import Settings
from potluck.estimate import Estimates

NAME = "token-estimates.json"


def remembered(settings: Settings) -> Estimates:
    estimates = Estimates()
    with contextlib.suppress(OSError):
        estimates.load((settings.home / NAME).read_bytes())
    return estimates


def remember(settings: Settings, estimates: Estimates) -> None:
    if not estimates.changed:
        return
    path = settings.home / NAME
    fresh = path.with_name(f"{NAME}.{os.getpid()}")
    with contextlib.suppress(OSError):
        fresh.write_bytes(estimates.dump())
        fresh.replace(path)
