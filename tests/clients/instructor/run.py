"""instructor: objects from tool calls and from JSON, partial ones from a stream, and its errors."""

from __future__ import annotations

import instructor
from openai import OpenAI
from pydantic import BaseModel
from telling import ASK, BAD_KEY, KEY, MODEL, UNKNOWN, URL, WRONG, check, readable

HELLO = [{"role": "user", "content": ASK}]


class Dish(BaseModel):
    name: str
    guests: int


def client(key: str = KEY, mode: instructor.Mode = instructor.Mode.TOOLS) -> instructor.Instructor:
    return instructor.from_openai(OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0), mode=mode)


def ask(model: str = MODEL, key: str = KEY, mode: instructor.Mode = instructor.Mode.TOOLS) -> str:
    asked = {"model": model, "messages": HELLO, "max_retries": 0}
    found = client(key, mode).chat.completions.create(response_model=Dish, **asked)
    assert (found.name, found.guests) == ("pot", 1)
    return str(found)


def stream() -> str:
    found = list(client().chat.completions.create_partial(model=MODEL, messages=HELLO, response_model=Dish))
    assert found[-1].name == "pot"
    assert len(found) > 1
    return f"{len(found)} states, the last {found[-1]}"


check("chat", lambda: ask(mode=instructor.Mode.JSON_SCHEMA))
check("stream", stream)
check("tools", ask)
check("error", lambda: readable(lambda: ask(model="no-such-model"), *UNKNOWN))
check("error", lambda: readable(lambda: ask(key=WRONG), *BAD_KEY))
