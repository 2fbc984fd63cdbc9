"""When two requests are the same: the normalised request, as a key. Pure.

Rules: every parameter that may change the answer is in the key, also one that we do not know; left out is only how the
answer travels (`stream`) and who asks for it (`user`, `metadata`, …). The order of JSON's members, a null, and a text
written as an array of one part change nothing. The client key is in it, unless the profile shares; so is what a key
may use, so that nobody gets the answer of a model that is closed to him.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from potluck.types import Request

# Fields of OpenAI's Chat Completions and Embeddings (API reference, 2026-11) that do not change what is answered.
ASIDE = frozenset(
    {
        "model",  # the request has it, resolved
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
USUAL: Mapping[str, bytes] = {
    "n": b"1",
    "logprobs": b"false",
    "frequency_penalty": b"0",
    "presence_penalty": b"0",
}
LIMIT = "max_completion_tokens"  # the newer name of max_tokens, and the one that wins

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def fields(request: Request) -> dict[str, Any] | None:
    """The fields that matter, normalised; None where they cannot be read (a lone surrogate, say)."""
    found: dict[str, Any] = {}
    body = request.body
    try:
        for name, raw in body.items():
            if name in ASIDE or (len(raw) < 6 and bytes(raw) in (b"null", USUAL.get(name))):
                continue
            if name == "max_tokens":
                if LIMIT in body:
                    continue
                name = LIMIT
            found[name] = _decode(raw)
        if request.native is not None:
            # What another format says beyond its translation, for an upstream that speaks the same.
            found["\0native"] = {
                name: _decode(raw) for name, raw in request.native.items() if name not in ASIDE
            }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    messages = found.get("messages")
    if isinstance(messages, list):
        found["messages"] = [_plain(message) for message in messages]
    return found


def key(request: Request, found: Mapping[str, Any], *, shared: bool, below: bytes) -> bytes:
    """Sixteen bytes. `below` is the fingerprint of the stages that the answer comes from."""
    head = ("" if shared else request.tenant, request.model.lower(), request.kind, request.allowed)
    return _digest(below, head, found)


def context(request: Request, found: Mapping[str, Any], *, shared: bool, below: bytes) -> bytes:
    """The same of everything but the question: system, earlier turns, tools, parameters."""
    rest = dict(found)
    rest["messages"] = rest["messages"][:-1]
    if "\0native" in rest:
        rest["\0native"] = {name: value for name, value in rest["\0native"].items() if name != "messages"}
    rest["\0"] = "context"
    return key(request, rest, shared=shared, below=below)


def question(found: Mapping[str, Any]) -> str:
    """The text of the last message, if it is the user's and nothing but text; "" otherwise."""
    messages = found.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user" or last.keys() - {"role", "content"}:
        return ""
    content = last.get("content")
    return content if isinstance(content, str) else ""


def _plain(message: Any) -> Any:
    """A message without what says nothing: nulls, and an array around one text."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1:
        part = content[0]
        if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
            message = {**message, "content": part["text"]}
    if None in message.values():
        return {name: value for name, value in message.items() if value is not None}
    return message


def _digest(below: bytes, head: tuple[Any, ...], rest: Any) -> bytes:
    made = blake2b(below, digest_size=16)
    made.update(_encode(head))
    made.update(_encode(rest))  # JSON marks its own ends: two parts cannot be read as other two
    return made.digest()
