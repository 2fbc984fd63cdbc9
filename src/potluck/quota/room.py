"""What a ledger says about room: how much there is, or that there is none and when to come back.

Rules: values for the router, the API and people; no arithmetic.
"""

from __future__ import annotations

import msgspec

from potluck.types import Quota


class Full(Exception):
    """No room. `retry_at`: epoch seconds when it may open, inf = never.

    `quota` is None when no quota is at fault: the target is cooling down or refused this size before.
    """

    def __init__(self, quota: Quota | None, retry_at: float, why: str = "") -> None:
        super().__init__(
            why or (f"{quota.scope}: {quota.label or quota.unit} is full" if quota else "no room")
        )
        self.quota, self.retry_at = quota, retry_at


class Short(Exception):
    """The lease is spent and the store is across a network: await `reserve_async`."""


class Room(msgspec.Struct, frozen=True):
    """`share`: 0..1, what is free of the tightest quota (`scarcest`); `left`: the same in whole units.

    `opens_at`: 0 = open now, inf = never, else epoch seconds.
    """

    share: float
    opens_at: float
    scarcest: Quota | None
    left: int


class QuotaState(msgspec.Struct, frozen=True):
    """One quota as a person, the API and the metrics see it; amounts in the quota's own unit.

    `amount` is what holds now; where the provider taught us another number than the catalog's `published`,
    `learned` is set. `left` counts units other workers leased and did not spend as gone.
    """

    scope: str
    label: str
    unit: str
    amount: int
    published: int
    used: int
    held: int
    left: int
    resets_at: float
    closed_until: float
    why: str
    basis: str
    source: str
    learned: bool
