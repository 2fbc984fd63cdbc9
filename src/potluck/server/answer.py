"""A complete HTTP answer as a value, and the one function that sends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

JSON = b"application/json"


class Answer(msgspec.Struct, frozen=True):
    body: bytes
    status: int = 200
    type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def plus(self, headers: tuple[tuple[bytes, bytes], ...]) -> Answer:
        return msgspec.structs.replace(self, headers=(*self.headers, *headers)) if headers else self


async def respond(send: Callable[[dict[str, Any]], Awaitable[None]], answer: Answer) -> None:
    """Sends it in two messages, with its length, so that the connection stays usable."""
    body = answer.body
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.type),
                (b"content-length", b"%d" % len(body)),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
