"""llama-index (OpenAILike): a chat, a stream, a function called by it, and its errors."""

from __future__ import annotations

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from telling import (
    ASK,
    BAD_KEY,
    DISH,
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
)

HELLO = [ChatMessage(role="user", content=ASK)]


def llm(model: str = MODEL, key: str = KEY) -> OpenAILike:
    kinds = {"is_chat_model": True, "is_function_calling_model": True}
    return OpenAILike(model=model, api_base=f"{URL}/v1", api_key=key, max_retries=0, **kinds)


def tools() -> str:
    found = llm().predict_and_call([FunctionTool.from_defaults(look_up)], USE_TOOL)
    assert DISH in str(found), str(found)
    return str(found)


check("chat", lambda: text(llm().chat(HELLO).message.content))
check("stream", lambda: streamed([part.delta for part in llm().stream_chat(HELLO)]))
check("tools", tools)
check("error", lambda: readable(lambda: llm("no-such-model").chat(HELLO), *UNKNOWN))
check("error", lambda: readable(lambda: llm(key=WRONG).chat(HELLO), *BAD_KEY))
