"""google-genai: content whole and streamed, a function called by the SDK itself, tokens, vectors, and its errors."""

from __future__ import annotations

from google import genai
from google.genai import errors, types
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


def client(key: str = KEY) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=URL))


one = client()


def tools() -> str:
    config = types.GenerateContentConfig(tools=[look_up])
    return used(one.models.generate_content(model=MODEL, contents=USE_TOOL, config=config).text)


def parsed() -> str:
    schema = {"type": "OBJECT", "properties": {"name": {"type": "STRING"}}, "required": ["name"]}
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=schema)
    found = one.models.generate_content(model=MODEL, contents=ASK, config=config).parsed
    assert found["name"]
    return str(found)


def ask(model: str = MODEL, key: str = KEY) -> object:
    with client(key) as asking:
        return asking.models.generate_content(model=model, contents=ASK)


check("chat", lambda: text(one.models.generate_content(model=MODEL, contents=ASK).text))
check(
    "stream",
    lambda: streamed([part.text for part in one.models.generate_content_stream(model=MODEL, contents=ASK)]),
)
check("tools", tools)
check("parsed", parsed)
check("count_tokens", lambda: f"{one.models.count_tokens(model=MODEL, contents=ASK).total_tokens} tokens")
check(
    "embed",
    lambda: f"{len(one.models.embed_content(model=MODEL, contents=ASK).embeddings[0].values)} numbers",
)
check("models", lambda: f"{len(list(one.models.list()))} models")
check("error", lambda: readable(lambda: ask(model="no-such-model"), *UNKNOWN, kind=errors.ClientError))
check("error", lambda: readable(lambda: ask(key=WRONG), *BAD_KEY, kind=errors.ClientError))
