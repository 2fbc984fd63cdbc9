"""OpenAI's Chat Completions and Embeddings as clients speak them: parse a body, render a reply or an error.

Source: OpenAI API reference. Only what Potluck acts on is checked; every other field travels as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from potluck.errors import Invalid, PotluckError
from potluck.types import Event, Request, Trace, Usage

DEFAULT_OUTPUT = 512  # tokens held for an answer when the client sets no limit
IMAGE_TOKENS = 1000  # held per image: providers charge 85 to 1,600 by size, and none says so up front
MOST_CHOICES = 8
BYTES_PER_TOKEN = 3.2  # of UTF-8 JSON; pessimistic for English (about 4), about right for code
DONE = b"data: [DONE]\n\n"


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Chat(msgspec.Struct):
    messages: list[_Message]
    model: str = "auto"
    stream: bool | None = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    response_format: msgspec.Raw = msgspec.Raw()


class _Embeddings(msgspec.Struct):
    input: str | list[str | int | list[int]]
    model: str = "auto"
    encoding_format: str | None = None


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_chat = msgspec.json.Decoder(_Chat)
_embeddings = msgspec.json.Decoder(_Embeddings)


def parse_chat(body: bytes, *, trace: Trace) -> Request:
    """A chat request. Raises Invalid with the field at fault, where it is known."""
    fields = decode(_fields, body)
    chat: _Chat = decode(_chat, body)
    if not chat.messages:
        raise Invalid("'messages' is empty: send at least one message.", param="messages")
    choices = several(fields, chat.n)
    limit = chat.max_completion_tokens if chat.max_completion_tokens is not None else chat.max_tokens
    if limit is not None and limit < 1:
        raise Invalid(f"'max_tokens' is {limit}: it must be at least 1.", param="max_tokens")
    needs, images, image_bytes = _needs(chat)
    measured = len(fields["messages"]) - image_bytes + (len(fields["tools"]) if chat.tools else 0)
    return Request(
        model=chat.model or "auto",
        body=fields,
        stream=bool(chat.stream),
        bodies=choices,
        tokens_in=prompt_tokens(measured, images),
        tokens_out=limit or DEFAULT_OUTPUT,
        limited=limit is not None,
        needs=needs,
        trace=trace,
    )


def several(fields: dict[str, msgspec.Raw], n: int | None) -> tuple[Mapping[str, msgspec.Raw], ...]:
    """The body of each of `n` choices; () for one. Raises Invalid."""
    if n in (1, None):
        return ()
    if not isinstance(n, int) or not 1 <= n <= MOST_CHOICES:
        raise Invalid(
            f"'n' is {n}: between 1 and {MOST_CHOICES} choices are served, because every choice is a request of its "
            "own and costs free quota.",
            param="n",
        )
    fields.pop("n")
    return (fields,) * n


def prompt_tokens(measured: int, images: int) -> int:
    """The estimate for a prompt of `measured` bytes of JSON (messages and tools), less those of its images."""
    return int(measured / BYTES_PER_TOKEN) + images * IMAGE_TOKENS + 4


def parse_embeddings(body: bytes, *, trace: Trace) -> Request:
    fields = decode(_fields, body)
    wanted: _Embeddings = decode(_embeddings, body)
    if wanted.input == "" or wanted.input == []:
        raise Invalid("'input' is empty: send a text or a list of texts.", param="input")
    return Request(
        model=wanted.model or "auto",
        body=fields,
        kind="embeddings",
        tokens_in=int(len(fields["input"]) / BYTES_PER_TOKEN) + 4,
        trace=trace,
    )


def decode(decoder: Any, body: bytes) -> Any:
    """The body, or a part of it. Raises Invalid, with the field at fault where it is known."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(_sentence(str(error)), param=_param(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"The body is not valid JSON: {error}. Send a JSON object as UTF-8.") from None
    except RecursionError:
        raise Invalid("The body is nested too deeply. Send at most a few hundred levels.") from None


def _sentence(problem: str) -> str:
    return f"The body has a field of the wrong type or lacks one: {problem}."


def _param(problem: str) -> str | None:
    if "`$." in problem:
        return problem.split("`$.", 1)[1].rstrip("`").rstrip(".")
    return problem.split("`")[1] if "missing required field" in problem else None


def _needs(chat: _Chat) -> tuple[frozenset[str], int, int]:
    """What a target must be able to do; how many images there are, and their bytes."""
    images = image_bytes = 0
    for message in chat.messages:
        content = bytes(message.content)
        if content[:1] == b"[" and b'"image_url"' in content:
            for part in msgspec.json.decode(content, type=list[msgspec.Raw]):
                if b'"image_url"' in bytes(part):
                    images, image_bytes = images + 1, image_bytes + len(part)
    needs = set()
    if images:
        needs.add("image")
    if chat.tools or chat.functions:
        needs.add("tools")
    if chat.response_format and b"json_schema" in bytes(chat.response_format):
        needs.add("json_schema")
    return frozenset(needs), images, image_bytes


def render_error(error: PotluckError) -> bytes:
    """OpenAI's error object: a sentence, a type, the parameter at fault and a stable code."""
    return msgspec.json.encode(
        {"error": {"message": str(error), "type": error.type, "param": error.param, "code": error.code}}
    )


def render_error_event(error: PotluckError) -> bytes:
    """An explicit end of a stream that broke: no clean terminator follows it."""
    return b"data: " + render_error(error) + b"\n\n"


def render_whole(events: Iterable[Event], *, id: str, model: str, created: int) -> bytes:
    """A JSON answer folded from events."""
    usage: Usage | None = None
    choices: dict[int, list[Event]] = {0: []}
    for event in events:
        usage = event.usage or usage
        choices.setdefault(event.choice, []).append(event)
    return msgspec.json.encode(
        {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [_choice(number, mine) for number, mine in sorted(choices.items())],
            "usage": _usage(usage or Usage()),
        }
    )


def _choice(number: int, events: Iterable[Event]) -> dict[str, Any]:
    text: list[str] = []
    reasoning: list[str] = []
    tools: list[Any] = []
    finish = "stop"
    for event in events:
        text.append(event.text)
        reasoning.append(event.reasoning)
        tools.extend(event.tool_calls or ())
        finish = event.finish or finish
    message: dict[str, Any] = {"role": "assistant", "content": "".join(text)}
    if any(reasoning):
        message["reasoning_content"] = "".join(reasoning)
    if tools:
        message["tool_calls"] = tools
    return {"index": number, "message": message, "finish_reason": finish}


def render_events(
    events: Iterable[Event], *, id: str, model: str, created: int, usage: bool = False
) -> bytes:
    """Events that no provider sent in this format, as chunks of a stream."""
    rendered: list[bytes] = []
    head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
    for event in events:
        delta: dict[str, Any] = {"role": "assistant", "content": event.text}
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.tool_calls:
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(event.tool_calls)]
        choice = {"index": event.choice, "delta": delta, "finish_reason": event.finish}
        if event.meaningful or not event.usage:  # usage alone has an event of its own
            rendered.append(msgspec.json.encode({**head, "choices": [choice]}))
        if usage and event.usage:
            rendered.append(msgspec.json.encode({**head, "choices": [], "usage": _usage(event.usage)}))
    return b"".join(b"data: " + one + b"\n\n" for one in rendered)


def render_models(names: Iterable[str], created: int) -> bytes:
    data = [{"id": name, "object": "model", "created": created, "owned_by": "potluck"} for name in names]
    return msgspec.json.encode({"object": "list", "data": data})


def _usage(usage: Usage) -> dict[str, int | bool]:
    """As the format counts; where no provider did, marked as an estimate."""
    counts: dict[str, int | bool] = {"prompt_tokens": usage.input, "completion_tokens": usage.output}
    counts["total_tokens"] = usage.total
    return {**counts, "estimated": True} if usage.estimated else counts
