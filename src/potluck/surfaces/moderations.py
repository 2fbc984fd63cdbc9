"""OpenAI's Moderations: an address whose stage does not exist yet, and that says so in the client's own shape."""

from __future__ import annotations

from typing import Any

import msgspec

from potluck.errors import Invalid, Unsupported
from potluck.surfaces import openai
from potluck.surfaces.chat import ChatCompletions
from potluck.surfaces.surface import Asked
from potluck.types import Request, Trace


class _Asking(msgspec.Struct):
    input: str | list[Any]
    model: str | None = None


_asking = msgspec.json.Decoder(_Asking)


class Moderations(ChatCompletions):
    """`POST /v1/moderations`. Raises Unsupported, always: a made-up verdict would be believed."""

    name = "moderations"

    def parse(self, asked: Asked, trace: Trace) -> Request:
        asking: _Asking = openai.decode(_asking, asked.body)
        if not asking.input:
            raise Invalid("'input' is empty: send a text or a list of texts.", param="input")
        raise Unsupported(
            "Moderation is not served yet: it needs the stage 'moderation' in a profile, and this version of Potluck "
            "has no such stage. Ask your own safety model through /v1/chat/completions until then.",
        )
