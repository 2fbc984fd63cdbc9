"""What a client says in Ollama's format, as the fields of Chat Completions.

Source: Ollama's API reference (docs/api.md), 2026-11. What only a model on the client's own disk could heed
(`keep_alive`, `num_ctx`, `repeat_penalty`, `top_k`, …) is left out. What would silently change an answer if left out
(`raw`, `template`, `suffix`, `context`) is refused. Calls of tools have no ids in this format: they get some, and a
tool's message finds its call by name, else by order.
"""

from __future__ import annotations

from typing import Any

import msgspec

from potluck.errors import Invalid, PotluckError
from potluck.surfaces import openai
from potluck.surfaces.anthropic_names import split_id
from potluck.surfaces.ollama_fields import Chatting, Embedding, Generating, Message, Options
from potluck.types import Request, Trace

DIALECT = "ollama"
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
EFFORTS = frozenset({"low", "medium", "high"})
HIDDEN = "think"  # in `Request.native`: the client wants no reasoning in its answer

_encode = msgspec.json.Encoder().encode
_TRUE = msgspec.Raw(b"true")
_USAGE = msgspec.Raw(b'{"include_usage":true}')  # this format always reports it, also in streams
_chat = msgspec.json.Decoder(Chatting)
_generate = msgspec.json.Decoder(Generating)
_embed = msgspec.json.Decoder(Embedding)
# The first letters of a picture in base64, from the magic bytes of its file format.
_PICTURES = {"/9j/": "image/jpeg", "R0lG": "image/gif", "UklG": "image/webp"}


class NothingAsked(PotluckError):
    """A request without a prompt: to this format's clients it means "load the model", and is no error."""

    status, code = 200, "nothing_asked"

    def __init__(self, model: str, chat: bool) -> None:
        super().__init__("Nothing was asked: there is nothing to load or unload here.")
        self.model, self.chat = model, chat


def parse_chat(body: bytes, trace: Trace) -> Request:
    """Raises Invalid with the field at fault, where it is known; NothingAsked without messages."""
    asking: Chatting = openai.decode(_chat, body)
    if not asking.messages:
        raise NothingAsked(asking.model, True)
    return _request(asking, _messages(asking.messages), asking.tools, trace)


def parse_generate(body: bytes, trace: Trace) -> Request:
    """The same for one prompt."""
    asking: Generating = openai.decode(_generate, body)
    for field, told in (("raw", asking.raw), ("template", asking.template), ("suffix", asking.suffix)):
        if told:
            raise Invalid(
                f"'{field}' needs a model whose prompt is built on your machine; providers build it themselves. "
                f"Leave '{field}' out.",
                param=field,
            )
    if asking.context:
        raise Invalid(
            "'context' holds another server's tokens. Use /api/chat for conversations.", param="context"
        )
    if not asking.prompt and not asking.images:
        raise NothingAsked(asking.model, False)
    said: list[dict[str, Any]] = [{"role": "system", "content": asking.system}] if asking.system else []
    said.append({"role": "user", "content": _content(asking.prompt or "", asking.images)})
    return _request(asking, (said, _pictures(asking.images), len(asking.images or ())), None, trace)


def parse_embed(body: bytes, trace: Trace, field: str) -> Request:
    """`field`: where this endpoint keeps its texts, `input` or `prompt`."""
    asking: Embedding = openai.decode(_embed, body)
    texts = asking.input if field == "input" else asking.prompt
    if not texts:
        raise Invalid(f"'{field}' is missing or empty: send a text.", param=field)
    model = plain(asking.model)
    fields = {"model": msgspec.Raw(_encode(model)), "input": msgspec.Raw(_encode(texts))}
    if asking.dimensions is not None:
        if asking.dimensions < 1:
            raise Invalid(f"'dimensions' is {asking.dimensions}: it must be at least 1.", param="dimensions")
        fields["dimensions"] = msgspec.Raw(b"%d" % asking.dimensions)
    tokens = int(len(fields["input"]) / openai.BYTES_PER_TOKEN) + 4
    return Request(model=model, body=fields, kind="embeddings", tokens_in=tokens, trace=trace)


def plain(model: str) -> str:
    """Without the tag that this format's clients put behind names that have none."""
    base = model.removesuffix(":latest")
    return (base or "auto") if base in ("", "auto") or base.startswith("auto:") else model


def _request(
    asking: Chatting | Generating,
    told: tuple[list[dict[str, Any]], int, int],
    tools: list[msgspec.Raw] | None,
    trace: Trace,
) -> Request:
    """`told`: messages, bytes of their images, how many these are."""
    messages, image_bytes, images = told
    model, stream = plain(asking.model), asking.stream is not False
    fields = {"model": msgspec.Raw(_encode(model)), "messages": msgspec.Raw(_encode(messages))}
    needs = {"image"} if images else set()
    limit = _options(asking.options, fields) if asking.options is not None else None
    if stream:
        fields["stream"], fields["stream_options"] = _TRUE, _USAGE
    if tools:
        fields["tools"] = msgspec.Raw(_encode(tools))
        needs.add("tools")
    if asking.format and _format(bytes(asking.format), fields):
        needs.add("json_schema")
    if isinstance(asking.think, str):
        if asking.think not in EFFORTS:
            raise Invalid('\'think\' is true, false, "low", "medium" or "high".', param="think")
        fields["reasoning_effort"] = msgspec.Raw(_encode(asking.think))
    size = len(fields["messages"]) - image_bytes + len(fields.get("tools", b""))
    return Request(
        model=model,
        body=fields,
        stream=stream,
        tokens_in=openai.prompt_tokens(size, images),
        tokens_out=limit or openai.DEFAULT_OUTPUT,
        limited=limit is not None,
        needs=frozenset(needs),
        native={HIDDEN: msgspec.Raw(b"false")} if asking.think is False else None,
        native_dialect=DIALECT if asking.think is False else "",
        trace=trace,
    )


def _options(options: Options, fields: dict[str, msgspec.Raw]) -> int | None:
    """Adds what the client set; returns its limit on the answer, None if there is none."""
    limit = options.num_predict if options.num_predict and options.num_predict > 0 else None
    said: dict[str, Any] = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": limit,
        "stop": options.stop or None,
        "seed": options.seed,
        "frequency_penalty": options.frequency_penalty,
        "presence_penalty": options.presence_penalty,
    }
    for name, value in said.items():
        if value is not None:
            fields[name] = msgspec.Raw(_encode(value))
    return limit


def _format(form: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Whether a schema is needed. `strict` is not claimed: schemas of this format's clients rarely meet its rules."""
    if form in (b"null", b'""'):
        return False
    if form == b'"json"':
        fields["response_format"] = msgspec.Raw(b'{"type":"json_object"}')
        return False
    if form[:1] != b"{":
        raise Invalid("'format' is \"json\" or a JSON schema, an object.", param="format")
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": msgspec.Raw(form)}}
    fields["response_format"] = msgspec.Raw(_encode(schema))
    return True


def _messages(messages: list[Message]) -> tuple[list[dict[str, Any]], int, int]:
    made: list[dict[str, Any]] = []
    image_bytes = images = 0
    open_calls: list[tuple[str, str]] = []  # id and name of calls that no tool has answered yet
    for place, message in enumerate(messages):
        if message.role not in ROLES:
            raise Invalid(
                f"'role' is {message.role[:40]!r}: it is system, user, assistant or tool.",
                param=f"messages.{place}.role",
            )
        image_bytes, images = image_bytes + _pictures(message.images), images + len(message.images or ())
        said = {"role": message.role, "content": _content(message.content or "", message.images)}
        if message.role == "tool":
            said["tool_call_id"] = _answered(message, open_calls) or f"call_{place}"
        elif message.tool_calls:
            said["tool_calls"] = calls = [
                _call(call.id or f"call_{place}_{n}", call.function.name, bytes(call.function.arguments))
                for n, call in enumerate(message.tool_calls)
            ]
            open_calls = [(call["id"], call["function"]["name"]) for call in calls]
        made.append(said)
    return made, image_bytes, images


def _call(id: str, name: str, arguments: bytes) -> dict[str, Any]:
    """A call as Chat Completions has it: arguments are JSON as text. Some clients send them as text already."""
    own, extra = split_id(id)
    text = msgspec.json.decode(arguments) if arguments[:1] == b'"' else arguments.decode() or "{}"
    call: dict[str, Any] = {"id": own, "type": "function", "function": {"name": name, "arguments": text}}
    if extra is not None:
        call["extra_content"] = extra
    return call


def _answered(message: Message, open_calls: list[tuple[str, str]]) -> str:
    """The id of the call that this message answers, and takes it off the list; "" if there is none."""
    if message.tool_call_id:
        return split_id(message.tool_call_id)[0]
    name = message.tool_name or message.name
    found = next((n for n, call in enumerate(open_calls) if call[1] == name), 0)
    return open_calls.pop(found)[0] if open_calls else ""


def _content(text: str, images: list[str] | None) -> str | list[dict[str, Any]]:
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return parts + [{"type": "image_url", "image_url": {"url": _url(image)}} for image in images]


def _url(image: str) -> str:
    if image.startswith(("data:", "https://", "http://")):
        return image
    return f"data:{_PICTURES.get(image[:4], 'image/png')};base64,{image}"


def _pictures(images: list[str] | None) -> int:
    return sum(len(image) for image in images or ())
