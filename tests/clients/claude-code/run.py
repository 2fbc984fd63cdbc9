"""Claude Code without a terminal: an answer, the events of a stream, a command it runs, and its errors."""

from __future__ import annotations

import json

import commands
from telling import ASK, KEY, MODEL, UNKNOWN, URL, WRONG, check, streamed, text, used

commands.prepare()


def claude(prompt: str, *flags: str, model: str = MODEL, key: str = KEY) -> object:
    told = {"ANTHROPIC_BASE_URL": URL, "ANTHROPIC_AUTH_TOKEN": key, "ANTHROPIC_MODEL": model}
    told |= {"ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    told |= {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8000", "DISABLE_AUTOUPDATER": "1"}
    told |= {"CLAUDE_CODE_MAX_RETRIES": "1"}  # else it asks for minutes before it shows an error
    return commands.run(["claude", "-p", prompt, *flags], **told)


def stream() -> str:
    flags = ("--output-format", "stream-json", "--include-partial-messages", "--verbose", "--tools", "")
    lines = [json.loads(line) for line in commands.shown(claude(ASK, *flags)).splitlines()]
    events = [line["event"] for line in lines if line["type"] == "stream_event"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return streamed([delta.get("text", "") for delta in deltas])


def tools() -> str:
    return used(
        commands.shown(claude("Please use tool Bash now", "--tools", "Bash", "--allowedTools", "Bash"))
    )


check("chat", lambda: text(commands.shown(claude(ASK, "--tools", "", "--system-prompt", "Be brief"))))
check("stream", stream)
check("tools", tools)
check("error", lambda: commands.complaint(claude(ASK, "--tools", "", model="no-such-model"), *UNKNOWN))
check("error", lambda: commands.complaint(claude(ASK, "--tools", "", key=WRONG), "key"))
