"""Which stages a request passes, by its profile: made once, found with one look-up.

Rules: a stage is made only if a profile names it, so that an extra that nobody uses is not asked for. Code orders
(`stages.ORDER`), configuration picks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from potluck.app.caching import cache
from potluck.app.cascading import cascade
from potluck.app.fitting import context
from potluck.app.packing import batching
from potluck.pipeline import Handler, Stage, compose
from potluck.stages import ORDER
from potluck.types import Reply, Request

if TYPE_CHECKING:
    from potluck.app.compose import Gateway

Maker = Callable[["Gateway"], Stage]

MAKERS: Mapping[str, Maker] = {"cache": cache, "context": context, "cascade": cascade, "batching": batching}


class Staged:
    """The pipeline of every profile before `last`. `made` holds each stage that is in use, by name."""

    def __init__(self, gateway: Gateway, last: Handler, makers: Mapping[str, Maker] = MAKERS) -> None:
        settings = gateway.settings
        picked = {name: frozenset(profile.stages) for name, profile in settings.profiles.items()}
        everyone = frozenset(settings.stages)
        wanted = everyone.union(*picked.values())
        self.made: dict[str, Stage] = {name: makers[name](gateway) for name in ORDER if name in wanted}
        self._default = self._composed(everyone, last)
        self._by_profile = {name: self._composed(names, last) for name, names in picked.items()}

    def __call__(self, request: Request) -> Awaitable[Reply]:
        return self._by_profile.get(request.model, self._default)(request)

    def close(self) -> None:
        """Gives back what stages hold: each that has a `close` is closed."""
        for stage in self.made.values():
            close = getattr(stage, "close", None)
            if close is not None:
                close()

    def _composed(self, names: frozenset[str], last: Handler) -> Handler:
        return compose([self.made[name] for name in ORDER if name in names], last)
