"""ollama for Python: chats, generates, streams, tools, embeddings, listing, and its errors."""

from __future__ import annotations

from ollama import Client, ResponseError
from telling import (
    ASK,
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

client = Client(host=URL, headers={"Authorization": f"Bearer {KEY}"})
stranger = Client(host=URL, headers={"Authorization": f"Bearer {WRONG}"})
HELLO = [{"role": "user", "content": ASK}]


def tools() -> str:
    messages = [{"role": "user", "content": USE_TOOL}]
    first = client.chat(model=MODEL, messages=messages, tools=[look_up]).message
    call = first.tool_calls[0].function
    result = {"role": "tool", "content": look_up(**call.arguments), "tool_name": call.name}
    return used(
        client.chat(model=MODEL, messages=[*messages, first, result], tools=[look_up]).message.content
    )


check("chat", lambda: text(client.chat(model=MODEL, messages=HELLO).message.content))
check("chat", lambda: text(client.generate(model=MODEL, prompt=ASK).response))
check("stream", lambda: streamed([part.message.content for part in client.chat(MODEL, HELLO, stream=True)]))
check("tools", tools)
check("embed", lambda: f"{len(client.embed(model=MODEL, input=['soup', 'bread']).embeddings)} vectors")
check("list", lambda: f"{len(client.list().models)} models")
check("show", lambda: f"{client.show(MODEL).capabilities}")
check("error", lambda: readable(lambda: client.chat("no-such-model", HELLO), *UNKNOWN, kind=ResponseError))
check("error", lambda: readable(lambda: stranger.chat(MODEL, HELLO), "key", kind=ResponseError))
