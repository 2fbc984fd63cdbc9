"""A request as Messages: the client's own fields where it spoke this format, else translated from Chat Completions.

Source: Anthropic API reference, read from the types of its Python SDK 2.12 (2026-11). Rules: what the client sent in
this format goes out as it came, cache_control, thinking blocks and signatures to the byte; only the model's name and
a `max_tokens` above what the model can write are replaced. Raises NotUnderstood for what this format cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from potluck.dialects.anthropic_events import NAME
from potluck.errors import NotUnderstood
from potluck.types import Request, Target

OUTPUT = 4096  # `max_tokens` for a client that set none, where the model's own limit is unknown
JSON_ONLY = "Answer with one JSON object and nothing else."
_CHOICES = {"auto": "auto", "required": "any", "any": "any", "none": "none"}
_SAME = ("temperature", "top_p", "top_k")
_encode = msgspec.json.Encoder().encode


def encode(request: Request, target: Target) -> bytes:
    native = request.native if request.native_dialect == NAME else None
    if native is not None:
        body: dict[str, Any] = dict(native)
    else:
        try:
            body = _translated(request, target)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            # The surface looks at no more of a request than it acts on; a provider of its format would refuse it.
            raise NotUnderstood(f"a field of the request has the wrong type: {error}", sent=False) from None
    body["model"] = target.model
    most = target.max_output
    if most and request.tokens_out > most:
        body["max_tokens"] = most
    if native is None and request.stream:
        body["stream"] = True
    how = target.behaviour
    for name in how.drop:
        body.pop(name, None)
    for name, value in how.defaults.items():
        body.setdefault(name, value)
    return _encode(body)


def _translated(request: Request, target: Target) -> dict[str, Any]:
    said = {name: msgspec.json.decode(raw) for name, raw in request.body.items() if raw}
    if said.get("functions"):
        raise NotUnderstood("this provider's format knows 'tools', not the older 'functions'", sent=False)
    system, messages = _messages(said.get("messages") or [])
    limit = said.get("max_completion_tokens") or said.get("max_tokens") or target.max_output or OUTPUT
    body: dict[str, Any] = {"max_tokens": limit, "messages": messages}
    _options(said, body, system)
    if system:
        body["system"] = "\n\n".join(system)
    return body


def _options(said: Mapping[str, Any], body: dict[str, Any], system: list[str]) -> None:
    for name in _SAME:
        if said.get(name) is not None:
            body[name] = said[name]
    if isinstance(body.get("temperature"), int | float):
        body["temperature"] = min(body["temperature"], 1)  # it ends at 1 here, at 2 there
    if stop := said.get("stop"):
        stops = [stop] if isinstance(stop, str) else stop
        body["stop_sequences"] = [each for each in stops if isinstance(each, str) and each.strip()]
    if isinstance(said.get("user"), str):
        body["metadata"] = {"user_id": said["user"]}
    if tools := said.get("tools"):
        body["tools"] = [_tool(tool) for tool in tools]
        _choice(said, body)
    form = said.get("response_format") or {}
    kind = form.get("type")
    if kind == "json_schema":
        schema = (form.get("json_schema") or {}).get("schema") or {"type": "object"}
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    elif kind == "json_object":
        system.append(JSON_ONLY)


def _tool(tool: Any) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or "name" not in function:
        raise NotUnderstood("a tool is not of type 'function'", sent=False)
    made = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    if function.get("description"):
        made["description"] = function["description"]
    return made


def _choice(said: Mapping[str, Any], body: dict[str, Any]) -> None:
    given = said.get("tool_choice")
    choice: dict[str, Any] | None = None
    if isinstance(given, dict):
        choice = {"type": "tool", "name": (given.get("function") or {}).get("name", "")}
    elif isinstance(given, str) and given in _CHOICES:
        choice = {"type": _CHOICES[given]}
    if said.get("parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _messages(given: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The system prompt's parts, and the turns: results of tools belong to the user's turn after their calls."""
    system: list[str] = []
    made: list[dict[str, Any]] = []
    for message in given if isinstance(given, list) else []:
        role, content = message.get("role"), message.get("content")
        if role in ("system", "developer"):
            system.append(_text(content))
            continue
        if role == "assistant":
            role, blocks = "assistant", _assistant(message)
        elif role == "tool":
            result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", "")}
            role, blocks = "user", [{**result, "content": _text(content)}]
        else:
            role, blocks = "user", _blocks(content)
        if not blocks:
            continue
        if made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        else:
            made.append({"role": role, "content": blocks})
    return system, made


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(p.get("text", "")) for p in content if isinstance(p, dict) and "text" in p)
    return content if isinstance(content, str) else ""


def _assistant(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    thinking, signature = message.get("reasoning_content"), message.get("thinking_signature")
    if thinking and signature:  # without its signature the provider would refuse it
        blocks.append({"type": "thinking", "thinking": thinking, "signature": signature})
    if text := _text(message.get("content")):
        blocks.append({"type": "text", "text": text})
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        blocks.append(
            {
                "type": "tool_use",
                "id": call.get("id", ""),
                "name": function.get("name", ""),
                "input": _input(function.get("arguments")),
            }
        )
    return blocks


def _input(arguments: Any) -> Any:
    """The object that the text should hold; a text that holds none is passed on as text, not lost."""
    if isinstance(arguments, str):
        try:
            found = msgspec.json.decode(arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            found = None
        return found if isinstance(found, dict) else {"arguments": arguments}
    return arguments if isinstance(arguments, dict) else {}


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks: list[dict[str, Any]] = []
    for part in content if isinstance(content, list) else []:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            if part.get("text"):
                blocks.append({"type": "text", "text": part["text"]})
        elif kind == "image_url":
            given = part.get("image_url")
            url = given.get("url") if isinstance(given, dict) else given
            blocks.append({"type": "image", "source": _source(str(url))})
        elif kind == "file" and isinstance(part.get("file"), dict) and part["file"].get("file_data"):
            blocks.append({"type": "document", "source": _source(str(part["file"]["file_data"]))})
        else:
            raise NotUnderstood(f"this provider's format has no part of type {str(kind)[:40]!r}", sent=False)
    return blocks


def _source(url: str) -> dict[str, str]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, _, data = url[5:].partition(",")
    if ";base64" not in head:
        raise NotUnderstood("a data: URL is not in base64", sent=False)
    return {"type": "base64", "media_type": head.partition(";")[0], "data": data}
