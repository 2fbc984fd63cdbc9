"""The fields of a Responses request that are translated, as msgspec reads them: everything else is skipped unread.

Source: OpenAI API reference, Responses, read from the types of its Python SDK 3.54 (2026-11).
"""

from __future__ import annotations

from typing import Any

import msgspec

NONE = msgspec.Raw()


class Part(msgspec.Struct, gc=False):
    """One part of a message's content, of any type."""

    type: str
    text: str = ""
    refusal: str = ""
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class Item(msgspec.Struct, gc=False):
    """One item of the conversation; a message may leave its type out."""

    type: str | None = "message"
    role: str = ""
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    input: str = ""
    output: str | list[Part] | None = None


class Tool(msgspec.Struct, gc=False):
    type: str
    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = NONE
    strict: bool | None = None


class Form(msgspec.Struct, gc=False):
    type: str = "text"
    name: str = "answer"
    schema: msgspec.Raw = NONE
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct, gc=False):
    format: Form | None = None


class Reasoning(msgspec.Struct, gc=False):
    effort: str | None = None


class Asking(msgspec.Struct):
    """The fields that are translated, and those that are refused."""

    input: str | list[Item] | None = None
    model: str | None = "auto"
    instructions: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = False
    store: bool | None = True
    previous_response_id: str | None = None
    background: bool | None = False
    conversation: msgspec.Raw = NONE
    prompt: msgspec.Raw = NONE
