"""What the fake upstream says and the load generator demands back, word for word.

Rule: both sides take their texts from here, and neither takes anything from Potluck, so that a gateway
which loses, doubles or reorders a word is counted as wrong and not as fast.
"""

from __future__ import annotations

import json
from typing import Any

MODEL = "bench-model"
EVENTS = 20  # `data:` events of one streamed answer, not counting [DONE]
QUESTION = "Say how the kitchen of a potluck keeps track of who brought which dish, in one sentence."
ANSWER = "Everyone writes the dish on the shared list before leaving home, so nobody cooks the same twice."
USAGE = {"prompt_tokens": 24, "completion_tokens": 20, "total_tokens": 44}
_HEAD: dict[str, Any] = {"id": "chatcmpl-bench0001", "created": 1_790_000_000, "model": MODEL}
# The clock is in no answer: every request of a run gets the same bytes.


def compact(value: object) -> bytes:
    """JSON without spaces, as most providers send it."""
    return json.dumps(value, separators=(",", ":")).encode()


def json_answer() -> bytes:
    """The whole answer as one JSON body, about 400 bytes."""
    message = {"role": "assistant", "content": ANSWER}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return compact({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def stream_words(events: int) -> list[str]:
    """The texts of the content events: all but the role, the finish and the usage event."""
    return [f"word{i:03d} " for i in range(events - 3)]


def stream_events(events: int) -> list[bytes]:
    """The SSE events of one streamed answer; the last one carries the usage and [DONE]."""

    def event(choices: list[dict[str, Any]], **more: object) -> bytes:
        chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + compact(chunk) + b"\n\n"

    def choice(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish}]

    out = [event(choice({"role": "assistant", "content": ""}))]
    out += [event(choice({"content": word})) for word in stream_words(events)]
    out.append(event(choice({}, "stop")))
    out.append(event([], usage=USAGE) + b"data: [DONE]\n\n")
    return out


def request_body(model: str, *, stream: bool, pad_bytes: int = 0) -> bytes:
    """A chat request; `pad_bytes` of plain text go before the question (a long document, say)."""
    filler = "The quick brown fox jumps over the lazy dog. " * (pad_bytes // 45 + 1)
    messages = [{"role": "user", "content": filler[:pad_bytes] + QUESTION}]
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 256, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return compact(body)
