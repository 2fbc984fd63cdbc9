"""The batching stage of one gateway: whether requests or tokens are what runs out first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.stages.batching import Batching
from potluck.types import Request

if TYPE_CHECKING:
    from potluck.app.compose import Gateway


def batching(gateway: Gateway) -> Batching:
    def scarce(request: Request) -> bool:
        """Whether the emptiest quota of the best target with room is one of requests."""
        pool = gateway.pool
        rooms = [
            gateway.ledger.room(one)
            for one in pool.candidates(pool.wish(request.model), "chat")
            if one.quotas
        ]
        open = [room for room in rooms if not room.opens_at and room.scarcest is not None]
        best = max(open, key=lambda room: room.share, default=None)
        return best is not None and best.scarcest is not None and best.scarcest.unit == "requests"

    return Batching(gateway.settings.batching, scarce)
