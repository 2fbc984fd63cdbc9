"""What a client says in the Responses format, as the fields of Chat Completions.

Source: OpenAI API reference, Responses, read from the types of its Python SDK 3.54 (2026-11). Rules: items become
messages in order, calls of tools join the assistant's message before them; reasoning items are left out, because
they mean nothing to another model. A tool that runs at the vendor and that a client sends to every model (Codex does)
is left out and named in the header `X-Potluck-Ignored`; one that somebody chose on purpose is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from potluck.errors import Invalid
from potluck.surfaces import openai
from potluck.surfaces.anthropic_names import split_id
from potluck.surfaces.responses_fields import NONE, Asking, Item, Part, Tool
from potluck.types import Kept, Request, Trace

DIALECT = "responses"
# Sent along by coding clients whatever the model: an answer without them is still the answer that was asked for.
IGNORED = ("web_search", "local_shell", "shell", "image_generation", "tool_search", "namespace")
SKIPPED = ("reasoning", "web_search_call", "image_generation_call", "local_shell_call", "local_shell_call_output",
           "compaction", "tool_search_call", "tool_search_output")  # fmt: skip
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
CUSTOM = msgspec.Raw(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}')
_NO_PARAMETERS = msgspec.Raw(b'{"type":"object","properties":{}}')
_TRUE = msgspec.Raw(b"true")
_USAGE = msgspec.Raw(b'{"include_usage":true}')

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_asking = msgspec.json.Decoder(Asking)
_items = msgspec.json.Decoder(list[Item])


class Weight:
    """What is met on the way: what a target must be able to do, and what counts otherwise than by its bytes."""

    __slots__ = ("images", "needs", "other_bytes")

    def __init__(self) -> None:
        self.needs: set[str] = set()
        self.images = self.other_bytes = 0


def parse(body: bytes, *, trace: Trace, history: Sequence[bytes] = ()) -> Request:
    """A request. `history`: JSON lists of items that came before its own, oldest first.

    Raises Invalid with the field at fault, where it is known.
    """
    native: dict[str, msgspec.Raw] = openai.decode(_fields, body)
    asking: Asking = openai.decode(_asking, body)
    _refuse(asking)
    weight = Weight()
    earlier = [item for items in history for item in openai.decode(_items, items)]
    messages = _messages(asking, earlier, weight)
    fields = {"model": native.get("model", NONE), "messages": msgspec.Raw(_encode(messages))}
    _options(asking, fields, weight)
    if asking.tools:
        _tools(asking, asking.tools, fields, weight, trace)
    size = len(fields["messages"]) - weight.other_bytes + len(fields.get("tools", b""))
    limit = asking.max_output_tokens
    kept = Kept(body, asking.previous_response_id or "", asking.store is not False)
    return Request(
        model=asking.model or "auto",
        body=fields,
        stream=bool(asking.stream),
        tokens_in=openai.prompt_tokens(size, weight.images),
        tokens_out=limit or openai.DEFAULT_OUTPUT,
        limited=limit is not None,
        needs=frozenset(weight.needs),
        native=native,
        native_dialect=DIALECT,
        kept=kept,
        trace=trace,
    )


def _refuse(asking: Asking) -> None:
    """Raises Invalid for what cannot be done as asked."""
    if not asking.input and not asking.previous_response_id:
        raise Invalid("'input' is empty: send a text or a list of items.", param="input")
    if asking.max_output_tokens is not None and asking.max_output_tokens < 1:
        raise Invalid("'max_output_tokens' must be at least 1.", param="max_output_tokens")
    if asking.background:
        raise Invalid(
            "'background' is not available: Potluck answers while the client waits. Leave it out, and use "
            "'stream' for long answers.",
            param="background",
        )
    for name, raw in (("conversation", asking.conversation), ("prompt", asking.prompt)):
        if raw and bytes(raw) != b"null":
            raise Invalid(
                f"'{name}' is kept at OpenAI and is not available here. Send the items in 'input', or continue "
                "with 'previous_response_id'.",
                param=name,
            )


def _options(asking: Asking, fields: dict[str, msgspec.Raw], weight: Weight) -> None:
    """Everything but messages and tools. `metadata` and ids of users stay behind: no provider's business."""
    said: dict[str, Any] = {
        "max_tokens": asking.max_output_tokens,
        "temperature": asking.temperature,
        "top_p": asking.top_p,
        "reasoning_effort": asking.reasoning.effort if asking.reasoning else None,
    }
    for name, value in said.items():
        if value is not None:
            fields[name] = msgspec.Raw(_encode(value))
    if asking.stream:
        fields["stream"], fields["stream_options"] = _TRUE, _USAGE
    form = asking.text.format if asking.text else None
    if form is None or form.type == "text":
        return
    if form.type == "json_object":
        fields["response_format"] = msgspec.Raw(b'{"type":"json_object"}')
    elif form.type == "json_schema" and bytes(form.schema)[:1] == b"{":
        schema: dict[str, Any] = {"name": form.name, "schema": form.schema}
        if form.strict is not None:
            schema["strict"] = form.strict
        if form.description:
            schema["description"] = form.description
        fields["response_format"] = msgspec.Raw(_encode({"type": "json_schema", "json_schema": schema}))
        weight.needs.add("json_schema")
    else:
        raise Invalid(
            "'text.format' must be text, json_object, or json_schema with a 'schema'.", param="text.format"
        )


def _tools(
    asking: Asking, tools: list[Tool], fields: dict[str, msgspec.Raw], weight: Weight, trace: Trace
) -> None:
    made: list[dict[str, Any]] = []
    ignored: list[str] = []
    for place, tool in enumerate(tools):
        if tool.type.startswith(IGNORED):
            ignored.append(tool.type[:40])
            continue
        if tool.type not in ("function", "custom"):
            raise Invalid(
                f"Tools of type {tool.type[:40]!r} run at OpenAI and are not available here. Use function tools.",
                param=f"tools[{place}].type",
            )
        if not tool.name:
            raise Invalid("A tool lacks its 'name'.", param=f"tools[{place}].name")
        given = tool.parameters if bytes(tool.parameters)[:1] == b"{" else _NO_PARAMETERS
        function: dict[str, Any] = {"name": tool.name, "parameters": given}
        if (
            tool.type == "custom"
        ):  # text instead of JSON: no other format has it, so the text rides in a field
            function["parameters"] = CUSTOM
        if tool.description:
            function["description"] = tool.description
        if tool.strict:
            function["strict"] = True
        made.append({"type": "function", "function": function})
    if ignored:
        trace.notes["ignored"] = ", ".join(ignored)
    if made:
        weight.needs.add("tools")
        fields["tools"] = msgspec.Raw(_encode(made))
        if asking.tool_choice is not None:
            fields["tool_choice"] = msgspec.Raw(_encode(_choice(asking.tool_choice)))
        if asking.parallel_tool_calls is False:
            fields["parallel_tool_calls"] = msgspec.Raw(b"false")


def _choice(choice: str | dict[str, Any]) -> Any:
    if isinstance(choice, dict):
        kind, name = choice.get("type"), choice.get("name")
        if kind in ("function", "custom") and isinstance(name, str) and name:
            return {"type": "function", "function": {"name": name}}
        choice = str(choice.get("mode") or "auto") if kind == "allowed_tools" else str(kind)
    if choice in ("auto", "none", "required"):
        return choice
    raise Invalid(
        f"'tool_choice' is {choice[:40]!r}: it is auto, none, required, or names a function.",
        param="tool_choice",
    )


def _messages(asking: Asking, earlier: list[Item], weight: Weight) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if asking.instructions:
        made.append({"role": "system", "content": asking.instructions})
    given = asking.input or ()
    if isinstance(given, str):
        given = [Item(role="user", content=given)]
    for place, item in enumerate((*earlier, *given), -len(earlier)):
        kind = item.type or "message"
        if kind == "message":
            _message(item, made, weight, place)
        elif kind in ("function_call", "custom_tool_call"):
            _call(item, made, place)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            _output(item, made, weight)
        elif kind not in SKIPPED:
            raise Invalid(
                f"Input items of type {kind[:40]!r} are not available here. Send messages, function calls and "
                "their outputs.",
                param=f"input[{max(0, place)}].type",
            )
    if not any(message["role"] != "system" for message in made):
        if not made:
            raise Invalid("'input' holds nothing that a model could answer.", param="input")
        made[-1]["role"] = "user"  # most providers refuse a conversation in which nobody asks
    return made


def _message(item: Item, made: list[dict[str, Any]], weight: Weight, place: int) -> None:
    role = ROLES.get(item.role)
    if role is None:
        raise Invalid(
            f"'role' is {item.role[:40]!r}: it is user, assistant, system or developer.",
            param=f"input[{max(0, place)}].role",
        )
    content = _content(item.content, weight)
    if role == "system" and len(made) == 1 and made[0]["role"] == "system" and isinstance(content, str):
        made[0]["content"] += f"\n\n{content}"  # many models' templates take one system message alone
        return
    made.append({"role": role, "content": content})


def _call(item: Item, made: list[dict[str, Any]], place: int) -> None:
    if not item.call_id or not item.name:
        raise Invalid("A call of a tool lacks 'call_id' or 'name'.", param=f"input[{max(0, place)}]")
    id, extra = split_id(item.call_id)
    arguments = item.arguments or "{}"
    if item.type == "custom_tool_call":
        arguments = _encode({"input": item.input}).decode()
    call: dict[str, Any] = {"id": id, "type": "function"}
    call["function"] = {"name": item.name, "arguments": arguments}
    if extra is not None:
        call["extra_content"] = extra
    if not made or made[-1]["role"] != "assistant":
        made.append({"role": "assistant", "content": None})
    made[-1].setdefault("tool_calls", []).append(call)


def _output(item: Item, made: list[dict[str, Any]], weight: Weight) -> None:
    id = split_id(item.call_id)[0]
    content = _content(item.output, weight)
    if isinstance(content, str):
        made.append({"role": "tool", "tool_call_id": id, "content": content})
        return
    texts = [part["text"] for part in content if part["type"] == "text"]
    made.append({"role": "tool", "tool_call_id": id, "content": "\n".join(texts)})
    shown = [part for part in content if part["type"] != "text"]
    made.append({"role": "user", "content": [{"type": "text", "text": f"What {id} showed:"}, *shown]})


def _content(content: str | list[Part] | None, weight: Weight) -> Any:
    """Text where there is nothing else: not every model takes lists."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [_part(part, weight) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Part, weight: Weight) -> dict[str, Any]:
    if part.type in ("input_text", "output_text", "text", "summary_text", "reasoning_text"):
        return {"type": "text", "text": part.text}
    if part.type == "refusal":
        return {"type": "text", "text": part.refusal}
    if part.type == "input_image" and part.image_url:
        weight.needs.add("image")
        weight.images, weight.other_bytes = weight.images + 1, weight.other_bytes + len(part.image_url)
        image = {"url": part.image_url}
        if part.detail in ("low", "high", "auto"):
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    if part.type == "input_file" and part.file_data:
        weight.needs.add("pdf")
        file = {"filename": part.filename or "document.pdf", "file_data": part.file_data}
        return {"type": "file", "file": file}
    raise Invalid(
        f"A part of type {part.type[:40]!r} cannot be sent on: texts, images (as 'image_url') and files (as "
        "'file_data') can. Files kept at OpenAI ('file_id') are not available here.",
        param="input",
    )
