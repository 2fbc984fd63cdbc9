"""llm: a model of its configuration file that answers, streams, calls a function, and its errors."""

from __future__ import annotations

import os
from pathlib import Path

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

folder = Path.home() / "llm"
folder.mkdir()
os.environ["LLM_USER_PATH"] = str(folder)
ROW = "- model_id: {id}\n  model_name: {name}\n  api_base: {url}/v1\n  api_key_name: potluck\n  supports_tools: true\n"
rows = [
    ROW.format(id=id, name=name, url=URL) for id, name in (("potluck", MODEL), ("missing", "no-such-model"))
]
(folder / "extra-openai-models.yaml").write_text("".join(rows))

import llm  # noqa: E402 it reads the folder when it is imported

model, missing = llm.get_model("potluck"), llm.get_model("missing")

check("chat", lambda: text(model.prompt(ASK, key=KEY, stream=False).text()))
check("stream", lambda: streamed(list(model.prompt(ASK, key=KEY, stream=True))))
check("tools", lambda: used(model.chain(USE_TOOL, tools=[look_up], key=KEY).text()))
check("error", lambda: readable(lambda: missing.prompt(ASK, key=KEY).text(), *UNKNOWN))
check("error", lambda: readable(lambda: model.prompt(ASK, key=WRONG).text(), *BAD_KEY))
