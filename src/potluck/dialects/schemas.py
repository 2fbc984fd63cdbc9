"""JSON Schemas of tools, less the keywords that a provider refuses.

Rules: only keywords go, never a property that happens to have such a name, nor what stands in an enum, a
constant or a default. Deeper than DEEPEST, a schema travels as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEEPEST = 64  # levels; nobody's tool has as many, and a hostile one must not exhaust the stack
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_SINGLE = frozenset({"items", "not", "if", "then", "else", "contains", "propertyNames"})


def plain_tools(tools: Any, refused: frozenset[str]) -> Any:
    """OpenAI-shaped tools with the schema of each function's parameters stripped of `refused` keywords."""
    return [_tool(tool, refused) for tool in tools] if isinstance(tools, list) else tools


def _tool(tool: Any, refused: frozenset[str]) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("parameters"), dict):
        return tool
    return {**tool, "function": {**function, "parameters": _plain(function["parameters"], refused, 0)}}


def _plain(schema: Any, refused: frozenset[str], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > DEEPEST:
        return schema
    return {
        name: _value(name, value, refused, depth) for name, value in schema.items() if name not in refused
    }


def _value(keyword: str, value: Any, refused: frozenset[str], depth: int) -> Any:
    if keyword in _NAMED and isinstance(value, Mapping):
        return {name: _plain(each, refused, depth + 1) for name, each in value.items()}
    if isinstance(value, list) and (keyword in _LISTS or keyword == "items"):
        return [_plain(each, refused, depth + 1) for each in value]
    return _plain(value, refused, depth + 1) if keyword in _SINGLE else value
