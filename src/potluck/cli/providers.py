"""`potluck providers`: what you have, what you could have, what each allows, what it does with your data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options
from potluck.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from potluck.cli.standing import Standing

HEADINGS = (
    ("open", "Open: you have what it takes"),
    ("kept_out", "You have a key, but it stays out"),
    ("one_key_away", "One free key away"),
    ("trial", "Free credit once, then paid"),
    ("local", "On this machine, when it runs"),
    ("closed", "Not with these settings"),
    ("paid", "Paid only"),
    ("retired", "Gone"),
)
ALWAYS = ("open", "kept_out", "one_key_away")


def providers(
    name: options.ProviderName = None,
    all: Annotated[
        bool, typer.Option("--all", "-a", help="Trials, paid ones and those that are gone, too.")
    ] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the providers: yours, and those one key away with where to sign up."""
    from potluck.cli import detail
    from potluck.cli.show import console, emit
    from potluck.cli.standing import plain

    found = look(config)
    if name is not None:
        chosen = pick(found, name)
        if json:
            emit(detail.plain(chosen))
        else:
            detail.render(console(), chosen)
    elif json:
        emit([plain(each) for each in found])
    else:
        _overview(console(), found, all)


def look(config: Any) -> list[Standing]:
    """Every provider as it stands. Raises ConfigError."""
    from potluck import app
    from potluck.cli.standing import standings

    settings = options.settings(config)
    inventory = app.inventory(settings, os.environ)
    return standings(inventory.providers, inventory.targets, settings, os.environ)


def pick(found: Sequence[Standing], name: str) -> Standing:
    """The provider of that id or name. Raises NotFound with the nearest ids."""
    import difflib

    wanted = name.lower()
    for each in found:
        if wanted in (each.provider.id, each.provider.name.lower()):
            return each
    near = difflib.get_close_matches(wanted, [each.provider.id for each in found], n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise NotFound(f"The catalog has no provider {name!r}.{hint} `potluck providers --all` lists them.")


def _overview(to: Console, found: Sequence[Standing], all: bool) -> None:
    from potluck.cli.show import note

    by_state: dict[str, list[Standing]] = {}
    for each in found:
        by_state.setdefault(each.state, []).append(each)
    if not by_state.get("open"):
        note(
            "[bold]No provider is open yet.[/] Set one of the keys below, and start `potluck serve` again.\n"
        )
    for state, heading in HEADINGS:
        group = by_state.get(state, [])
        if group and (all or state in ALWAYS):
            to.print(f"[bold]{heading}[/] [dim]({len(group)})[/]")
            to.print(_group(state, group))
            to.print()
    hidden = [f"{len(by_state[s])} {_SHORT[s]}" for s, _ in HEADINGS if s in by_state and s not in ALWAYS]
    if hidden and not all:
        note(f"[dim]Also known: {', '.join(hidden)} (--all).[/]")
    note("[dim]`potluck providers NAME` shows every number with its source.[/]")


_SHORT = {"trial": "with a trial", "local": "local servers", "closed": "closed by settings", "paid": "paid"}
_SHORT["retired"] = "gone"


def _group(state: str, group: Sequence[Standing]) -> Any:
    from potluck.cli.show import escape, table
    from potluck.cli.standing import allowance, data, needs

    if state in ("retired", "local", "closed", "kept_out"):
        shown = table("Provider!", "Why" if state != "local" else "Where")
        for each in group:
            where = each.provider.base_url if state == "local" else each.why
            shown.add_row(each.provider.id, escape(where))
        return shown
    if state == "open":
        shown = table("Provider!", "Allows", "Your data!", "Models>!")
        for each in group:
            provider = each.provider
            shown.add_row(provider.id, escape(allowance(provider)), data(provider), str(each.models))
        return shown
    # Lines below each other, not columns: an address that is cut off cannot be visited.
    shown = table("Provider!", "Allows · what it does with your data · where to get the key")
    for each in group:
        provider = each.provider
        names = " and ".join((*provider.env, *provider.key_env[:1]))
        shown.add_row(
            provider.id,
            f"{escape(allowance(provider))}\n"
            f"{data(provider)} [dim]· asks for {needs(provider)} ·[/] {escape(names)}\n"
            f"[dim]{escape(provider.signup)}[/]",
        )
    return shown
