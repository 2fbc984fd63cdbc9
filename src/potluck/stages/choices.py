"""Several choices of one answer (`n`), or answers to several prompts: one request each, at the same time.

Rules: a request for one choice costs one comparison. Each choice is a request of its own to everything below, with its
own attempts and quotas, and never from a cache: identical answers are no choice. All come, or the request fails: before
anything is shown with the first error, after it with an error event. Usage is the sum, told once, at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence

import msgspec

from potluck.pipeline import Handler
from potluck.types import Chunk, Event, Reply, Request, Usage

FRESH = "no-cache, no-store"


class Choices:
    """Stands before every other stage."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def __call__(self, request: Request) -> Awaitable[Reply]:
        return self._handler(request) if len(request.bodies) < 2 else self._several(request)

    async def _several(self, request: Request) -> Reply:
        """Raises what the first that failed raised; the others are cancelled and settled."""
        count = len(request.bodies)
        one = request.replace(bodies=(), caching=FRESH, budget=request.budget * count)
        tasks = [
            asyncio.ensure_future(self._handler(one.replace(body=body, native=None)))
            for body in request.bodies
        ]
        try:
            replies = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, Reply):
                    done.close()
            raise
        if not request.stream:
            return await _whole(replies)
        return Reply(_merged(replies), *(reply.close for reply in replies))


async def _whole(replies: Sequence[Reply]) -> Reply:
    """Every choice's events, each with its number, and the sum of their usage."""
    events: list[Event] = []
    used: list[Usage] = []
    try:
        for number, reply in enumerate(replies):
            async for chunk in reply:
                events += _numbered(chunk, number, used)
    finally:
        for reply in replies:
            reply.close()
    return Reply.of(*events, *_told(used))


async def _merged(replies: Sequence[Reply]) -> AsyncIterator[Chunk]:
    """Chunks of all of them as they come. Raises what the first that broke raised."""
    arrived: asyncio.Queue[tuple[int, Chunk | None]] = asyncio.Queue()
    used: list[Usage] = []

    async def read(number: int, reply: Reply) -> None:
        async for chunk in reply:
            arrived.put_nowait((number, chunk))

    def over(number: int) -> None:
        arrived.put_nowait((number, None))

    tasks = [asyncio.create_task(read(number, reply)) for number, reply in enumerate(replies)]
    for number, task in enumerate(tasks):
        task.add_done_callback(lambda _, number=number: over(number))  # type: ignore[misc]
    try:
        open = len(tasks)
        while open:
            number, chunk = await arrived.get()
            if chunk is None:
                open -= 1
                tasks[number].result()
            elif events := _numbered(chunk, number, used):
                yield Chunk.of(*events)
        yield Chunk.of(*_told(used))
    finally:
        for task in tasks:
            task.cancel()


def _numbered(chunk: Chunk, number: int, used: list[Usage]) -> list[Event]:
    """The chunk's events as those of one choice; their usage goes into the sum."""
    found = []
    for event in chunk.events:
        if event.usage is not None:
            used.append(event.usage)
        if event.meaningful:
            found.append(msgspec.structs.replace(event, choice=number, usage=None))
    return found


def _told(used: Sequence[Usage]) -> list[Event]:
    if not used:
        return []
    inputs, outputs, cached = (
        sum(getattr(one, name) for one in used) for name in ("input", "output", "cached")
    )
    return [Event(usage=Usage(inputs, outputs, cached, any(one.estimated for one in used)))]
