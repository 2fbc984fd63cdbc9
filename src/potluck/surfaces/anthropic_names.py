"""Ids and names of tools that must survive the way to another format and back.

Rules: pure functions, and `split_id(join_id(id, extra)) == (id, extra)`. A signature that a provider wants back with
its tool call (`extra_content`) has no place in a tool_use block, but every client returns a block's id: so it rides
in the id, in the letters that the format allows there (A-Z a-z 0-9 _ -).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

LONGEST = (
    64  # letters of a function's name in Chat Completions (OpenAI API reference); this format allows 128
)
_MARK = "__x__"


def short_name(name: str) -> str:
    """The name itself, or its beginning and a digest: tools of MCP servers are named after server and tool."""
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def join_id(id: str, extra: Any) -> str:
    """An id that carries `extra`, a JSON value, or the id alone where there is nothing to carry."""
    if not extra:
        return id
    packed = base64.urlsafe_b64encode(msgspec.json.encode(extra)).decode().rstrip("=")
    return f"{id}{_MARK}{packed}"


def split_id(id: str) -> tuple[str, Any]:
    """What `join_id` joined; an id that only looks like it is left alone."""
    plain, mark, packed = id.rpartition(_MARK)
    if not mark:
        return id, None
    try:
        return plain, msgspec.json.decode(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return id, None
