"""What a user may decide about each stage: the tables `[cache]`, `[context]`, `[cascade]`, `[batching]`.

Rules: every default is the safe one. A stage acts only on requests whose profile names it (or that `stages` at the
top of `potluck.toml` names for everyone): an empty file has none.
"""

from __future__ import annotations

import msgspec

STAGES = ("cache", "context", "cascade", "batching")  # every name there is; `stages.ORDER` has their order


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[cache]`: answers given again."""


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[context]`: what of a long conversation is sent."""


class Cascade(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[cascade]`: small models first."""


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[batching]`: several small requests in one call."""
