"""Anthropic's Messages as a surface: its answers, its errors, its listing of models, its count of tokens.

Source: Anthropic API reference (Messages, errors, models), read from its Python SDK 2.12 (2026-11). The parts with
more to them are `anthropic_parse` and `anthropic_stream`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from potluck.errors import Invalid, PotluckError
from potluck.surfaces.anthropic_parse import DIALECT, parse
from potluck.surfaces.anthropic_stream import Calls, MessageWriter, stop_reason, usage_of
from potluck.surfaces.surface import About, Asked
from potluck.types import Event, Request, Trace, Usage

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    501: "invalid_request_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Messages:
    """`POST /v1/messages`."""

    name = "anthropic"
    dialect: str | None = DIALECT
    stream_type = b"text/event-stream; charset=utf-8"
    counting = False

    def parse(self, asked: Asked, trace: Trace) -> Request:
        try:
            return parse(asked.body, trace=trace, counting=self.counting)
        except RecursionError:
            raise Invalid("The body is nested too deeply. Send at most a few hundred levels.") from None
        except UnicodeDecodeError as error:
            raise Invalid(f"The body is not valid UTF-8: {error.reason}.") from None

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        return render_whole(events, about)

    def writer(self, about: About) -> MessageWriter:
        return MessageWriter(about, lambda error: self.error(error))

    def error(self, error: PotluckError) -> bytes:
        """Its own type by status, and our stable code beside it."""
        said = str(error)
        if error.code == "context_length_exceeded":
            said = (
                f"prompt is too long: {said}"  # the words by which this format's clients know it, and compact
            )
        kind = TYPES.get(error.status, "api_error")
        return msgspec.json.encode(
            {"type": "error", "error": {"type": kind, "message": said, "code": error.code}}
        )


class CountTokens(Messages):
    """`POST /v1/messages/count_tokens`: parsed like a message, and answered with its estimate."""

    counting = True


def render_whole(events: Sequence[Event], about: About) -> bytes:
    """A JSON answer folded from events: thinking, then text, then the calls of tools."""
    text, thinking, signature = [], [], ""
    calls = Calls(about)
    finish: str | None = None
    usage: Usage | None = None
    for event in events:
        text.append(event.text)
        thinking.append(event.reasoning)
        signature = (event.delta or {}).get("thinking_signature") or signature
        calls.take(event.tool_calls or ())
        finish, usage = event.finish or finish, event.usage or usage
    content: list[dict[str, Any]] = []
    if signature or any(thinking):
        content.append({"type": "thinking", "thinking": "".join(thinking), "signature": signature})
    if said := "".join(text):
        content.append({"type": "text", "text": said})
    content += [call.block() for call in calls.all]
    if usage is None:
        attempts = about.request.trace.attempts
        usage = attempts[-1].usage if attempts else None
    return msgspec.json.encode(
        {
            "id": f"msg_{about.id}",
            "type": "message",
            "role": "assistant",
            "model": about.model,
            "content": content,
            "stop_reason": stop_reason(finish, bool(calls.all)),
            "stop_sequence": None,
            "usage": usage_of(usage or Usage()),
        }
    )


def render_count(request: Request) -> bytes:
    return msgspec.json.encode({"input_tokens": request.tokens_in})


def render_models(names: Iterable[str], created: int) -> bytes:
    """All models on one page. `created` is epoch seconds: when any of them was released, nobody told."""
    data = [model(name, created) for name in names]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else dict.fromkeys(_ENDS)
    return msgspec.json.encode({"data": data, "has_more": False, **ends})


_ENDS = ("first_id", "last_id")


def model(name: str, created: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": at, "lifecycle": "active"}
