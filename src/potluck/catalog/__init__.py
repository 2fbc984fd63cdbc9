"""Facts about providers: `providers/*.toml` in, targets out. No provider is named in Python.

Rules: loading is strict and names file and line; every number keeps its basis, source and date; what is
unknown is read in the way that can only waste, never over-run.
"""

from __future__ import annotations

from potluck.catalog.access import behaviour_of, quota_of
from potluck.catalog.choice import AS_IT_IS, Choice, funded, key_of
from potluck.catalog.discover import canonical, discovered, door, hosted, local_targets, quality_of
from potluck.catalog.listing import Listed, listed
from potluck.catalog.load import SHIPPED, load
from potluck.catalog.schema import Limit, Model, Provider, Source
from potluck.catalog.targets import facts_age, targets, why_not
from potluck.catalog.windows import window_of

__all__ = [
    "AS_IT_IS",
    "SHIPPED",
    "Choice",
    "Limit",
    "Listed",
    "Model",
    "Provider",
    "Source",
    "behaviour_of",
    "canonical",
    "discovered",
    "door",
    "facts_age",
    "funded",
    "hosted",
    "key_of",
    "listed",
    "load",
    "local_targets",
    "quality_of",
    "quota_of",
    "targets",
    "why_not",
    "window_of",
]
