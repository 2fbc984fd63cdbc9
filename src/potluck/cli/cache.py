"""`potluck cache`: what is stored, and dropping it by hand. A gateway that runs hears of it within a second."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from potluck.cli import options

cache = typer.Typer(no_args_is_help=True, help="Look at the stored answers, or drop them.")


@cache.command()
def stats(json: options.Json = False, config: options.Config = None) -> None:
    """Show how many answers are stored, how large they are, and how often they were given."""
    from potluck.app import caching
    from potluck.cli.show import amount, console, emit, escape, note, table

    found = caching.look(options.settings(config))
    if json:
        emit([found])
        return
    if not found.entries and not found.counts:
        note(
            "Nothing is stored yet. The cache works for profiles that name it: "
            '[bold]stages = \\["cache"][/] in potluck.toml.'
        )
        return
    shown = table("Answered by!", "Stored")
    for target, count in found.models.items():
        shown.add_row(escape(target or "a stage"), amount(count))
    console().print(shown)
    days = (time.time() - found.oldest) / 86_400 if found.oldest else 0.0
    asked = ", ".join(f"{name} {amount(count)}" for name, count in found.counts.items())
    note(f"{amount(found.entries)} answers, {found.bytes / 1e6:.1f} MB, the oldest {days:.1f} days. {asked}")


@cache.command()
def clear(
    tag: Annotated[str | None, typer.Option("--tag", help="Only those stored with this tag.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Only those of this model, profile or target.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Only older ones: 12h, 7d, or seconds.")
    ] = None,
    config: options.Config = None,
) -> None:
    """Drop stored answers: all of them, or those that everything said is true of."""
    from potluck.app import caching
    from potluck.cli.show import note
    from potluck.durations import duration
    from potluck.errors import Invalid
    from potluck.store.answers import Which

    before = None
    if older_than is not None:
        seconds = duration(older_than)
        if seconds is None:
            raise Invalid(f"--older-than {older_than!r} is no duration such as 12h, 7d or 3600.")
        before = time.time() - seconds
    gone = caching.clear(options.settings(config), Which(tag=tag, model=model, before=before))
    note(f"{gone} stored answers were dropped.")
