"""Gemini's request fields as OpenAI's: contents to messages, declarations to tools, generationConfig to parameters.

Rules: names are read in camelCase and in snake_case, as Google's JSON mapping allows (protobuf, ProtoJSON). What
OpenAI's format cannot say is refused by name, except for what only tunes and most providers refuse (safetySettings,
topK, a thinking budget), which is left out. Source: ai.google.dev/api/generate-content, 2026-11.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from potluck.errors import Invalid

VENDOR = "google"  # under which this format's opaque signatures travel in OpenAI's `extra_content`
_encode = msgspec.json.encode
_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
_PLAIN = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "candidateCount": "n",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_DROPPED = frozenset({"propertyOrdering", "property_ordering", "nullable"})
_SPELT: dict[str, str] = {"any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems"}
DEEPEST = 64  # levels of a schema that are read; nobody's has as many


@lru_cache(maxsize=256)
def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found.group(1).lower(), name)


def field(values: Any, name: str) -> Any:
    """A field by its camelCase name, in either spelling; None if absent. Raises Invalid if there is no object."""
    if not isinstance(values, dict):
        raise Invalid(f"An object was expected around '{name}', not {type(values).__name__}.", param=name)
    found = values.get(name)
    return values.get(_snake(name)) if found is None else found


def listed(values: Any, name: str) -> list[Any]:
    found = field(values, name)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"'{name}' must be a string.", param=name)
    return value


def translated(asked: dict[str, Any]) -> dict[str, Any]:
    """The fields of a generateContent body as those of a chat completion. Raises Invalid."""
    body: dict[str, Any] = {"messages": _messages(asked)}
    config = field(asked, "generationConfig")
    if config is not None:
        body |= _parameters(config)
    body |= _tools(asked)
    return body


def _messages(asked: dict[str, Any]) -> list[dict[str, Any]]:
    contents = listed(asked, "contents")
    if not contents:
        raise Invalid("'contents' is empty: send at least one content with a part.", param="contents")
    messages = []
    system = field(asked, "systemInstruction")
    if system is not None:
        said = system if isinstance(system, str) else "\n".join(_texts(system))
        messages.append({"role": "system", "content": said})
    calls = _Calls()
    for content in contents:
        if isinstance(content, str):
            content = {"parts": [{"text": content}]}
        role = field(content, "role") or "user"
        parts = listed(content, "parts")
        messages += _answered(parts, calls) if role == "model" else _said(parts, calls)
    return messages


def _texts(content: Any) -> list[str]:
    return [text(field(part, "text"), "systemInstruction.parts.text") for part in listed(content, "parts")]


class _Calls:
    """Which call an answer belongs to: by id where there is one, else the oldest open one of that name."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._count = 0

    def opened(self, name: str, id: Any) -> str:
        self._count += 1
        made = id if isinstance(id, str) and id else f"call{self._count:05}"  # nine letters: some demand them
        self._open.append((name, made))
        return made

    def closed(self, name: str, id: Any) -> str:
        for each in self._open:
            if each[1] == id or (not id and each[0] == name):
                self._open.remove(each)
                return each[1]
        if isinstance(id, str) and id:
            return id
        raise Invalid(
            f"The functionResponse for {name[:80]!r} follows no functionCall of that name.", param="contents"
        )


def _answered(parts: list[Any], calls: _Calls) -> list[dict[str, Any]]:
    """One turn of the model as an assistant message; its thoughts are its own."""
    texts: list[str] = []
    tools: list[dict[str, Any]] = []
    signature = ""
    for part in parts:
        call = field(part, "functionCall")
        signed = field(part, "thoughtSignature")
        if call is not None:
            name = text(field(call, "name"), "functionCall.name")
            function = {"name": name, "arguments": _encode(field(call, "args") or {}).decode()}
            made: dict[str, Any] = {"id": calls.opened(name, field(call, "id")), "type": "function"}
            tools.append(made | {"function": function} | _signed(signed))
        elif field(part, "thought"):
            continue
        elif field(part, "text") is not None:
            texts.append(text(field(part, "text"), "parts.text"))
            signature = signed or signature
    if not texts and not tools:
        return []
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or ("" if not tools else None)}
    if tools:
        message["tool_calls"] = tools
    return [message | (_signed(signature) if not tools else {})]


def _signed(signature: Any) -> dict[str, Any]:
    return {"extra_content": {VENDOR: {"thought_signature": signature}}} if signature else {}


def _said(parts: list[Any], calls: _Calls) -> list[dict[str, Any]]:
    """One turn of the client: the answers of its tools first, as OpenAI's order demands, then what it says."""
    answers, said = [], []
    for part in parts:
        answer = field(part, "functionResponse")
        if answer is not None:
            name = text(field(answer, "name"), "functionResponse.name")
            id = calls.closed(name, field(answer, "id"))
            result = _encode(field(answer, "response") or {}).decode()
            answers.append({"role": "tool", "tool_call_id": id, "content": result})
        else:
            said.append(_part(part))
    if not said:
        return answers
    plain = [part["text"] for part in said if part["type"] == "text"]
    content: Any = "\n".join(plain) if len(plain) == len(said) else said
    return [*answers, {"role": "user", "content": content}]


def _part(part: Any) -> dict[str, Any]:
    if field(part, "text") is not None:
        return {"type": "text", "text": text(field(part, "text"), "parts.text")}
    data, file = field(part, "inlineData"), field(part, "fileData")
    if data is not None:
        kind = text(field(data, "mimeType"), "inlineData.mimeType")
        if kind.startswith("image/"):
            url = f"data:{kind};base64,{text(field(data, 'data'), 'inlineData.data')}"
            return {"type": "image_url", "image_url": {"url": url}}
        raise Invalid(f"inlineData of type {kind[:60]!r} cannot be served, only images.", param="contents")
    if file is not None:
        url = text(field(file, "fileUri"), "fileData.fileUri")
        if url.startswith("https://") and str(field(file, "mimeType") or "image/").startswith("image/"):
            return {"type": "image_url", "image_url": {"url": url}}
        raise Invalid("Of fileData only https addresses of images can be served.", param="contents")
    names = ", ".join(map(str, part))[:80]
    raise Invalid(
        f"A part has none of text, inlineData, functionCall, functionResponse ({names}).", param="contents"
    )


def _parameters(config: Any) -> dict[str, Any]:
    body = {
        ours: value for theirs, ours in _PLAIN.items() if (value := field(config, theirs)) not in (None, [])
    }
    modes = {str(mode).upper() for mode in listed(config, "responseModalities")}
    if modes - {"TEXT"}:
        raise Invalid("Potluck answers in text: leave 'responseModalities' out.", param="responseModalities")
    schema = field(config, "responseJsonSchema")
    if schema is None and (theirs := field(config, "responseSchema")) is not None:
        schema = json_schema(theirs)
    kind = field(config, "responseMimeType")
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        }
    elif kind == "application/json":
        body["response_format"] = {"type": "json_object"}
    return body


def _tools(asked: dict[str, Any]) -> dict[str, Any]:
    declared = []
    for tool in listed(asked, "tools"):
        found = listed(tool, "functionDeclarations")
        others = [name for name in tool if name not in ("functionDeclarations", "function_declarations")]
        if others and not found:
            raise Invalid(
                f"The tool {others[0][:60]!r} runs at its vendor and cannot be served; functionDeclarations can.",
                param="tools",
            )
        declared += [_function(each) for each in found]
    if not declared:
        return {}
    return _chosen(field(asked, "toolConfig"), declared)


def _function(declared: Any) -> dict[str, Any]:
    name = text(field(declared, "name"), "functionDeclarations.name")
    function: dict[str, Any] = {"name": name}
    if field(declared, "description") is not None:
        function["description"] = field(declared, "description")
    schema = field(declared, "parametersJsonSchema")
    theirs = field(declared, "parameters")
    function["parameters"] = schema if schema is not None else json_schema(theirs or {"type": "object"})
    return {"type": "function", "function": function}


def _chosen(config: Any, declared: list[dict[str, Any]]) -> dict[str, Any]:
    """`tools`, and `tool_choice` where the client chose."""
    calling = field(config, "functionCallingConfig") if config is not None else None
    if calling is None:
        return {"tools": declared}
    mode = _MODES.get(str(field(calling, "mode") or "AUTO").upper())
    if mode is None:
        raise Invalid(
            "functionCallingConfig.mode must be AUTO, ANY, NONE or VALIDATED.", param="toolConfig.mode"
        )
    allowed = listed(calling, "allowedFunctionNames")
    if allowed:
        declared = [tool for tool in declared if tool["function"]["name"] in allowed]
        if not declared:
            raise Invalid("allowedFunctionNames names no declared function.", param="allowedFunctionNames")
    if mode == "required" and len(allowed) == 1:
        return {"tools": declared, "tool_choice": {"type": "function", "function": {"name": allowed[0]}}}
    return {"tools": declared, "tool_choice": mode}


def json_schema(theirs: Any, depth: int = 0) -> Any:
    """The format's own schema (types in capitals, counts as strings) as a JSON Schema."""
    if not isinstance(theirs, dict) or depth > DEEPEST:
        return theirs
    made: dict[str, Any] = {}
    for spelt, value in theirs.items():
        name = str(_SPELT.get(spelt, spelt))
        if name in _DROPPED or (name == "format" and value == "enum"):
            continue
        if name == "type" and isinstance(value, str):
            value = value.lower()
        elif name == "properties" and isinstance(value, dict):
            value = {each: json_schema(schema, depth + 1) for each, schema in value.items()}
        elif name == "items":
            value = json_schema(value, depth + 1)
        elif name == "anyOf" and isinstance(value, list):
            value = [json_schema(each, depth + 1) for each in value]
        elif name[:3] in ("min", "max") and isinstance(value, str) and value.isdigit():
            value = int(value)
        made[name] = value
    if theirs.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made
