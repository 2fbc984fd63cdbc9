"""A pretend host of the Messages format: strict about what it is asked, and breaks off where a test says so.

Source: Anthropic API reference (Messages, streaming, errors), read from its Python SDK 2.12 (2026-11). Rules: it
imports nothing that translates, so that a mistake of ours cannot hide in both; what the real one refuses, it refuses:
a missing version or key, unknown fields, results without their calls, thinking whose signature is not its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from potluck.sim.answers import count, sample, words
from potluck.sim.player import FLUSH
from potluck.sim.wire import Exchange, Incoming, listen

KEY = "pretend-messages"
SIGNATURE = "c2lnbmF0dXJl+/=="  # what every thinking block of this host is signed with
FIELDS = {"model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "thinking"}
FIELDS |= {"stop_sequences", "tools", "tool_choice", "metadata", "output_config", "service_tier"}
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class MessagesHost:
    """`refuse`: the status of every answer; `after`: events of a stream before `fault` ("cut" or "error")."""

    def __init__(self) -> None:
        self.origin, self.bodies, self.sent = "", list[bytes](), list[bytes]()
        self.refuse, self.fault, self.after, self.message = 0, "", 0, "Overloaded"

    def handle(self, incoming: Incoming, exchange: Exchange) -> None:
        self.bodies.append(incoming.body)
        try:
            body = self._read(incoming)
        except Refused as refused:
            error = {"type": ERRORS[refused.status], "message": str(refused)}
            exchange.send(refused.status, {"type": "error", "error": error, "request_id": "req_1"})
            return
        message = answer(body)
        if body.get("stream"):
            self._stream(events(message), exchange)
        else:
            self.sent.append(json.dumps(message, indent=1).encode())
            exchange.send(200, self.sent[-1])

    def _read(self, incoming: Incoming) -> dict[str, Any]:
        if incoming.path != "/v1/messages" or incoming.method != "POST":
            raise Refused(404, "Not found")
        if incoming.headers.get("x-api-key") != KEY:
            raise Refused(401, "invalid x-api-key")
        if incoming.headers.get("anthropic-version") != "2023-06-01":
            raise Refused(400, "anthropic-version: header is required")
        if self.refuse:
            raise Refused(self.refuse, self.message)
        body = json.loads(incoming.body)
        check(body)
        return dict(body)

    def _stream(self, frames: list[bytes], exchange: Exchange) -> None:
        if self.fault:
            frames = frames[: self.after]
        self.sent.append(b"".join(frames))
        exchange.start(200, {"content-type": "text/event-stream; charset=utf-8"})
        for each in frames:
            exchange.chunk(each)
        if self.fault != "error":
            exchange.finish()
            return
        error = frame({"type": "error", "error": {"type": "overloaded_error", "message": self.message}})
        exchange.loop.call_later(FLUSH, exchange.chunk, error)
        exchange.loop.call_later(2 * FLUSH, exchange.finish)


def check(body: dict[str, Any]) -> None:
    """What the real host objects to. Raises Refused."""
    if unknown := body.keys() - FIELDS:
        raise Refused(400, f"{min(unknown)}: Extra inputs are not permitted")
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(body.get(name), kind):
            raise Refused(400, f"{name}: Field required")
    calls: set[str] = set()
    for place, message in enumerate(body["messages"]):
        if message["role"] not in ("user", "assistant"):
            raise Refused(400, f"messages.{place}.role: Input should be 'user' or 'assistant'")
        blocks = message["content"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if results != calls:
            raise Refused(400, f"messages.{place}: tool_use ids without tool_result blocks, or the reverse")
        calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "text" and not block["text"]:
                raise Refused(400, f"messages.{place}: text content blocks must be non-empty")
            if block["type"] == "thinking" and block["signature"] != SIGNATURE:
                raise Refused(400, f"messages.{place}: Invalid `signature` in `thinking` block")
            if block["type"] == "tool_use" and not isinstance(block["input"], dict):
                raise Refused(400, f"messages.{place}: tool_use.input: Input should be a valid dictionary")
    for place, tool in enumerate(body.get("tools", ())):
        if "input_schema" not in tool and "type" not in tool:
            raise Refused(400, f"tools.{place}.input_schema: Field required")


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """The message: thinking where it is asked for, then a call of the first tool or twelve words."""
    asked = json.dumps(body["messages"][-1])
    content: list[dict[str, Any]] = []
    if "thinking" in body:
        content.append({"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE})
    tools = [tool for tool in body.get("tools", ()) if "input_schema" in tool]
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if tools and (forced or "use tool" in asked):
        schema = tools[0]["input_schema"]
        use = {
            "type": "tool_use",
            "id": "toolu_01",
            "name": tools[0]["name"],
            "input": sample(schema, schema),
        }
        content.append(use)
    else:
        content.append({"type": "text", "text": " ".join(words(asked, min(12, body["max_tokens"])))})
    short = body["max_tokens"] < 12
    reason = "tool_use" if content[-1]["type"] == "tool_use" else "max_tokens" if short else "end_turn"
    usage = {"input_tokens": count(asked), "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4}
    message = {"id": "msg_01", "type": "message", "role": "assistant", "model": body["model"]}
    ending = {"stop_reason": reason, "stop_sequence": None, "usage": {**usage, "output_tokens": 12}}
    return {**message, "content": content, **ending}


def events(message: dict[str, Any]) -> list[bytes]:
    """The same message as the real host streams it."""
    start = {**message, "content": [], "stop_reason": None}
    start["usage"] = {**message["usage"], "output_tokens": 1}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(message["content"]):
        empty, deltas = _parts(block)
        found.append({"type": "content_block_start", "index": index, "content_block": empty})
        found += [{"type": "ping"}] if index == 0 else []
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    output = {"output_tokens": message["usage"]["output_tokens"]}
    found.append({"type": "message_delta", "delta": ending, "usage": output})
    found.append({"type": "message_stop"})
    return [frame(event) for event in found]


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if block["type"] == "text":
        pieces = [f"{word} " for word in block["text"].split(" ")]
        pieces[-1] = pieces[-1][:-1]
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
    given = json.dumps(block["input"])
    parts = ("", given[: len(given) // 2], given[len(given) // 2 :])
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def frame(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


@asynccontextmanager
async def serve_messages() -> AsyncIterator[MessagesHost]:
    """Serves one host on a free port of loopback until the block ends."""
    host = MessagesHost()
    server, connections = await listen(host.handle, "127.0.0.1", 0)
    host.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()
        for connection in list(connections):
            connection.transport.abort()
        await server.wait_closed()
