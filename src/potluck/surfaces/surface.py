"""What a client-facing wire format is: pure functions between its bytes and our nouns.

Rules: nothing here awaits, retries or chooses a target. Inside, a request's fields are those of OpenAI's Chat
Completions, because most providers speak them: another format's `parse` translates into them, and keeps the
client's own fields in `Request.native` for an upstream that speaks the same format. A reply's events are rendered
back; where surface and dialect agree, the provider's bytes are relayed and no function here is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from potluck.errors import PotluckError
from potluck.types import Chunk, Clock, Event, Request, Trace


class Asked(msgspec.Struct, frozen=True):
    """One HTTP request as far as a surface may look: `body` whole, `path` decoded, `query` as sent."""

    body: bytes
    path: str = ""
    query: bytes = b""


class About(msgspec.Struct, frozen=True):
    """What an answer says of itself. `at` is epoch seconds of its request; `id` has no prefix yet.

    `began` is the same moment on the monotonic clock, for formats that say how long an answer took.
    """

    id: str
    model: str
    at: float
    request: Request
    began: float = 0.0
    clock: Clock | None = None


class Writer(Protocol):
    """Renders one stream: `take` any number of times, then `ending` or `broke`. What opens a stream is its own
    business: the first of these calls knows that it is the first.
    """

    def take(self, chunk: Chunk) -> bytes:
        """The chunk in this format; its own bytes where the provider speaks the same one."""
        ...

    def ending(self) -> bytes:
        """What follows a whole answer: the clean terminator."""
        ...

    def broke(self, error: PotluckError) -> bytes:
        """An explicit error, and no terminator after it: a cut answer is never passed off as whole."""
        ...


class Surface(Protocol):
    """One endpoint's format. Stateless: one instance serves every request.

    `name` labels metrics and records. `dialect` names the upstream format whose bytes are this surface's own,
    None if there is none. `stream_type` is the Content-Type of a stream.
    """

    name: str
    dialect: str | None
    stream_type: bytes

    def parse(self, asked: Asked, trace: Trace) -> Request:
        """Raises Invalid, with the field at fault where it is known."""
        ...

    def whole(self, events: Sequence[Event], about: About) -> bytes: ...

    def writer(self, about: About) -> Writer: ...

    def error(self, error: PotluckError) -> bytes:
        """The error object of this format: a sentence, a type, a stable code."""
        ...
