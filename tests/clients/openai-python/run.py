"""openai for Python: chats, streams, tools, parsed output, responses, embeddings, models, and its errors."""

from __future__ import annotations

import json

from openai import AuthenticationError, NotFoundError, OpenAI
from pydantic import BaseModel
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

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
SCHEMA = {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]}
TOOLS = [{"type": "function", "function": {"name": "look_up", "description": "A dish", "parameters": SCHEMA}}]
HELLO = [{"role": "user", "content": ASK}]


class Dish(BaseModel):
    name: str
    guests: int


def chat() -> str:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.usage.completion_tokens > 0
    assert answer.choices[0].finish_reason == "stop"
    return text(answer.choices[0].message.content)


def stream() -> str:
    parts, usage = [], None
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options=options
    ):
        parts += [choice.delta.content for choice in chunk.choices]
        usage = chunk.usage or usage
    assert usage.total_tokens > 0
    return streamed(parts)


def tools() -> str:
    messages = [{"role": "user", "content": USE_TOOL}]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0]
    assert first.finish_reason == "tool_calls"
    call = first.message.tool_calls[0]
    result = look_up(**json.loads(call.function.arguments))
    messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    return used(
        client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0].message.content
    )


def streamed_tools() -> str:
    messages = [{"role": "user", "content": USE_TOOL}]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS) as events:
        final = events.get_final_completion()
    call = final.choices[0].message.tool_calls[0].function
    return used(look_up(**json.loads(call.arguments)))


def parsed() -> str:
    found = (
        client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Dish)
        .choices[0]
        .message.parsed
    )
    assert isinstance(found, Dish)
    return str(found)


def responses() -> str:
    answer = client.responses.create(model=MODEL, input=ASK)
    again = client.responses.create(model=MODEL, input="And more?", previous_response_id=answer.id)
    with client.responses.stream(model=MODEL, input=ASK) as events:
        parts = [event.delta for event in events if event.type == "response.output_text.delta"]
    streamed(parts)
    assert client.responses.retrieve(answer.id).output_text == answer.output_text
    return text(again.output_text)


def embeddings() -> str:
    found = client.embeddings.create(model=MODEL, input=["soup", "bread"])
    assert len(found.data) == 2
    return f"{len(found.data[0].embedding)} numbers"


def batches() -> str:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    line["body"] = {"model": MODEL, "messages": HELLO}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    assert json.loads(client.files.content(file.id).text) == line
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert client.batches.retrieve(batch.id).request_counts.total in (0, 1)
    assert batch.id in [each.id for each in client.batches.list()]
    return f"{batch.id} {client.batches.cancel(batch.id).status}"


def ask(model: str = MODEL, key: str = KEY) -> object:
    return client.with_options(api_key=key).chat.completions.create(model=model, messages=HELLO)


check("chat", chat)
check("stream", stream)
check("tools", tools)
check("tools", streamed_tools)
check("parsed", parsed)
check("responses", responses)
check("embeddings", embeddings)
check("batches", batches)
check("models", lambda: f"{len(list(client.models.list()))} models, {client.models.retrieve(MODEL).id}")
check("error", lambda: readable(lambda: ask(model="no-such-model"), *UNKNOWN, kind=NotFoundError))
check("error", lambda: readable(lambda: ask(key=WRONG), *BAD_KEY, kind=AuthenticationError))
