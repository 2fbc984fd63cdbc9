"""What a pretend model says: always the same for the same request, so that a test can know it beforehand.

Rules: tokens are counted by this provider's own rule, which is no tokenizer's: one token for every four bytes
of text, rounded down, plus four for each message and three for the answer's start; 258 for each image. One
token of an answer is one streamed event. Tools are called when `tool_choice` demands it, or when the last
message says "use tool" (then a name, or the first) or "use the tool"; JSON comes where `response_format` asks for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Body = Mapping[str, Any]
SAYING = """the pot simmers while every guest brings one dish and none goes home hungry because a table shared
is larger than any kitchen so we count plates with care thank whoever cooked and leave enough for the last to
arrive"""
WORDS = tuple(SAYING.split())
IMAGE_TOKENS = 258


@dataclass(frozen=True)
class Options:
    """How one pretend provider behaves. Times in seconds, on the real clock.

    `tokens` is the length of an answer without a limit, `interval` the time between streamed events (0 writes
    them all at once), `delay` the time before the first byte. `text` or `answer` replace the made-up answer;
    `limits` replaces amounts ({"requests/day": 50}); `unlimited` removes all; `models` adds model names.
    `arguments` are what a tool of that name is called with, instead of a sample of its schema.
    """

    tokens: int = 20
    interval: float = 0.0
    delay: float = 0.0
    text: str | None = None
    answer: Callable[[Body], str] | None = None
    reasoning: int = 0
    dimensions: int = 64
    limits: Mapping[str, float] = field(default_factory=dict)
    unlimited: bool = False
    models: tuple[str, ...] = ()
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tool_index: bool = True  # some upstreams leave `index` out of streamed tool calls


@dataclass(frozen=True)
class Answer:
    """`pieces` are the tokens of the text, `calls` the tool calls; `finish` is OpenAI's word."""

    pieces: tuple[str, ...]
    finish: str = "stop"
    calls: tuple[dict[str, Any], ...] = ()
    reasoning: tuple[str, ...] = ()
    prompt: int = 0

    @property
    def tokens(self) -> int:
        called = sum(count(call["function"]["arguments"]) + 4 for call in self.calls)
        return len(self.pieces) + len(self.reasoning) + called

    def usage(self) -> dict[str, Any]:
        total = self.prompt + self.tokens
        return {"prompt_tokens": self.prompt, "completion_tokens": self.tokens, "total_tokens": total}


def count(text: str) -> int:
    return len(text.encode()) // 4


def text_of(content: Any) -> str:
    """The text of a message's content, be it a string, an array of parts, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def prompt_tokens(body: Body) -> int:
    total = 3
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        total += 4 + count(text_of(content))
        if isinstance(content, list):
            total += IMAGE_TOKENS * sum(
                1 for p in content if isinstance(p, dict) and p.get("type") == "image_url"
            )
    return total + (count(json.dumps(body["tools"])) if body.get("tools") else 0)


def max_tokens(body: Body, default: int = 0) -> int:
    """What the request allows, 0 = nothing said."""
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    return asked if isinstance(asked, int) else default


def last(messages: list[Any]) -> Any:
    """What is answered: the last message, but for instructions, which some clients put behind it."""
    said = [each for each in messages if each.get("role") not in ("system", "developer")]
    return (said or messages)[-1]


def compose(body: Body, options: Options, default_max: int = 0) -> Answer:
    """The answer to a chat request: a pure function of the request and the options."""
    messages = body.get("messages") or [{}]
    prompt = text_of(last(messages).get("content"))
    used = prompt_tokens(body)
    if call := _tool_call(body, options, prompt):
        return Answer((), "tool_calls", (call,), prompt=used)
    reasoning = tuple(f"{word} " for word in words(prompt + "?", options.reasoning))
    pieces = _pieces(body, options, prompt)
    allowed = max_tokens(body, default_max)
    if allowed and len(pieces) + len(reasoning) > allowed:
        reasoning = reasoning[:allowed]
        return Answer(pieces[: allowed - len(reasoning)], "length", reasoning=reasoning, prompt=used)
    return Answer(pieces, reasoning=reasoning, prompt=used)


def words(seed: str, number: int) -> list[str]:
    start = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest(), "big")
    return [WORDS[(start + i * 7 + i * i) % len(WORDS)] for i in range(number)]


def _pieces(body: Body, options: Options, prompt: str) -> tuple[str, ...]:
    form = body.get("response_format") or {}
    if options.text is not None or options.answer is not None:
        text = options.answer(body) if options.answer is not None else options.text or ""
    elif form.get("type") == "json_schema":
        schema = form.get("json_schema", {}).get("schema", {})
        text = json.dumps(sample(schema, schema))
    elif form.get("type") == "json_object":
        text = json.dumps({"answer": " ".join(words(prompt, 6))})
    else:
        chosen = words(prompt, options.tokens)
        return tuple(word if i == 0 else f" {word}" for i, word in enumerate(chosen))
    return split(text)


def split(text: str) -> tuple[str, ...]:
    """A text as tokens: each word with the space before it."""
    parts = text.split(" ")
    return tuple(part if i == 0 else f" {part}" for i, part in enumerate(parts)) if text else ()


def _tool_call(body: Body, options: Options, prompt: str) -> dict[str, Any] | None:
    tools, choice = body.get("tools"), body.get("tool_choice", "auto")
    if not tools or choice == "none":
        return None
    forced = isinstance(choice, dict) or choice in ("required", "any")
    if not forced and "use tool" not in prompt.lower() and "use the tool" not in prompt.lower():
        return None
    wanted = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    functions = [tool["function"] for tool in tools]
    named = [each for each in functions if f"use tool {each['name']} " in f"{prompt} "]
    function = next((each for each in functions if each["name"] == wanted), (named or functions)[0])
    schema = function.get("parameters") or {}
    given = options.arguments.get(function["name"], sample(schema, schema) or {})
    made = {"name": function["name"], "arguments": json.dumps(given)}
    name = hashlib.blake2b(prompt.encode(), digest_size=5).hexdigest()[:9]  # Mistral demands nine characters
    return {"id": name, "type": "function", "function": made}


def sample(schema: Any, root: Any) -> Any:
    """The smallest honest instance of a JSON schema; all properties are filled in."""
    if not isinstance(schema, dict):
        return None
    if isinstance(ref := schema.get("$ref"), str):
        target = root
        for part in ref.removeprefix("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, dict) else {}
        return sample(target, root)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return sample(schema[key][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sample(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {}), root) for _ in range(max(1, schema.get("minItems", 1)))]
    low = schema.get("minimum", 1)
    return {"integer": math.ceil(low), "number": float(low), "boolean": True, "null": None}.get(kind, "pot")


def embedding(text: str, dimensions: int) -> list[float]:
    """A unit vector: texts that share words point the same way."""
    vector = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        vector[int.from_bytes(digest[:4], "big") % dimensions] += 1.0 if digest[4] & 1 else -1.0
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / length for x in vector]


def inputs_of(body: Body) -> list[str]:
    given = body.get("input")
    items = given if isinstance(given, list) else [given]
    return [item if isinstance(item, str) else json.dumps(item) for item in items]


def embeddings(body: Body, options: Options) -> tuple[list[dict[str, Any]], int]:
    """The `data` of an embeddings answer, and the tokens it cost."""
    size = body.get("dimensions") or options.dimensions
    packed = body.get("encoding_format") == "base64"
    data: list[dict[str, Any]] = []
    for index, text in enumerate(inputs_of(body)):
        vector: Any = embedding(text, size)
        if packed:
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    return data, sum(count(text) + 1 for text in inputs_of(body))
