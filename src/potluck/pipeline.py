"""One interface for every technique: given a request and the rest of the pipeline, return a reply.

Code orders (`stages.ORDER`), configuration picks. A stage's inner calls pass only through those below it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from potluck.types import Reply, Request

Handler = Callable[[Request], Awaitable[Reply]]


class Stage(Protocol):
    async def __call__(self, request: Request, next: Handler, /) -> Reply:
        """Call `next` never (a cache hit), once (most stages) or often (a cascade)."""
        ...


def compose(stages: Sequence[Stage], last: Handler) -> Handler:
    """The stages around `last`, first one outermost. No stages: `last` itself, at no cost."""
    handler = last
    for stage in reversed(stages):
        handler = _bind(stage, handler)
    return handler


def _bind(stage: Stage, next: Handler) -> Handler:
    async def handler(request: Request) -> Reply:
        return await stage(request, next)

    return handler
