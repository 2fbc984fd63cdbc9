"""Passes a reply on, and hands over what it was once it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from potluck.types import Chunk, Reply

FRAMES = 40  # bytes of a stream for one byte of its text, at most: each token comes in an object of its own


def kept(
    reply: Reply, most: int, store: Callable[[list[Chunk] | None], None], failed: Callable[[], object]
) -> Reply:
    """The same reply; `store` gets its chunks once it is whole and closed, `failed` is called if it never was."""
    whole = reply.whole
    if whole is not None:
        store([whole] if len(whole.raw) <= most else None)
        return reply
    chunks: list[Chunk] = []
    size, ended = 0, False

    async def passing(source: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        nonlocal size, ended
        async for chunk in source:
            size += len(chunk.raw)
            if size <= FRAMES * most:
                chunks.append(chunk)
            else:
                chunks.clear()
            yield chunk
        ended = True

    def finish() -> None:
        if ended:
            store(chunks if size <= FRAMES * most else None)
        else:
            failed()

    # What is owned is released last first: usage is settled before the answer is stored with it.
    return Reply(passing(aiter(reply)), finish, reply.close)
