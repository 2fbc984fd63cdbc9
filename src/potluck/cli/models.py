"""`potluck models`: the weights on this machine, and the model servers that run here.

Rules: what is fetched is checked against its hash, and the hub's models need one from the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.config import Settings
    from potluck.local.discovery import Discovered
    from potluck.local.registry import Models

models = typer.Typer(no_args_is_help=True, help="Models on this machine: list, fetch, choose.")


def _names(incomplete: str) -> list[str]:
    known = [line.model.name for line in _registry(options.settings(None)).list()]
    return [name for name in known if name.startswith(incomplete)]


@models.command("list")
def list_models(json: options.Json = False, config: options.Config = None) -> None:
    """Show the models on this disk, and those of servers found on loopback."""
    import msgspec

    from potluck.cli.show import console, emit, note

    settings = options.settings(config)
    lines = _registry(settings).list()
    servers = asyncio.run(_servers(settings))
    if json:
        emit({"embedded": msgspec.to_builtins(lines), "servers": msgspec.to_builtins(servers)})
        return
    console().print(_embedded(lines))
    if servers:
        console().print()
        console().print(_found(servers))
    else:
        note("[dim]No other model server answers on this machine.[/]")


@models.command("pull")
def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="The built-in model's name, or org/repo/file.gguf on the hub.", autocompletion=_names
        ),
    ] = "",
    sha256: Annotated[
        str, typer.Option(help="What the file must be; the hub shows it on the file's page.")
    ] = "",
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Fetch a model. Without a name: the built-in one."""
    from potluck.cli.show import emit, escape, note, size

    registry = _registry(options.settings(config))
    wanted = name or registry.list()[0].model.name
    with progress(f"Fetching {wanted}") as report:
        model = asyncio.run(registry.pull(wanted, sha256, report))
    if use:
        model = registry.use(model.name)
    if json:
        emit(model)
    else:
        note(f"[bold]{escape(model.name)}[/] is here: {escape(model.path)} ({size(model.size)}).")


@models.command("use")
def use(
    what: Annotated[
        str,
        typer.Argument(metavar="NAME|PATH", help="A model of `list`, or a GGUF file.", autocompletion=_names),
    ],
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Choose the embedded model: one that is here, or a GGUF file of your own."""
    from potluck.cli.show import emit, escape, note

    settings = options.settings(config)
    model = _registry(settings).use(what)
    if json:
        emit(model)
        return
    note(f"The embedded model is [bold]{escape(model.name)}[/] from the next start on.")
    if settings.local.model:
        note(f"[yellow]But potluck.toml says local.model = {escape(settings.local.model)}, and that wins.[/]")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for what takes long: gives the function that moves it, in bytes (done, all)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from potluck.cli.show import notes

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _registry(settings: Settings) -> Models:
    from potluck.local.registry import Models

    return Models(settings.home)


async def _servers(settings: Settings) -> dict[str, list[Discovered]]:
    """The model servers of the catalog that answer on this machine."""
    from potluck import catalog
    from potluck.local.discovery import discover

    known = catalog.load(catalog.SHIPPED, *settings.provider_directories).values()
    places = []
    for provider in known:
        chosen = settings.providers.get(provider.id)
        if provider.local and (chosen is None or chosen.enabled):
            places.append((provider.id, (chosen.base_url if chosen else "") or provider.base_url))
    return await discover(places, ours=(settings.port,))


def _embedded(lines: Any) -> Any:
    from potluck.cli.show import amount, escape, size, table

    shown = table("", "Embedded model", "Size>!", "Context>!", "Tier!", "Where")
    for line in lines:
        model = line.model
        where = escape(_short(model.path)) if line.here else "[yellow]not here yet: potluck models pull[/]"
        shown.add_row(
            "[green]●[/]" if line.current else "",
            escape(model.name),
            size(model.size) if model.size else "",
            amount(model.context) if model.context else "?",
            "●" * model.quality + "[dim]" + "○" * (5 - model.quality) + "[/]",
            where,
        )
    return shown


def _found(servers: dict[str, list[Discovered]]) -> Any:
    from potluck.cli.show import amount, escape, table

    shown = table("Server!", "Model", "Context>!", "For!")
    for name, found in servers.items():
        for model in found:
            shown.add_row(
                name, escape(model.model), amount(model.context) if model.context else "?", model.kind
            )
    return shown


def _short(path: str) -> str:
    home = str(Path.home())
    return "~" + path.removeprefix(home) if path.startswith(home + "/") else path
