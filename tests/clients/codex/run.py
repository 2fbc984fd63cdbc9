"""Codex without a terminal: an answer (always streamed), a command it runs, and its errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import commands
from telling import ASK, KEY, MODEL, UNKNOWN, URL, WRONG, check, text, used

commands.prepare()
folder = Path.home() / "codex"
folder.mkdir()
os.environ["CODEX_HOME"] = str(folder)
(folder / "config.toml").write_text(
    f"""
model = "{MODEL}"
model_provider = "potluck"

[model_providers.potluck]
name = "Potluck"
base_url = "{URL}/v1"
wire_api = "responses"
env_key = "POTLUCK_KEY"
request_max_retries = 0
stream_max_retries = 0
"""
)


def codex(prompt: str, *flags: str, model: str = MODEL, key: str = KEY) -> object:
    # No sandbox: it needs rights that a container has not, and the only command is `cat`.
    always = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    return commands.run(["codex", "exec", *always, "-m", model, *flags, prompt], POTLUCK_KEY=key)


def items(prompt: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in commands.shown(codex(prompt, "--json")).splitlines()]
    return [line["item"] for line in lines if line["type"] == "item.completed"]


def said(prompt: str) -> str:
    return str([item["text"] for item in items(prompt) if item["type"] == "agent_message"][-1])


check("chat", lambda: text(commands.shown(codex(ASK))))
check("stream", lambda: text(said(ASK)))
check("tools", lambda: used(said("Please use tool exec_command now")))
check("error", lambda: commands.complaint(codex(ASK, model="no-such-model"), *UNKNOWN))
check("error", lambda: commands.complaint(codex(ASK, key=WRONG), "key"))
