"""litellm as a client: OpenAI's and Anthropic's formats, streams, a tool's round trip, and its errors."""

from __future__ import annotations

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for prices

import litellm
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

SCHEMA = {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]}
TOOLS = [{"type": "function", "function": {"name": "look_up", "description": "A dish", "parameters": SCHEMA}}]
HELLO = [{"role": "user", "content": ASK}]


def ask(model: str = f"openai/{MODEL}", key: str = KEY, **fields: object) -> object:
    base = URL if model.startswith("anthropic/") else f"{URL}/v1"
    asked = {"messages": HELLO, "api_base": base, "api_key": key, "max_retries": 0, **fields}
    return litellm.completion(model=model, **asked)


def tools() -> str:
    messages = [{"role": "user", "content": USE_TOOL}]
    first = ask(messages=messages, tools=TOOLS).choices[0].message
    call = first.tool_calls[0]
    result = look_up(**json.loads(call.function.arguments))
    turns = [*messages, first.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": result}]
    return used(ask(messages=turns, tools=TOOLS).choices[0].message.content)


check("chat", lambda: text(ask().choices[0].message.content))
check("chat", lambda: text(ask(f"anthropic/{MODEL}", max_tokens=100).choices[0].message.content))
check("stream", lambda: streamed([part.choices[0].delta.content for part in ask(stream=True)]))
check("tools", tools)
check("error", lambda: readable(lambda: ask("openai/no-such-model"), *UNKNOWN))
check("error", lambda: readable(lambda: ask(key=WRONG), *BAD_KEY))
