"""Read the head of a GGUF file: enough to refuse what is not a model, and to know its context length.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 2 and 3, little endian). Reading
stops at the first field that answers the question; weights and vocabulary are never read.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

from potluck.errors import ConfigError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_KEY = 65_535  # bytes, by the format
_LONGEST_TEXT = 16 << 20  # bytes; chat templates are tens of kilobytes
_MOST_FIELDS = 100_000  # real files have tens


class Head(msgspec.Struct, frozen=True):
    """What a GGUF file says of itself. `context` is the training length in tokens, 0 = not said."""

    architecture: str
    context: int = 0


class Broken(Exception):
    """The bytes are not what the format promises; becomes a ConfigError that names the file."""


def read(path: Path) -> Head:
    """The head of the file at `path`. Raises ConfigError if it is missing, unreadable or not a GGUF model."""
    try:
        with path.open("rb") as file:
            return parse(file)
    except Broken as reason:
        raise ConfigError(
            f"{path} is not a usable GGUF model: {reason}. Download it again, or name another file."
        ) from None
    except OSError as reason:
        raise ConfigError(f"Cannot read the model {path}: {reason.strerror}. Check the path.") from None


def parse(file: BinaryIO) -> Head:
    """The head of an open file. Raises `Broken`, and nothing else, whatever the bytes."""
    if file.read(4) != b"GGUF":
        raise Broken("it does not begin with the letters GGUF")
    version = int(_number(file, "I"))
    if version not in (2, 3):
        raise Broken(f"version {version} of the format is unknown")
    _number(file, "Q")  # tensors
    architecture = ""
    for _ in range(min(int(_number(file, "Q")), _MOST_FIELDS)):
        key = _text(file, _LONGEST_KEY)
        value = _value(file, int(_number(file, "I")))
        if key == "general.architecture":
            architecture = str(value)
        if key == f"{architecture}.context_length" and isinstance(value, int):
            return Head(architecture, value)
    if not architecture:
        raise Broken("it does not name its architecture")
    return Head(architecture)


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise Broken("it ends in the middle of its header (a download that was cut?)")
    return data


def _number(file: BinaryIO, code: str) -> int | float | bool:
    """One little-endian number; `code` is a letter of the struct module."""
    return struct.unpack("<" + code, _take(file, struct.calcsize("<" + code)))[0]  # type: ignore[no-any-return]


def _text(file: BinaryIO, limit: int) -> str:
    length = int(_number(file, "Q"))
    if length > limit:
        raise Broken("a text in its header is too long")
    return _take(file, length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> int | float | bool | str | None:
    """One value; arrays are skipped and become None."""
    if kind in _SCALARS:
        return _number(file, _SCALARS[kind])
    if kind == _STRING:
        return _text(file, _LONGEST_TEXT)
    if kind != _ARRAY:
        raise Broken(f"its header holds a value of unknown type {kind}")
    _skip_array(file)
    return None


def _skip_array(file: BinaryIO) -> None:
    """Step over an array. Scalars in one seek; texts one by one, until the file ends at the latest."""
    kind, count = int(_number(file, "I")), int(_number(file, "Q"))
    if kind in _SCALARS:
        end = file.tell() + count * struct.calcsize("<" + _SCALARS[kind])
        if end > file.seek(0, 2):
            raise Broken("it ends in the middle of its header (a download that was cut?)")
        file.seek(end)
    elif kind == _STRING:
        for _ in range(count):
            _text(file, _LONGEST_TEXT)
    else:
        raise Broken(f"its header holds an array of unknown type {kind}")
