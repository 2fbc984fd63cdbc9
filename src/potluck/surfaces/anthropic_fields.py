"""The fields of a Messages request that are translated, as msgspec reads them: everything else is skipped unread.

Source: Anthropic API reference, read from the types of its Python SDK 2.12 (2026-11).
"""

from __future__ import annotations

import msgspec

NONE = msgspec.Raw()


class Source(msgspec.Struct, gc=False):
    type: str = ""
    media_type: str = ""
    data: str = ""
    url: str = ""
    content: msgspec.Raw = NONE


class Block(msgspec.Struct, gc=False):
    """One content block of any type; what it does not have stays empty."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = NONE
    tool_use_id: str = ""
    is_error: bool | None = False
    content: msgspec.Raw = NONE
    source: Source | str | None = None
    title: str | None = None


class Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[Block]


class Tool(msgspec.Struct, gc=False):
    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = NONE
    strict: bool | None = None


class Choice(msgspec.Struct, gc=False):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = False


class Format(msgspec.Struct, gc=False):
    type: str = ""
    schema: msgspec.Raw = NONE


class Output(msgspec.Struct, gc=False):
    format: Format | None = None


class Asking(msgspec.Struct):
    """The fields that are translated."""

    messages: list[Message]
    model: str = "auto"
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    stream: bool | None = False
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    output_config: Output | None = None
    output_format: Format | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
