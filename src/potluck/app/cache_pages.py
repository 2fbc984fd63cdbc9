"""`/v1/cache`: what is stored (GET), and dropping it by hand (DELETE ?tag= &model= &older_than= &tenant=).

Rules: a client key drops what it has stored itself; an admin key drops anyone's, and alone sees what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from potluck.durations import duration
from potluck.errors import Forbidden, Invalid, NotFound
from potluck.server.answer import Answer
from potluck.server.desk import Visit
from potluck.stages.cache import Cache
from potluck.store.answers import Which

if TYPE_CHECKING:
    from potluck.app.compose import Gateway

ASKED = frozenset({"tag", "model", "older_than", "tenant"})


class CachePages:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def visit(self, visit: Visit) -> Answer:
        """Raises NotFound, Forbidden, Invalid."""
        visit.needs("GET", "DELETE")
        stage = self._gateway.stages.made.get("cache")
        if not isinstance(stage, Cache):
            raise NotFound('No profile uses the cache. `stages = ["cache"]` in potluck.toml turns it on.')
        if visit.method == "GET":
            if not visit.key.limits.admin:
                raise Forbidden("Only an admin key sees what is stored: `potluck keys create --admin`.")
            return Answer(msgspec.json.encode(await stage.answers.stats()))
        dropped = await stage.answers.drop(self._which(visit))
        return Answer(msgspec.json.encode({"dropped": dropped}))

    def _which(self, visit: Visit) -> Which:
        asked = {name: values[-1] for name, values in parse_qs(visit.query.decode("latin-1")).items()}
        if strange := sorted(asked.keys() - ASKED):
            raise Invalid(
                f"{strange[0]!r} says nothing here. What to drop is said with {', '.join(sorted(ASKED))}.",
                param=strange[0],
            )
        before = None
        if "older_than" in asked:
            seconds = duration(asked["older_than"])
            if seconds is None:
                raise Invalid("'older_than' is seconds, or a duration such as 12h or 7d.", param="older_than")
            before = self._gateway.clock.now() - seconds
        tenant = asked.get("tenant")
        if not visit.key.limits.admin:
            if tenant not in (None, visit.key.id):
                raise Forbidden("Only an admin key drops what others have stored.")
            tenant = visit.key.id
        return Which(tenant=tenant, tag=asked.get("tag"), model=asked.get("model"), before=before)
