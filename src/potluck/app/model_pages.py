"""The pages on which clients of Ollama's format look for models before they chat: what is there, what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.errors import UnknownModel
from potluck.server.answer import Answer
from potluck.server.desk import Desk, Visit
from potluck.surfaces.ollama import render_show, render_tags, render_version, shown
from potluck.surfaces.ollama_parse import plain

if TYPE_CHECKING:
    from potluck.app.compose import Gateway


class ModelPages:
    """A client key sees what it may use, and nothing here costs quota."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._started = gateway.clock.now()

    def desks(self) -> dict[str, Desk]:
        return {
            "/api/tags": self.tags,
            "/api/show": self.show,
            "/api/version": self.version,
            "/api/ps": self.running,
            "/": self.alive,
        }

    async def tags(self, visit: Visit) -> Answer:
        visit.needs("GET", "HEAD")
        names = [name for name in self._gateway.pool.names() if visit.key.limits.allows(name)]
        return Answer(render_tags(names, self._started))

    async def show(self, visit: Visit) -> Answer:
        """Raises Invalid, or UnknownModel also for what this client key may not use."""
        visit.needs("POST")
        name = plain(shown(visit.body))
        pool = self._gateway.pool
        wish = pool.wish(name)
        if not visit.key.limits.allows(name):
            raise UnknownModel(f"There is no model {name[:100]!r} here. /api/tags lists them.", param="model")
        targets = [
            target for kind in ("chat", "embeddings", "rerank") for target in pool.candidates(wish, kind)
        ]
        return Answer(render_show(targets, self._started))

    async def version(self, visit: Visit) -> Answer:
        visit.needs("GET", "HEAD")
        return Answer(render_version())

    async def running(self, visit: Visit) -> Answer:
        """Models that are loaded into this server's memory: none are, providers keep theirs."""
        visit.needs("GET", "HEAD")
        return Answer(b'{"models":[]}')

    async def alive(self, visit: Visit) -> Answer:
        """Command lines of this format look here first, some for these very words."""
        visit.needs("GET", "HEAD")
        return Answer(b"Potluck answers as Ollama does. Ollama is running", type=b"text/plain; charset=utf-8")
