"""langchain-openai: its standard integration tests, and what its errors look like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from langchain_openai import ChatOpenAI
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
    tell,
    text,
    used,
)


def llm(model: str = MODEL, key: str = KEY) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=key, max_retries=0)


def tools() -> str:
    bound = llm().bind_tools([look_up])
    first = bound.invoke(USE_TOOL)
    call = first.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call["id"], "content": look_up(**call["args"])}
    return used(bound.invoke([{"role": "user", "content": USE_TOOL}, first, result]).content)


# These two need a model that understands: one calls a tool it was not told to, one repeats a name it was told.
BEYOND = "not (test_agent_loop or test_unicode_tool_call_integration)"


def standard() -> None:
    place = Path(__file__).with_name("standard_cases.py")
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        *("-c", os.devnull, "-k", BEYOND),
        *("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session"),  # it keeps connections
        "--rootdir",
        str(Path.home()),
        str(place),
    ]
    done = subprocess.run([*argv, "--tb=line", "-rfE"], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    tell("standard", done.returncode == 0, " | ".join([last, *lines]))


check("chat", lambda: text(llm().invoke(ASK).content))
check("stream", lambda: streamed([part.content for part in llm().stream(ASK)]))
check("tools", tools)
check("error", lambda: readable(lambda: llm("no-such-model").invoke(ASK), *UNKNOWN))
check("error", lambda: readable(lambda: llm(key=WRONG).invoke(ASK), *BAD_KEY))
standard()
