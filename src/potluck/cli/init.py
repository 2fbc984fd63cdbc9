"""`potluck init`: writes the commented configuration file, and never over one that is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from potluck.cli import options
from potluck.errors import ConfigError


def init(
    path: Annotated[
        Path | None, typer.Argument(help="Where to write it instead; a directory gets a potluck.toml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file that is there.")] = False,
) -> None:
    """Write a commented potluck.toml with every setting at its default, where every command reads it."""
    from potluck import config
    from potluck.cli.show import escape, note

    mine = options.user_file()
    target = mine if path is None else path / options.FILE if path.is_dir() else path
    if path is None:
        mine.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(target, config.template(), force=force)
    note(f"Wrote [bold]{escape(str(target))}[/]: every setting, at its default. Change what you like.")
    if target.resolve() != mine.resolve():
        note(f"[dim]Commands read it with --config {escape(str(target))}, or POTLUCK_CONFIG.[/]")


def write(target: Path, text: str, *, force: bool) -> None:
    """The whole file or nothing, also when the machine stops in the middle. Raises ConfigError if it exists."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp gives 0600; there is no secret in it
        if force:
            os.replace(name, target)
        else:
            os.link(name, target)  # unlike a rename, this fails when the name is taken
    except FileExistsError:
        raise ConfigError(f"{target} exists and was left as it is. Use --force to replace it.") from None
    finally:
        Path(name).unlink(missing_ok=True)
