"""opencode without a terminal: an answer (always streamed), a command it runs, and its errors."""

from __future__ import annotations

import json

import commands
from telling import ASK, KEY, MODEL, UNKNOWN, URL, WRONG, check, text, used

commands.prepare()


def opencode(prompt: str, *flags: str, model: str = MODEL, key: str = KEY) -> object:
    options = {"baseURL": f"{URL}/v1", "apiKey": key}
    models = {name: {"name": name, "tool_call": True} for name in (MODEL, "no-such-model")}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Potluck", "options": options, "models": models}
    config = {
        "provider": {"potluck": provider},
        "autoupdate": False,
        "share": "disabled",
        "permission": "allow",
    }
    config |= {"small_model": f"potluck/{MODEL}"}
    (commands.FOLDER / "opencode.json").write_text(json.dumps(config))
    more = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    return commands.run(["opencode", "run", "-m", f"potluck/{model}", *flags, prompt], **more)


def said(prompt: str) -> str:
    lines = [json.loads(line) for line in commands.shown(opencode(prompt, "--format", "json")).splitlines()]
    return str([line["part"]["text"] for line in lines if line["type"] == "text"][-1])


check("chat", lambda: text(commands.shown(opencode(ASK))))
check("stream", lambda: text(said(ASK)))
check("tools", lambda: used(said("Please use tool bash now")))
check("error", lambda: commands.complaint(opencode(ASK, model="no-such-model"), *UNKNOWN))
check("error", lambda: commands.complaint(opencode(ASK, key=WRONG), "key"))
