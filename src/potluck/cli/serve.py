"""`potluck serve`: starts the gateway; on a terminal it says what is open, and with --demo it asks itself a question.

Rules: this process becomes the gateway, so it imports nothing it would not need anyway before it serves; what it
tells people it works out in a thread, after the port is open.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.cli.running import Running
    from potluck.config import Settings

QUESTION = "Say hello to someone who has just started you, in two short sentences."
PATIENCE = 120.0  # seconds to become ready; a small machine loads the local model slowly
LOOK_EVERY = 0.2
SHOWN = 3  # names of providers one key away: the line fits 80 columns


def serve(
    host: Annotated[
        str | None, typer.Option(help="Where to listen; not on loopback, it needs client keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes; they share one ledger.")
    ] = None,
    sim: Annotated[
        bool, typer.Option("--sim", help="Pretend providers on loopback, to play without keys.")
    ] = False,
    local: Annotated[bool, typer.Option("--local/--no-local", help="The models on this machine.")] = True,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Ask one question when ready.")] = False,
    config: options.Config = None,
) -> None:
    """Start the gateway. Ctrl-C ends it."""
    from potluck import app

    settings = with_options(options.settings(config), host, port, workers, sim=sim, local=local)
    talk = demo or sys.stderr.isatty()
    if talk:
        _fetch_model(settings)
    raise typer.Exit(
        app.serve(settings, os.environ, on_ready=_greeter(settings, config, demo) if talk else None)
    )


def with_options(
    settings: Settings, host: str | None, port: int | None, workers: int | None, *, sim: bool, local: bool
) -> Settings:
    """The settings with what the command line says on top."""
    import msgspec

    said = {"host": host, "port": port, "workers": workers, "sim": sim or None}
    changed = msgspec.structs.replace(settings, **{k: v for k, v in said.items() if v is not None})
    if local:
        return changed
    off = msgspec.structs.replace(settings.local, enabled=False, discover=False)
    return msgspec.structs.replace(changed, local=off)


def _fetch_model(settings: Settings) -> None:
    """Weights that are not here yet are fetched where a bar can be seen. Failing is no reason not to serve."""
    import asyncio

    from potluck.cli.models import progress
    from potluck.cli.show import escape, note
    from potluck.errors import ConfigError
    from potluck.local.availability import unavailable
    from potluck.local.registry import Models

    models = Models(settings.home)
    if not settings.local.enabled or settings.local.model or unavailable() or models.current().path:
        return
    try:
        with progress("Fetching the local model") as report:
            asyncio.run(models.ready(report))
    except ConfigError as error:
        note(f"[yellow]Going on without the local model.[/] {escape(str(error))}")


def _greeter(settings: Settings, config: object, demo: bool) -> Callable[[str], None]:
    def greet(url: str) -> None:
        from potluck.cli.running import Running
        from potluck.cli.show import escape, note, problem
        from potluck.errors import PotluckError

        try:
            running = Running(url, options.client_key())
            note(f"\n[bold]Potluck[/] listens at [bold cyan]{escape(url)}[/]   [dim]Ctrl-C ends it[/]")
            _say_what_is_open(settings)
            why = wait_until_ready(running)
            if why:
                problem(f"Nothing can be served yet: {why}.")
            elif demo:
                _demo(running)
        except PotluckError as error:  # the gateway goes on; this was only talk
            problem(str(error))

    return greet


def wait_until_ready(running: Running, *, patience: float = PATIENCE) -> str:
    """Ask until the gateway says it is ready. Why it is not, when patience (seconds) ends; else ""."""
    from potluck.errors import PotluckError

    why, until = "", time.monotonic() + patience
    while time.monotonic() < until:
        try:
            if running.get("/ready").get("status") == "ready":
                return ""
        except PotluckError as error:
            why = str(error)
        time.sleep(LOOK_EVERY)
    return why or "it did not say why"


def _say_what_is_open(settings: Settings) -> None:
    from potluck import app
    from potluck.cli.show import note
    from potluck.cli.standing import standings

    inventory = app.inventory(settings, os.environ)
    found = standings(inventory.providers, inventory.targets, settings, os.environ)
    opened = [f"{one.provider.id} ({one.models})" for one in found if one.state == "open"]
    away = [one.provider.id for one in found if one.state == "one_key_away"]
    if opened or not settings.sim:
        note(f"  [green]open[/]          {', '.join(opened) or 'no provider: no key is set'}")
    if away:
        few = ", ".join(away[:SHOWN]) + (f" and {len(away) - SHOWN} more" if len(away) > SHOWN else "")
        note(f"  [cyan]one key away[/]  {few} [dim](potluck providers)[/]")
    if settings.sim:
        note("  [yellow]pretend[/]       providers on loopback; nothing they say is real")
    if settings.local.enabled:
        note("  [green]this machine[/]  the local model is loading")


def _demo(running: Running) -> None:
    from potluck.cli.ask import say
    from potluck.cli.running import Refused
    from potluck.cli.show import note

    snippet = f"""
  [dim]from openai import OpenAI
  client = OpenAI(base_url="{running.url}/v1", api_key="none")
  hello = [{{"role": "user", "content": "Hello"}}]
  client.chat.completions.create(model="auto", messages=hello)[/]
"""
    note(snippet.replace("[{", "\\[{"))
    note(f"[bold]›[/] {QUESTION}")
    try:
        say(
            running, {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 120}
        )
    except Refused as refused:
        if refused.status != 401:
            raise
        note("[dim]This gateway wants a client key; set POTLUCK_KEY to see it answer.[/]")
    note('\n[dim]Ask it yourself, in another terminal: potluck ask "…"   or talk to it: potluck chat[/]')
