"""`potluck keys`: client keys, made, listed and revoked.

Rules: the text of a key is shown once, on stdout alone, so that `KEY=$(potluck keys create me)` works.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from potluck.store.database import Connection
    from potluck.store.keys import ClientKey, Limits

keys = typer.Typer(no_args_is_help=True, help="Client keys: who may use this gateway, and how much.")

_LABELS = (
    ("requests_per_minute", "requests/min"),
    ("requests_per_day", "requests/day"),
    ("tokens_per_minute", "tokens/min"),
    ("tokens_per_day", "tokens/day"),
    ("concurrency", "at once"),
)


class Priority(StrEnum):
    high = "high"
    normal = "normal"
    low = "low"


MICRO = 1_000_000  # micro-USD in a dollar


def _cap(text: str) -> Any:
    return typer.Option(min=0, metavar="N", help=text + "; 0 = no limit.")


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is: a person, a program.")],
    requests_per_minute: Annotated[int, _cap("Requests in any 60 seconds")] = 0,
    requests_per_day: Annotated[int, _cap("Requests a day (UTC)")] = 0,
    tokens_per_minute: Annotated[int, _cap("Tokens in any 60 seconds")] = 0,
    tokens_per_day: Annotated[int, _cap("Tokens a day (UTC)")] = 0,
    concurrency: Annotated[int, _cap("Requests at the same time")] = 0,
    usd_per_day: Annotated[
        float, typer.Option(min=0, metavar="USD", help="Money a day on paid targets; 0 = no limit.")
    ] = 0.0,
    models: Annotated[
        str, typer.Option(metavar="GLOBS", help='Only these models: "auto*,llama-*". Empty = all.')
    ] = "",
    priority: Annotated[
        Priority, typer.Option(help="The highest it may ask for when requests wait for room.")
    ] = Priority.normal,
    admin: Annotated[
        bool, typer.Option("--admin", help="May read quotas, targets, requests, metrics.")
    ] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Make a client key. Its text is shown this once and stored nowhere."""
    from potluck.store import keys as store

    limits = store.Limits(
        requests_per_minute=requests_per_minute,
        requests_per_day=requests_per_day,
        tokens_per_minute=tokens_per_minute,
        tokens_per_day=tokens_per_day,
        concurrency=concurrency,
        usd_per_day=round(usd_per_day * MICRO),
        models=tuple(filter(None, (glob.strip() for glob in models.split(",")))),
        admin=admin,
        priority=priority.value,
    )
    with _connection(config) as connection:
        key, text = store.create(connection, name, limits, now=time.time())
    _show(key, text, json)


def _show(key: ClientKey, text: str, json: bool) -> None:
    from potluck.cli.show import emit, escape, note

    if json:
        emit({**_plain(key), "key": text})
        return
    name, allowed = escape(key.name), said(key.limits)
    note(f"The key of [bold]{name}[/]: {allowed}. It is shown [bold]this once[/]; keep it.")
    print(text)
    note('[dim]Clients send it as "Authorization: Bearer …"; `ask` and `chat` take it from POTLUCK_KEY.[/]')


@keys.command("list")
def list_keys(
    all: Annotated[bool, typer.Option("--all", help="Revoked keys too.")] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the client keys that work, and what each may use."""
    from potluck.cli.show import console, days, emit, escape, note, table
    from potluck.store import keys as store

    with _connection(config) as connection:
        ever = store.list_keys(connection)
    found = [key for key in ever if all or not key.revoked_at]
    if json:
        emit([_plain(key) for key in found])
        return
    if not found:
        note(
            "No client key works: whoever holds one is refused. `potluck keys create NAME` makes one."
            if ever
            else "There are no client keys: on this machine everyone may use the gateway, from elsewhere nobody. "
            "`potluck keys create NAME` makes one."
        )
        return
    shown = table("Name", "Id!", "Starts with!", "Made!", "May use")
    now = time.time()
    for key in found:
        state = (
            f"[red]revoked {days(int((now - key.revoked_at) // 86400))}[/]"
            if key.revoked_at
            else said(key.limits)
        )
        made = days(max(0, int((now - key.created_at) // 86400)))
        shown.add_row(escape(key.name), key.id, f"{key.prefix}…", made, state)
    console().print(shown)


@keys.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(metavar="KEY", help="Its name, id, or how it starts.")],
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Stop a client key. A running gateway refuses it within a second."""
    from potluck.cli.show import emit, escape, note
    from potluck.store import keys as store

    with _connection(config) as connection:
        key = store.revoke(connection, which.rstrip("…"), now=time.time())
    if json:
        emit(_plain(key))
    else:
        note(f"The key of [bold]{escape(key.name)}[/] ({key.id}) is revoked; it stops within a second.")


def said(limits: Limits) -> str:
    """What a key may use, in a few words of markup."""
    from potluck.cli.show import amount, escape

    parts = [
        f"{amount(getattr(limits, field))} {label}" for field, label in _LABELS if getattr(limits, field)
    ]
    if limits.usd_per_day:
        parts.append(f"{amount(limits.usd_per_day, 'credits')}/day")
    if limits.models:
        parts.append("only " + escape(", ".join(limits.models)))
    if limits.priority != "normal":
        parts.append(f"{limits.priority} priority")
    if limits.admin:
        parts.append("[bold]admin[/]")
    return ", ".join(parts) or "no limits"


@contextmanager
def _connection(config: Path | None) -> Iterator[Connection]:
    from potluck import app

    connection = app.database(options.settings(config)).connect()
    try:
        yield connection
    finally:
        connection.close()


def _plain(key: ClientKey) -> dict[str, Any]:
    """A key for programs: times in epoch seconds, `revoked_at` null while it works, all limits spelled out."""
    import msgspec

    plain: dict[str, Any] = msgspec.structs.asdict(key)
    return {**plain, "revoked_at": key.revoked_at or None, "limits": msgspec.structs.asdict(key.limits)}
