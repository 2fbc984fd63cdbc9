"""The fields of Ollama's requests that are translated, as msgspec reads them: everything else is skipped unread.

Source: Ollama's API reference (docs/api.md) and the types of its Python client 0.6 (2026-11).
"""

from __future__ import annotations

import msgspec

NONE = msgspec.Raw()


class Function(msgspec.Struct, gc=False):
    name: str
    arguments: msgspec.Raw = NONE


class ToolCall(msgspec.Struct, gc=False):
    function: Function
    id: str | None = None  # newer clients send it back, older ones drop it


class Message(msgspec.Struct, gc=False):
    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None  # what `tool_name` was called before
    tool_call_id: str | None = None


class Options(msgspec.Struct, gc=False):
    """What has a counterpart elsewhere. `num_predict` below 1 means "no limit"."""

    temperature: float | None = None
    top_p: float | None = None
    num_predict: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


class Chatting(msgspec.Struct):
    """`POST /api/chat`. Absent `stream` means a stream in this format."""

    messages: list[Message] | None = None
    model: str = "auto"
    stream: bool | None = True
    tools: list[msgspec.Raw] | None = None
    format: msgspec.Raw = NONE
    options: Options | None = None
    think: bool | str | None = None


class Generating(msgspec.Struct):
    """`POST /api/generate`."""

    model: str = "auto"
    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    stream: bool | None = True
    format: msgspec.Raw = NONE
    options: Options | None = None
    think: bool | str | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = False


class Embedding(msgspec.Struct):
    """`POST /api/embed`, and `prompt` of its forerunner `/api/embeddings`."""

    model: str = "auto"
    input: str | list[str] | None = None
    prompt: str | None = None
    dimensions: int | None = None
