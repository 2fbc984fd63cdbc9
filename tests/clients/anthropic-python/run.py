"""anthropic for Python: messages whole and streamed, a tool's round trip, counting tokens, models, and its errors."""

from __future__ import annotations

from anthropic import Anthropic, AuthenticationError, NotFoundError
from telling import (
    ASK,
    BAD_KEY,
    KEY,
    MODEL,
    UNKNOWN,
    URL,
    USE_TOOL,
    WRONG,
    check,
    look_up,
    readable,
    streamed,
    text,
    used,
)

client = Anthropic(base_url=URL, api_key=KEY, max_retries=0)
SCHEMA = {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]}
TOOLS = [{"name": "look_up", "description": "A dish", "input_schema": SCHEMA}]
HELLO = [{"role": "user", "content": ASK}]
ASKED = {"model": MODEL, "max_tokens": 200, "messages": HELLO}


def chat() -> str:
    answer = client.messages.create(**ASKED, system="Be brief.")
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0
    return text(answer.content[0].text)


def stream() -> str:
    with client.messages.stream(**ASKED) as events:
        parts = list(events.text_stream)
        assert events.get_final_message().stop_reason == "end_turn"
    return streamed(parts)


def tools() -> str:
    messages = [{"role": "user", "content": USE_TOOL}]
    with client.messages.stream(model=MODEL, max_tokens=200, messages=messages, tools=TOOLS) as events:
        first = events.get_final_message()
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": look_up(**call.input)}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    return used(
        client.messages.create(model=MODEL, max_tokens=200, messages=messages, tools=TOOLS).content[0].text
    )


def counted() -> str:
    return f"{client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens} tokens"


def ask(model: str = MODEL, key: str = KEY) -> object:
    return client.with_options(api_key=key).messages.create(**ASKED | {"model": model})


check("chat", chat)
check("stream", stream)
check("tools", tools)
check("count_tokens", counted)
check("models", lambda: f"{len(list(client.models.list()))} models")
check("error", lambda: readable(lambda: ask(model="no-such-model"), *UNKNOWN, kind=NotFoundError))
check("error", lambda: readable(lambda: ask(key=WRONG), *BAD_KEY, kind=AuthenticationError))
