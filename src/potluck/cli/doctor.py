"""`potluck doctor`: looks at everything that may be wrong, and says what to do about each thing.

Rules: it spends no quota (it asks for lists of models, never for an answer), waits at most five seconds for any
host, and never shows a key. Each finding is ok, warn or fail; one fail makes the exit status 1.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.app import Inventory
    from potluck.cli.reach import Finding
    from potluck.config import Settings

STALE_DAYS = 90  # free tiers change in weeks: older facts deserve a look
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(json: options.Json = False, config: options.Config = None) -> None:
    """Look for wrong keys, unreachable hosts, stale facts, a clock that is off, and say what to do."""
    from potluck import app
    from potluck.cli import reach
    from potluck.cli.show import console, emit

    settings = options.settings(config)
    inventory = app.inventory(settings, os.environ)
    findings = [*_home(settings), _running(settings), *_local(settings), *_facts(inventory)]
    findings += [*_unlisted(settings, inventory), _measure(settings), *_meaning(settings)]
    if all(one.level != "fail" for one in findings):
        findings += _ledger(settings, inventory)
    findings += asyncio.run(reach.hosts(inventory.targets))
    if json:
        emit(findings)
    else:
        console().print(_table(findings))
    raise typer.Exit(any(one.level == "fail" for one in findings))


def _table(findings: list[Finding]) -> object:
    from potluck.cli.show import escape, table

    shown = table("", "Looked at!", "Found")
    for one in findings:
        text = escape(one.says) + (f"\n[bold]→ {escape(one.todo)}[/]" if one.todo else "")
        shown.add_row(f"[{_COLOURS[one.level]}]{one.level}[/]", escape(one.subject), text)
    return shown


def _home(settings: Settings) -> Iterator[Finding]:
    from potluck.cli.reach import Finding

    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = home / f".doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        todo = "Fix its permissions, or set data_dir."
        yield Finding("fail", "data directory", f"{home}: {error.strerror}", todo)
        return
    yield Finding("ok", "data directory", f"{home} can be written")
    for subject, name in (("records and keys", "potluck.sqlite"), ("ledger", "quota.sqlite")):
        yield _whole(subject, home / name)


def _whole(subject: str, path: Path) -> Finding:
    """Whether a database is undamaged; read only, so that looking never changes what is looked at."""
    from potluck.cli.reach import Finding

    if not path.exists():
        return Finding("ok", subject, "nothing is recorded yet")
    todo = f"Move {path} away; the next start makes a new one."
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            database.close()
    except sqlite3.Error as error:
        return Finding("fail", subject, f"{path.name} cannot be read: {error}", todo)
    if said != "ok":
        return Finding("fail", subject, f"{path.name} is damaged: {said}", todo)
    return Finding("ok", subject, f"{path.name} is whole")


def _running(settings: Settings) -> Finding:
    from potluck.cli.reach import Finding
    from potluck.cli.running import NotRunning, Running, Stranger
    from potluck.errors import PotluckError

    url = options.address(settings)
    todo = "Choose another port (port in potluck.toml, or --port)."
    try:
        said = Running(url).get("/health")
    except NotRunning as error:
        if isinstance(error, Stranger):
            return Finding("warn", "gateway", f"another program listens at {url}", todo)
        return Finding("ok", "gateway", f"none runs at {url}", "Start it with `potluck serve`.")
    except PotluckError:
        said = None
    if said != {"status": "ok"}:
        return Finding("warn", "gateway", f"another program listens at {url}", todo)
    return Finding("ok", "gateway", f"runs at {url}")


def _ledger(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    from potluck import app
    from potluck.cli.reach import Finding
    from potluck.quota.remote import RemoteLedger

    ledger = app.open_ledger(settings, worker=f"doctor-{os.getpid()}")
    try:
        if isinstance(ledger, RemoteLedger):
            ledger.flush()
            yield _reached(ledger.lost)
        for state in ledger.snapshot(inventory.targets):
            if state.learned:
                yield Finding(
                    "warn",
                    state.scope,
                    f"the provider says {state.amount} {state.label}, the catalog {state.published}; the provider wins",
                    "Correct the catalog file if this lasts.",
                )
    finally:
        ledger.close()


def _reached(lost: str) -> Finding:
    from potluck.cli.reach import Finding

    if not lost:
        return Finding("ok", "quota store", "can be reached")
    todo = "Start it, or correct `store` in potluck.toml. Until then scarce quota is refused on every host."
    return Finding("fail", "quota store", f"cannot be reached: {lost}", todo)


def _unlisted(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    """Hosts that list their models themselves, and did not when a gateway last asked."""
    from potluck.app import SystemClock
    from potluck.app.remote import RemoteModels
    from potluck.cli.reach import Finding

    remote = RemoteModels(settings, inventory.providers, os.environ, SystemClock())
    for name, problem in sorted(remote.problems().items()):
        todo = "Its models are those it listed before, if any. A running gateway asks again every minute."
        yield Finding("warn", name, f"did not list its models: {problem}", todo)


def _measure(settings: Settings) -> Finding:
    """What prompts are measured with, before they are sent. Raises ConfigError."""
    from potluck.app.tokens import tokenizer
    from potluck.cli.reach import Finding

    if tokenizer(settings.tokenizer) is not None:
        return Finding("ok", "tokens", f"prompts are measured with {settings.tokenizer}")
    todo = "pip install 'potluck[tokens]' holds half as much where tokens a minute are scarce."
    return Finding("ok", "tokens", "prompts are measured in bytes", todo if settings.tokenizer else "")


def _local(settings: Settings) -> Iterator[Finding]:
    from potluck.cli.reach import Finding
    from potluck.local.availability import unavailable
    from potluck.local.registry import Models

    if not settings.local.enabled:
        yield Finding("ok", "local model", "switched off in the configuration")
    elif why := unavailable():
        yield Finding("warn", "local model", why)
    elif model := Models(settings.home).current():
        there = "is here" if model.path else "is not fetched yet"
        yield Finding(
            "ok", "local model", f"{model.name} {there}", "" if model.path else "Run `potluck models pull`."
        )


def _meaning(settings: Settings) -> Iterator[Finding]:
    """Whether hits by meaning can be found where a user wants them."""
    from potluck.cli.reach import Finding
    from potluck.local.embedding import missing

    own = [profile.cache for profile in settings.profiles.values() if profile.cache is not None]
    if any(one.semantic for one in (settings.cache, *own)):
        problem = missing()
        says = "only the same requests are hits" if problem else "other words of the same meaning are hits"
        yield Finding("warn" if problem else "ok", "semantic cache", says, problem)


def _facts(inventory: Inventory) -> Iterator[Finding]:
    from potluck.catalog import facts_age
    from potluck.cli.reach import Finding

    today = datetime.now(UTC).date()
    used = sorted({target.provider for target in inventory.targets})
    if not used:
        yield Finding(
            "warn", "keys", "no provider key is set", "`potluck providers` shows where to get one for free."
        )
    for name in used:
        age = facts_age(inventory.providers[name], today)
        if age is not None and age > STALE_DAYS:
            says = f"the newest fact is {age} days old"
            yield Finding(
                "warn", name, says, "Look at the provider's page; your own TOML file can correct it."
            )
