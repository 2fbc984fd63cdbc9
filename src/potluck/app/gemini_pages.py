"""The pages of Gemini's format that cost no quota: its listing of models, and its count of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from potluck.errors import NotFound, UnknownModel
from potluck.server.answer import Answer
from potluck.server.desk import Visit
from potluck.surfaces import gemini
from potluck.surfaces.surface import Asked
from potluck.types import Trace

if TYPE_CHECKING:
    from potluck.app.compose import Gateway


class GeminiPages:
    """A client key sees what it may use."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def visit(self, visit: Visit) -> Answer:
        """Everything below `/v1beta/` that is no answer of a model. Raises NotFound, UnknownModel, Invalid."""
        path = visit.path
        if path == "/v1beta/models":
            visit.needs("GET", "HEAD")
            names = [name for name in self._gateway.pool.names() if visit.key.limits.allows(name)]
            rows = [gemini.render_model(name, self._window(name)) for name in names]
            return Answer(msgspec.json.encode({"models": rows}))
        if not path.startswith(gemini.BELOW):
            raise NotFound(
                f"There is nothing at {path[:100]!r}: this format's models are below /v1beta/models."
            )
        if path.endswith(":countTokens"):
            visit.needs("POST")
            asked = Asked(gemini.count_body(visit.body), path, visit.query)
            count = gemini.GENERATE.parse(asked, Trace()).tokens_in
            return Answer(
                msgspec.json.encode({"totalTokens": count}), headers=((b"x-potluck-usage", b"estimated"),)
            )
        if gemini.surface_at(path, visit.query) is not None:
            visit.needs("POST")
        visit.needs("GET", "HEAD")
        name = path.removeprefix(gemini.BELOW)
        if name not in self._gateway.pool.names() or not visit.key.limits.allows(name):
            raise UnknownModel(
                f"There is no model {name[:100]!r} here. /v1beta/models lists them.", param="model"
            )
        return Answer(msgspec.json.encode(gemini.render_model(name, self._window(name))))

    def _window(self, name: str) -> int:
        """The largest window behind a name, in tokens; 0 = unknown."""
        pool = self._gateway.pool
        return max((target.context for target in pool.candidates(pool.wish(name), "chat")), default=0)
