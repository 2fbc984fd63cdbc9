"""Ollama's API as surfaces: chat, generate and embed, their answers and errors, and the pages about models.

Source: Ollama's API reference (docs/api.md) and the types of its Python client 0.6 (2026-11). The parts with more to
them are `ollama_parse` and `ollama_stream`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from potluck import __version__
from potluck.errors import Invalid, PotluckError
from potluck.surfaces import openai
from potluck.surfaces.anthropic_stream import Calls
from potluck.surfaces.ollama_parse import NothingAsked, parse_chat, parse_embed, parse_generate
from potluck.surfaces.ollama_stream import LineWriter, closing, durations, head, hides, tool_calls
from potluck.surfaces.surface import About, Asked
from potluck.types import Event, Request, Target, Trace, Usage

FOLLOWED = "0.12.6"  # the release whose API this is: clients decide by it what they may ask for
NO_DETAILS = {"format": "", "family": "", "families": [], "parameter_size": "", "quantization_level": ""}


class OllamaChat:
    """`POST /api/chat`."""

    name = "ollama"
    dialect: str | None = None
    stream_type = b"application/x-ndjson"
    chat = True
    _parse: Callable[[bytes, Trace], Request] = staticmethod(parse_chat)

    def parse(self, asked: Asked, trace: Trace) -> Request:
        try:
            return self._parse(asked.body, trace)
        except RecursionError:
            raise Invalid("The body is nested too deeply. Send at most a few hundred levels.") from None
        except UnicodeDecodeError as error:
            raise Invalid(f"The body is not valid UTF-8: {error.reason}.") from None

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        text, thinking, calls = [], [], Calls(about)
        finish: str | None = None
        usage: Usage | None = None
        for event in events:
            text.append(event.text)
            thinking.append(event.reasoning)
            calls.take(event.tool_calls or ())
            finish, usage = event.finish or finish, event.usage or usage
        said, thought, made = "".join(text), "".join(thinking), tool_calls(calls)
        answer: dict[str, Any] = {"role": "assistant", "content": said} if self.chat else {"response": said}
        if thought and not hides(about):
            answer["thinking"] = thought
        if made:
            answer["tool_calls"] = made
        end = closing(about, finish, usage, len(said.encode()) + len(thought))
        body = {"message": answer} if self.chat else answer
        return msgspec.json.encode({**head(about.model, about.at), **body, **end})

    def writer(self, about: About) -> LineWriter:
        return LineWriter(about, self.chat)

    def error(self, error: PotluckError) -> bytes:
        if isinstance(error, NothingAsked):
            message = {"role": "assistant", "content": ""}
            body: dict[str, Any] = {"message": message} if error.chat else {"response": ""}
            return msgspec.json.encode({"model": error.model, **body, "done": True, "done_reason": "load"})
        return msgspec.json.encode({"error": str(error)})


class OllamaGenerate(OllamaChat):
    """`POST /api/generate`."""

    chat = False
    _parse = staticmethod(parse_generate)


class OllamaEmbed(OllamaChat):
    """`POST /api/embed`."""

    field = "input"

    def parse(self, asked: Asked, trace: Trace) -> Request:
        return parse_embed(asked.body, trace, self.field)

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        usage = next((event.usage for event in events if event.usage), None)
        said = {"model": about.model, "embeddings": vectors(events), **durations(about)}
        said.pop("eval_duration", None)
        return msgspec.json.encode(
            {**said, "prompt_eval_count": (usage or Usage(about.request.tokens_in)).input}
        )


class OllamaEmbeddings(OllamaEmbed):
    """`POST /api/embeddings`, which takes one text."""

    field = "prompt"

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        found = vectors(events)
        return msgspec.json.encode({"embedding": found[0] if found else []})


def vectors(events: Sequence[Event]) -> list[Any]:
    """In the order of the texts, which providers promise by `index` only."""
    rows = [row for event in events for row in (event.delta or {}).get("data", ()) if isinstance(row, dict)]
    rows.sort(key=lambda row: index if isinstance(index := row.get("index"), int) else 0)
    return [row.get("embedding") for row in rows]


class _Showing(msgspec.Struct):
    model: str = ""
    name: str = ""  # what `model` was called before


_showing = msgspec.json.Decoder(_Showing)


def shown(body: bytes) -> str:
    """The model that `POST /api/show` asks for. Raises Invalid."""
    asked: _Showing = openai.decode(_showing, body)
    if not (asked.model or asked.name):
        raise Invalid("'model' is missing: name one that /api/tags lists.", param="model")
    return asked.model or asked.name


def render_tags(names: Iterable[str], started: float) -> bytes:
    """The listing. Nothing lies on a disk here, so sizes are 0; a digest is that of the name, which is what it is
    used for: to tell rows apart."""
    at = head("", started)["created_at"]
    rows = [
        {
            "name": name,
            "model": name,
            "modified_at": at,
            "size": 0,
            "digest": hashlib.sha256(name.encode()).hexdigest(),
            "details": {"parent_model": "", **NO_DETAILS},
        }
        for name in names
    ]
    return msgspec.json.encode({"models": rows})


def render_show(targets: Sequence[Target], started: float) -> bytes:
    """What a name can do: the sum of what its targets can, since each request goes to one that can serve it."""
    chats = [target for target in targets if target.kind == "chat"]
    can = {
        "completion": bool(chats),
        "tools": any(target.tools for target in chats),
        "vision": any("image" in target.inputs for target in chats),
        "thinking": any("reasoning" in target.specialities for target in chats),
        "embedding": any(target.kind == "embeddings" for target in targets),
    }
    about = {"general.architecture": "potluck", "general.basename": targets[0].name if targets else ""}
    known = max((target.context for target in targets), default=0)
    window = {"potluck.context_length": known} if known else {}
    return msgspec.json.encode(
        {
            "license": "",
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": {"parent_model": "", **NO_DETAILS},
            "model_info": {**about, **window},
            "capabilities": [name for name, has in can.items() if has],
            "modified_at": head("", started)["created_at"],
        }
    )


def render_version() -> bytes:
    return msgspec.json.encode({"version": FOLLOWED, "potluck": __version__})
