"""Keywords a provider refuses leave the schemas of tools, and nothing else does."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from potluck import catalog
from potluck.dialects.openai import OpenAI
from potluck.dialects.schemas import plain_tools
from potluck.surfaces.openai import parse_chat
from potluck.types import Trace

REFUSED = frozenset({"additionalProperties", "$schema"})
NAMES = st.sampled_from(["additionalProperties", "$schema", "city", "properties", "items"])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.just({"type": "string"}),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "anyOf": st.lists(inner, max_size=2),
            "items": inner,
            "additionalProperties": st.booleans() | inner,
            "$schema": st.just("http://json-schema.org/draft-07/schema#"),
            "enum": st.just([{"additionalProperties": False}]),
        },
    ),
    max_leaves=12,
)


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def keywords(schema: Any) -> set[str]:
    """Every keyword in use, at any depth; names of properties are no keywords."""
    if not isinstance(schema, dict):
        return set()
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), schema.get("items")]
    return set(schema).union(*(keywords(each) for each in below))


def properties(schema: Any) -> list[str]:
    """The names of all properties in the order they stand."""
    if not isinstance(schema, dict):
        return []
    named = schema.get("properties", {})
    below = [*named.values(), *schema.get("anyOf", []), schema.get("items")]
    return [*named, *(name for each in below for name in properties(each))]


@given(SCHEMAS)
def test_the_keywords_go_and_every_property_stays(schema: Any) -> None:
    [plain] = plain_tools([tool(schema)], REFUSED)
    after = plain["function"]["parameters"]
    assert not keywords(after) & REFUSED
    assert properties(after) == properties(schema)
    assert keywords(after) == keywords(schema) - REFUSED


def test_what_stands_in_an_enum_or_a_default_is_data() -> None:
    schema = {"enum": [{"$schema": 1}], "default": {"additionalProperties": 1}, "const": {"$schema": 2}}
    assert plain_tools([tool(schema)], REFUSED) == [tool(schema)]


def test_tools_of_no_known_shape_travel_as_they_came() -> None:
    for tools in ("x", [1, {"type": "web_search"}, {"function": {"parameters": "y"}}]):
        assert plain_tools(tools, REFUSED) == tools


def test_a_schema_nested_to_exhaust_the_stack_does_not() -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"items": schema, "$schema": "s"}
    assert "$schema" not in plain_tools([tool(schema)], REFUSED)[0]["function"]["parameters"]


def test_the_provider_that_refuses_them_is_not_sent_them() -> None:
    [target, *_] = catalog.targets({"cohere": catalog.load()["cohere"]}, {"COHERE_API_KEY": "k"})
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    body = {"messages": [{"role": "user", "content": "hi"}], "tools": [tool(schema)]}
    request = parse_chat(msgspec.json.encode(body), trace=Trace())
    sent = msgspec.json.decode(OpenAI().encode(request, target))
    assert sent["tools"] == [tool({"type": "object", "properties": {"a": {"type": "string"}}})]
