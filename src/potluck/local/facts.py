"""What `models.toml` says: the built-in model and the hub. Strict: an unknown field refuses to load."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec


class Builtin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model a newcomer gets: a package that holds one GGUF file. Sizes in bytes, context in tokens."""

    name: str
    package: str
    version: str
    module: str
    file: str
    size: int
    sha256: str
    wheel_size: int
    wheel_sha256: str
    licence: str
    context: int
    quality: int


class Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where models are pulled from: a URL with `{repo}` and `{file}` in it."""

    url: str


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    builtin: Builtin
    hub: Hub


@cache
def facts() -> Facts:
    """The facts shipped with this version, read once."""
    text = files("potluck.local").joinpath("models.toml").read_bytes()
    return msgspec.toml.decode(text, type=Facts)
