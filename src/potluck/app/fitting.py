"""The context stage of one gateway: the window of those who will be asked, and how texts are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.stages.context import Context
from potluck.surfaces.openai import BYTES_PER_TOKEN
from potluck.types import Request

if TYPE_CHECKING:
    from potluck.app.compose import Gateway


def context(gateway: Gateway) -> Context:
    """A request is made to fit the widest window among those that have room now: it goes to whoever has that one."""

    def window(request: Request) -> int:
        pool = gateway.pool
        targets = pool.candidates(pool.wish(request.model), "chat")
        open = [target for target in targets if not gateway.ledger.room(target).opens_at]
        return max((target.context for target in open or targets), default=0)

    def count(text: str) -> int:
        if gateway.tokenizer is not None:
            return gateway.tokenizer.count(text)
        return int(len(text.encode()) / BYTES_PER_TOKEN) + 1

    return Context(gateway.settings.context, window, count)
