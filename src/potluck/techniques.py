"""What a user may decide about each stage: the tables `[cache]`, `[context]`, `[cascade]`, `[batching]`.

Rules: every default is the safe one. A stage acts only on requests whose profile names it (or that `stages` at the
top of `potluck.toml` names for everyone): an empty file has none.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

STAGES = ("cache", "context", "cascade", "batching")  # every name there is; `stages.ORDER` has their order


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[cache]`: answers given again; `[profiles.<name>.cache]` has its own, whole. Seconds and bytes.

    `ttl_passing` is for questions about today, prices, news and the like. What asks for chance is never stored.
    """

    ttl: Annotated[float, msgspec.Meta(ge=0)] = 604_800.0
    ttl_passing: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    max_temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = (
        0.0  # a client that asks for variety gets it
    )
    shared: bool = False  # true: client keys get each other's answers
    max_entry_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 1024 * 1024
    max_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024)] = 512 * 1024 * 1024  # the least used go first
    semantic: bool = False  # true: also for other words with the same meaning; needs potluck[semantic]
    error_rate: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.02  # of semantic hits that may be wrong
    check_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = (
        0.03  # of semantic hits that are asked again to learn
    )


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[context]`: what of a long conversation is sent.

    `budget` is the most tokens of a prompt; 0 = only what the window of the models sets.
    """

    budget: Annotated[int, msgspec.Meta(ge=0)] = 0


class Cascade(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[cascade]`: small models first.

    `small` are two or three models to ask and compare, `strong` is asked where they do not convince. `quality` is what
    is to be kept of the strong model's, `shadow` the share of small answers that is asked again of it and compared.
    """

    small: tuple[str, ...] = ()
    strong: str = ""
    quality: Annotated[float, msgspec.Meta(ge=0.5, le=1.0)] = 0.95
    shadow: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[batching]`: several small requests in one call.

    `most` requests of at most `most_tokens` each, gathered for `window_ms` milliseconds; `always`: also where tokens
    are scarcer than requests.
    """

    window_ms: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 50.0
    most: Annotated[int, msgspec.Meta(ge=2, le=50)] = 6
    most_tokens: Annotated[int, msgspec.Meta(ge=1)] = 400
    always: bool = False
