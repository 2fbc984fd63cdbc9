"""Counts the tokens of a prompt with a real tokenizer, where one is installed (`potluck[tokens]`).

Rules: it is one family's, so what another family counts is still learned (`estimate.py`); but the two differ by a
tenth or two where bytes differ by a factor. A long prompt is counted by its beginning, so that none holds up the event
loop. Nothing that is no plain text is counted: images and files keep the measure they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from potluck.errors import ConfigError
from potluck.types import Request

MESSAGE = 4  # tokens of a chat template around each message
SAMPLE = 16_384  # characters that are really counted: about 0.15 ms; the rest is taken to be like them
UNKNOWN = 1.5  # what a family that nobody knows may count for each token of ours, until it is known

Count = Callable[[str], int]


class Tokenizer:
    """`name` is the encoding, such as o200k_base; `count` gives the tokens of a text."""

    def __init__(self, name: str, count: Count) -> None:
        self.name, self._count = name, count

    def __call__(self, request: Request) -> int:
        """Tokens of a chat's messages and tools; the request's own estimate for what is no plain text."""
        if request.kind != "chat" or "image" in request.needs or "pdf" in request.needs:
            return request.tokens_in
        messages = request.decoded("messages", [])
        text = "\n".join(part for message in messages for part in strings(message))
        if "tools" in request.needs:
            text += bytes(request.body.get("tools", b"")).decode("utf-8", "replace")
        return self.count(text) + MESSAGE * (len(messages) + 1)

    def count(self, text: str) -> int:
        """Tokens of a text; of a long one, as its beginning says."""
        sample = text[:SAMPLE]
        return int(self._count(sample) * len(text) / (len(sample) or 1))


def strings(value: Any) -> Iterator[str]:
    """Every text in a message, whatever part it is in: content, arguments of tool calls, names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of the settings; None for "" and where the extra is not installed.

    Raises ConfigError for an encoding that it does not have.
    """
    if not name:
        return None
    try:
        import quicktok  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        encoding = quicktok.get_encoding(name)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"tokenizer = '{name}' is no encoding that is installed; o200k_base is. ({error})"
        ) from None
    return Tokenizer(name, encoding.count)
