"""What a client says in the Messages format, as the fields of Chat Completions.

Source: Anthropic API reference, Messages, read from the types of its Python SDK 2.12 (2026-11). What the other
format has no word for (cache_control, thinking, metadata) is left out here and kept in `Request.native`; what it
cannot express at all (tools that run at the vendor, files kept there) makes the request need a target of this format.
Thinking blocks are left out too: their signatures mean nothing to another model. Rules: each block is decoded once;
schemas and tool inputs are never decoded, only moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from potluck.errors import Invalid
from potluck.surfaces import openai
from potluck.surfaces.anthropic_fields import NONE, Asking, Block, Source, Tool
from potluck.surfaces.anthropic_names import short_name, split_id
from potluck.types import Request, Trace

DIALECT = "anthropic"
BASE64_PER_PDF_TOKEN = (
    30  # assumed: 2,000 tokens a page (Anthropic's guide: 1,500 to 3,000) of 60 KB in base64
)
NATIVE = f"native:{DIALECT}"  # the need of a target that speaks this format itself

_encode = msgspec.json.Encoder().encode
_TRUE = msgspec.Raw(b"true")
_USAGE = msgspec.Raw(b'{"include_usage":true}')  # the client's format always reports it, also in streams


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_asking = msgspec.json.Decoder(Asking)
_blocks = msgspec.json.Decoder(str | list[Block] | None)
_CHOICES = {"auto": b'"auto"', "any": b'"required"', "none": b'"none"'}


class Weight:
    """What is met on the way: what a target must be able to do, and what counts otherwise than by its bytes."""

    __slots__ = ("images", "needs", "other_bytes", "pdf_bytes")

    def __init__(self) -> None:
        self.needs: set[str] = set()
        self.images = self.other_bytes = self.pdf_bytes = 0


def parse(body: bytes, *, trace: Trace, counting: bool = False) -> Request:
    """A request. `counting`: it is only to be measured, so `max_tokens` may be absent.

    Raises Invalid with the field at fault, where it is known.
    """
    native: dict[str, msgspec.Raw] = openai.decode(_fields, body)
    asking: Asking = openai.decode(_asking, body)
    if not asking.messages:
        raise Invalid("'messages' is empty: send at least one message.", param="messages")
    limit = asking.max_tokens
    if limit is None and not counting:
        raise Invalid("'max_tokens' is missing: this format requires it.", param="max_tokens")
    if limit is not None and limit < 1:
        raise Invalid(f"'max_tokens' is {limit}: it must be at least 1.", param="max_tokens")
    weight = Weight()
    fields = {
        "model": native.get("model", NONE),
        "messages": msgspec.Raw(_encode(_messages(asking, weight))),
    }
    _options(asking, fields, weight)
    size = len(fields["messages"]) - weight.other_bytes + len(fields.get("tools", b""))
    return Request(
        model=asking.model or "auto",
        body=fields,
        stream=bool(asking.stream),
        tokens_in=openai.prompt_tokens(size, weight.images) + weight.pdf_bytes // BASE64_PER_PDF_TOKEN,
        tokens_out=limit or openai.DEFAULT_OUTPUT,
        needs=frozenset(weight.needs),
        native=native,
        native_dialect=DIALECT,
        trace=trace,
    )


def _options(asking: Asking, fields: dict[str, msgspec.Raw], weight: Weight) -> None:
    """Everything but the messages. `metadata` stays behind: a user's id is no business of a free provider's."""
    said: dict[str, Any] = {
        "max_tokens": asking.max_tokens,
        "temperature": asking.temperature,
        "top_p": asking.top_p,
        "top_k": asking.top_k,
        "stop": asking.stop_sequences or None,
    }
    for name, value in said.items():
        if value is not None:
            fields[name] = msgspec.Raw(_encode(value))
    if asking.stream:
        fields["stream"], fields["stream_options"] = _TRUE, _USAGE
    if asking.tools:
        _tools(asking, asking.tools, fields, weight)
    form = (asking.output_config.format if asking.output_config else None) or asking.output_format
    if form is not None and form.type == "json_schema" and form.schema:
        schema = {"name": "answer", "strict": True, "schema": form.schema}
        fields["response_format"] = msgspec.Raw(_encode({"type": "json_schema", "json_schema": schema}))
        weight.needs.add("json_schema")


def _tools(asking: Asking, tools: list[Tool], fields: dict[str, msgspec.Raw], weight: Weight) -> None:
    made: list[dict[str, Any]] = []
    for place, tool in enumerate(tools):
        if tool.type not in (None, "custom"):
            weight.needs.add(
                NATIVE
            )  # it runs at the vendor, or its schema is known to the vendor's models alone
            continue
        if not tool.name or bytes(tool.input_schema)[:1] != b"{":
            raise Invalid("A tool lacks its 'name' or its 'input_schema'.", param=f"tools.{place}")
        function: dict[str, Any] = {"name": short_name(tool.name), "parameters": tool.input_schema}
        if tool.description:
            function["description"] = tool.description
        if tool.strict:
            function["strict"] = True
        made.append({"type": "function", "function": function})
    if not made:
        return
    weight.needs.add("tools")
    fields["tools"] = msgspec.Raw(_encode(made))
    choice = asking.tool_choice
    if choice is None:
        return
    if choice.type == "tool":
        function = {"type": "function", "function": {"name": short_name(choice.name)}}
        fields["tool_choice"] = msgspec.Raw(_encode(function))
    elif choice.type in _CHOICES:
        fields["tool_choice"] = msgspec.Raw(_CHOICES[choice.type])
    else:
        raise Invalid(
            f"'tool_choice' is of type {choice.type[:40]!r}: auto, any, tool or none.", param="tool_choice"
        )
    if choice.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = msgspec.Raw(b"false")


def _messages(asking: Asking, weight: Weight) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if asking.system:
        made.append({"role": "system", "content": _plain(asking.system)})
    for place, message in enumerate(asking.messages):
        content = message.content
        if message.role not in ("user", "assistant", "system"):
            raise Invalid(
                f"'role' is {message.role[:40]!r}: it is user or assistant.", param=f"messages.{place}.role"
            )
        if isinstance(content, str):
            made.append({"role": message.role, "content": content})
        elif message.role == "assistant":
            made.append(_assistant(content))
        elif message.role == "system":
            made.append({"role": "system", "content": _plain(content)})
        else:
            _user(content, made, weight)
    return made


def _plain(content: str | list[Block]) -> str:
    return content if isinstance(content, str) else "\n".join(b.text for b in content if b.type == "text")


def _assistant(blocks: list[Block]) -> dict[str, Any]:
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "tool_use":
            id, extra = split_id(block.id)
            arguments = bytes(block.input).decode() or "{}"
            call: dict[str, Any] = {"id": id, "type": "function"}
            call["function"] = {"name": short_name(block.name), "arguments": arguments}
            if extra is not None:
                call["extra_content"] = extra
            calls.append(call)
    text = _plain(blocks)
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if calls:
        message["tool_calls"] = calls
    return message


def _user(blocks: list[Block], made: list[dict[str, Any]], weight: Weight) -> None:
    """Results of tools become messages of their own and come first: they answer the calls right before."""
    parts: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []  # what tools showed: a message of a tool can hold text alone
    for block in blocks:
        if block.type == "tool_result":
            made.append(_result(block, seen, weight))
        else:
            parts += _parts(block, weight)
    parts = seen + parts
    if all(part["type"] == "text" for part in parts):
        if parts or not blocks:
            made.append({"role": "user", "content": "\n".join(part["text"] for part in parts)})
        return
    made.append({"role": "user", "content": parts})


def _result(block: Block, seen: list[dict[str, Any]], weight: Weight) -> dict[str, Any]:
    id = split_id(block.tool_use_id)[0]
    content = openai.decode(_blocks, bytes(block.content)) if block.content else ""
    if not isinstance(content, str):
        found = [part for inner in content or () for part in _parts(inner, weight)]
        shown = [part for part in found if part["type"] != "text"]
        if shown:
            seen += [{"type": "text", "text": f"What the tool call {id} showed:"}, *shown]
        content = "\n".join(part["text"] for part in found if part["type"] == "text")
    return {"role": "tool", "tool_call_id": id, "content": f"Error: {content}" if block.is_error else content}


def _parts(block: Block, weight: Weight) -> list[dict[str, Any]]:
    """One block as parts of a message; [] for what only its own vendor understands."""
    if block.type == "text":
        return [{"type": "text", "text": block.text}]
    if block.type == "search_result":
        return _texts(block, block.content, weight)
    source = block.source
    if block.type not in ("image", "document") or not isinstance(source, Source):
        return []
    if source.type == "text":
        return [{"type": "text", "text": f"{block.title or 'Document'}:\n{source.data}"}]
    if source.type == "content":
        return _texts(block, source.content, weight)
    if block.type == "image" and source.type in ("base64", "url"):
        url = source.url if source.type == "url" else f"data:{source.media_type};base64,{source.data}"
        weight.needs.add("image")
        weight.images, weight.other_bytes = weight.images + 1, weight.other_bytes + len(url)
        return [{"type": "image_url", "image_url": {"url": url}}]
    if source.type == "base64":
        weight.needs.add("pdf")
        weight.pdf_bytes += len(source.data)
        weight.other_bytes += len(source.data)
        data = f"data:{source.media_type};base64,{source.data}"
        return [{"type": "file", "file": {"filename": block.title or "document.pdf", "file_data": data}}]
    weight.needs.add(NATIVE)
    return []


def _texts(block: Block, raw: msgspec.Raw, weight: Weight) -> list[dict[str, Any]]:
    content = openai.decode(_blocks, bytes(raw)) if raw else ""
    if not isinstance(content, str):
        return [part for inner in content or () for part in _parts(inner, weight)]
    return [{"type": "text", "text": f"{block.title}:\n{content}" if block.title else content}]


def tool_names(native: Mapping[str, msgspec.Raw] | None) -> list[str]:
    """The names of the client's tools, as it wrote them."""
    raw = native.get("tools") if native else None
    return [tool.name for tool in msgspec.json.decode(raw, type=list[Tool])] if raw else []
