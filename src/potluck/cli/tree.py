"""The tree of commands, and what belongs to none of them: `--version`, help, shell completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from potluck import __version__
from potluck.cli.ask import ask, chat
from potluck.cli.batches import batches
from potluck.cli.cache import cache
from potluck.cli.doctor import doctor
from potluck.cli.init import init
from potluck.cli.keys import keys
from potluck.cli.log import log
from potluck.cli.models import models
from potluck.cli.providers import providers
from potluck.cli.quota import quota
from potluck.cli.savings import savings
from potluck.cli.serve import serve
from potluck.cli.simulate import simulate

root = typer.Typer(
    name="potluck",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # `main` turns errors into sentences
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"potluck {__version__}")
        raise typer.Exit


@root.callback()
def potluck(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Which version this is.")
    ] = False,
) -> None:
    """One endpoint over every free LLM tier you have a key for, and a model on this machine when you have none.

    Start with [bold]potluck serve[/]; in a second terminal, [bold]potluck ask "hello"[/].
    """


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run": (serve, init),
    "Use": (ask, chat),
    "Look": (providers, quota, savings, simulate, log, doctor),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        root.command(rich_help_panel=_panel)(_command)
root.add_typer(batches, name="batches", rich_help_panel="Use")
root.add_typer(keys, name="keys", rich_help_panel="Run")
root.add_typer(models, name="models", rich_help_panel="Run")
root.add_typer(cache, name="cache", rich_help_panel="Run")
