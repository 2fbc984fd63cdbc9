"""OpenAI's Chat Completions and Embeddings as surfaces: the formats that most providers speak too."""

from __future__ import annotations

from collections.abc import Sequence

from potluck.errors import PotluckError
from potluck.surfaces import openai
from potluck.surfaces.surface import About, Asked
from potluck.types import Chunk, Event, Request, Trace


class ChatCompletions:
    """`POST /v1/chat/completions`."""

    name = "openai"
    dialect: str | None = "openai"
    stream_type = b"text/event-stream; charset=utf-8"

    def parse(self, asked: Asked, trace: Trace) -> Request:
        return openai.parse_chat(asked.body, trace=trace)

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        return openai.render_whole(
            events, id=f"chatcmpl-{about.id}", model=about.model, created=int(about.at)
        )

    def writer(self, about: About) -> ChatWriter:
        return ChatWriter(about)

    def error(self, error: PotluckError) -> bytes:
        return openai.render_error(error)


class ChatWriter:
    """Relays a provider's own events, renders those of others."""

    __slots__ = ("_about",)

    def __init__(self, about: About) -> None:
        self._about = about

    def take(self, chunk: Chunk) -> bytes:
        if chunk.dialect == "openai" and not chunk.whole:
            return chunk.raw
        about = self._about
        wanted = b"include_usage" in bytes(about.request.body.get("stream_options", b""))
        return openai.render_events(
            chunk.events, id=f"chatcmpl-{about.id}", model=about.model, created=int(about.at), usage=wanted
        )

    def ending(self) -> bytes:
        return openai.DONE

    def broke(self, error: PotluckError) -> bytes:
        return openai.render_error_event(error)


class Embeddings(ChatCompletions):
    """`POST /v1/embeddings`."""

    def parse(self, asked: Asked, trace: Trace) -> Request:
        return openai.parse_embeddings(asked.body, trace=trace)
