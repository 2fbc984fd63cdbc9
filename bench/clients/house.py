"""`python -m bench.clients.house FOLDER`: one gateway for the clients to talk to, in a process of its own.

Prints {"url", "key"} when it listens and runs until it is terminated. Everything is Potluck's own but the providers,
which are pretend: without limits, they call a tool when asked to ("use tool NAME"), and say what it answered.
With `--open` there is no client key, for tests that bring a fixed one of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any

from potluck import sim
from potluck.app.compose import Gateway
from potluck.app.run import bind, serve_on
from potluck.config import Local, Profile, Provider, Settings
from potluck.sim.answers import last, sample, text_of, words
from potluck.store import keys

# What each client's tool is called with; a tool that is not here gets a sample of its schema.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "Bash": {"command": "cat dish.txt", "description": "Show the dish"},
    "bash": {"command": "cat dish.txt", "description": "Show the dish"},
    "exec_command": {"cmd": "cat dish.txt"},
    "shell": {"command": ["cat", "dish.txt"]},
    "shell_command": {"command": "cat dish.txt"},
    "magic_function": {"input": 3},
    "look_up": {"dish": "soup"},
}
# Names that the tests of openai-python ask for: an alias, as anybody may make one.
ALIASES = ("gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small")


def say(body: Any) -> str:
    """The answer of the pretend model; after a tool it repeats what the tool answered, so that this can be seen."""
    messages, form = body["messages"], body.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = form["json_schema"].get("schema", {})
        return json.dumps(sample(schema, schema))
    if form.get("type") == "json_object":
        return json.dumps({"setup": "Why soup?", "punchline": "It is Tuesday."})
    told = text_of(last(messages).get("content"))
    if last(messages).get("role") == "tool":
        return f"The tool said: {told[:300]}"
    return " ".join(words(told, 12))


async def main(folder: Path, *, locked: bool) -> None:
    options = sim.Options(unlimited=True, answer=say, arguments=ARGUMENTS)
    async with sim.serve({"groq": options, "mistral": options}) as world:
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        gateway = gateway_for(world, folder, port)
        key = new_key(gateway) if locked else "none"
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        serving = asyncio.create_task(serve_on(gateway, listener, stop))
        print(json.dumps({"url": f"http://127.0.0.1:{port}", "key": key}), flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        listener.close()


def gateway_for(world: sim.World, folder: Path, port: int) -> Gateway:
    told = sim.environment(world)
    settings = Settings(
        data_dir=str(folder),
        port=port,
        local=Local(enabled=False, discover=False),
        providers={
            name: Provider(base_url=each["base_url"], key_env=each["key_env"]) for name, each in told.items()
        },
        profiles={name: Profile() for name in ALIASES},
        log_level="warning",
    )
    return Gateway(settings, {each["key_env"]: each["key"] for each in told.values()})


def new_key(gateway: Gateway) -> str:
    connection = gateway.database.connect()
    _, text = keys.create(connection, "clients", keys.Limits(), now=0.0)
    connection.close()
    gateway.keyring.refresh()
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--open", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(given.folder, locked=not given.open))
