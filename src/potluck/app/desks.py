"""Every desk by its path: what a gateway answers besides chats and its own pages. A row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.app.cache_pages import CachePages
from potluck.app.cascading import FeedbackDesk
from potluck.app.gemini_pages import GeminiPages
from potluck.app.model_pages import ModelPages
from potluck.server.answer import Answer
from potluck.server.desk import Desk, Visit
from potluck.surfaces import anthropic
from potluck.surfaces.routes import COUNT_TOKENS
from potluck.surfaces.surface import Asked
from potluck.types import Trace

if TYPE_CHECKING:
    from potluck.app.compose import Gateway


def desks(gateway: Gateway) -> dict[str, Desk]:
    return {
        "/v1/responses/*": gateway.memory.visit,
        "/v1/messages/count_tokens": count_tokens,
        "/v1/cache": CachePages(gateway).visit,
        "/v1beta/*": GeminiPages(gateway).visit,
        "/v1/feedback": FeedbackDesk(gateway).visit,
        **gateway.background.desks(),
        **ModelPages(gateway).desks(),
    }


async def count_tokens(visit: Visit) -> Answer:
    """Costs no quota: nobody is asked, and the number is the estimate that would be held."""
    visit.needs("POST")
    request = COUNT_TOKENS.parse(Asked(visit.body, visit.path, visit.query), Trace())
    return Answer(anthropic.render_count(request), headers=((b"x-potluck-usage", b"estimated"),))
