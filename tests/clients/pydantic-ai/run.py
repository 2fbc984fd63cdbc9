"""pydantic-ai: an agent that answers, streams, calls a function, returns an object, and its errors."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
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


class Dish(BaseModel):
    name: str
    guests: int


def agent(model: str = MODEL, key: str = KEY, **how: object) -> Agent:
    return Agent(OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=key)), **how)


async def stream() -> str:
    async with agent().run_stream(ASK) as run:
        return streamed([part async for part in run.stream_text(delta=True, debounce_by=None)])


def parsed() -> str:
    found = agent(output_type=Dish).run_sync(ASK).output
    assert (found.name, found.guests) == ("pot", 1)
    return str(found)


check("chat", lambda: text(agent().run_sync(ASK).output))
check("stream", lambda: asyncio.run(stream()))
check("tools", lambda: used(agent(tools=[look_up]).run_sync(USE_TOOL).output))
check("parsed", parsed)
check("error", lambda: readable(lambda: agent("no-such-model").run_sync(ASK), *UNKNOWN))
check("error", lambda: readable(lambda: agent(key=WRONG).run_sync(ASK), *BAD_KEY))
