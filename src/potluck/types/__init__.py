"""The nouns: a request becomes a plan, a plan is worked off in attempts, one attempt becomes the reply.

Rules: nothing here imports anything else of ours, does I/O, or reads a clock.
"""

from __future__ import annotations

from potluck.types.facts import (
    Behaviour,
    Blame,
    Kind,
    Quota,
    RateHeader,
    Secret,
    Target,
    Unit,
    Usage,
    Window,
    WindowKind,
)
from potluck.types.flow import (
    UNSENT,
    Attempt,
    Chunk,
    Clock,
    Event,
    Kept,
    Plan,
    Priority,
    Reply,
    Request,
    Saving,
    Trace,
)

__all__ = [
    "UNSENT",
    "Attempt",
    "Behaviour",
    "Blame",
    "Chunk",
    "Clock",
    "Event",
    "Kept",
    "Kind",
    "Plan",
    "Priority",
    "Quota",
    "RateHeader",
    "Reply",
    "Request",
    "Saving",
    "Secret",
    "Target",
    "Trace",
    "Unit",
    "Usage",
    "Window",
    "WindowKind",
]
