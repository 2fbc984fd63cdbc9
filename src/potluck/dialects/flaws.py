"""Answers that came with a 200 and yet are none: empty, filtered, or JSON that breaks off though it was asked for.

Rules: only what is certain. An answer that was cut and says finish "stop" looks like any other, unless JSON was asked
for. Each flaw is a failure of the target, with the usage it reported: the tokens are spent. What is looked at costs one
search over the bytes, and a decoding only where the search finds something.
"""

from __future__ import annotations

import re

import msgspec

from potluck.errors import ContentRefused, Malformed, TargetFailed
from potluck.types import Chunk, Request, Usage

FILTERED = "content_filter"
# What an answer without text looks like in the formats we know; a longer one is looked at more closely.
_PERHAPS = re.compile(rb'content_filter|SAFETY|refusal"|"content":\s*(?:""|null|\[\s*\])|"parts":\s*\[\s*\]')


def of_whole(chunk: Chunk, request: Request, usage: Usage | None) -> TargetFailed | None:
    """What is wrong with a whole chat answer, or None."""
    wants_json = "response_format" in request.body
    if request.kind != "chat" or not (wants_json or chunk.dialect != "openai" or _PERHAPS.search(chunk.raw)):
        return None
    events = chunk.events
    finish = next((event.finish for event in events if event.finish), None)
    text = "".join(event.text for event in events)
    said = bool(text or any(event.reasoning or event.tool_calls for event in events))
    if any((event.delta or {}).get("refusal") for event in events):
        return None  # the model itself declined, in words: that is an answer
    flaw = of_ending(finish, said, usage)
    if flaw is None and wants_json and text and finish == "stop" and broken_json(request, text):
        return _spent(
            Malformed("the provider's answer is not the JSON that was asked for", status=200), usage
        )
    return flaw


def of_ending(finish: str | None, said: bool, usage: Usage | None) -> TargetFailed | None:
    """What is wrong with an answer of which nothing has been shown yet. `said`: whether there is anything in it."""
    if finish == FILTERED:
        return _spent(ContentRefused("the provider's filter stopped the answer", status=200), usage)
    if finish == "stop" and not said:
        return _spent(Malformed("the provider's answer is empty", status=200), usage)
    return None


def broken_json(request: Request, text: str) -> bool:
    """Whether the request asked for JSON and this is none."""
    form = request.decoded("response_format")
    if not isinstance(form, dict) or form.get("type") not in ("json_object", "json_schema"):
        return False
    try:
        msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _spent(failure: TargetFailed, usage: Usage | None) -> TargetFailed:
    failure.usage = usage or Usage(estimated=True)
    return failure
