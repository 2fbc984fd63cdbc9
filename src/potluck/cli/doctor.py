"""`potluck doctor`: looks at everything that may be wrong, and says what to do about each thing.

Rules: it spends no quota (it asks for lists of models, never for an answer), waits at most five seconds for any
host, and never shows a key. Each finding is ok, warn or fail; one fail makes the exit status 1.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.app import Inventory
    from potluck.config import Settings
    from potluck.types import Target

STALE_DAYS = 90  # free tiers change in weeks: older facts deserve a look
SKEW_SECONDS = 30.0  # a clock further off than this opens day quotas at the wrong time
PATIENCE = 5.0

Level = Literal["ok", "warn", "fail"]
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `todo` says what to do, "" where nothing is needed."""

    level: Level
    subject: str
    says: str
    todo: str = ""


def doctor(config: options.Config = None, as_json: options.Json = False) -> None:
    """Look for wrong keys, unreachable hosts, stale facts, a clock that is off, and say what to do."""
    from potluck import app
    from potluck.cli.show import console, emit, escape, table

    settings = options.settings(config)
    inventory = app.inventory(settings, os.environ)
    findings = [*_home(settings), *_ledger(settings, inventory), *_local(settings)]
    findings += [*_facts(inventory), *asyncio.run(_hosts(inventory))]
    if as_json:
        emit(findings)
    else:
        shown = table("", "what", "finding")
        for one in findings:
            text = escape(one.says) + (f"\n[bold]→ {escape(one.todo)}[/]" if one.todo else "")
            shown.add_row(f"[{_COLOURS[one.level]}]{one.level}[/]", escape(one.subject), text)
        console().print(shown)
    raise typer.Exit(any(one.level == "fail" for one in findings))


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / f".doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
        yield Finding("ok", "data directory", f"{home} can be written")
    except OSError as error:
        yield Finding(
            "fail", "data directory", f"{home}: {error.strerror}", "Fix its permissions, or set data_dir."
        )
        return
    from potluck import app
    from potluck.errors import PotluckError

    try:
        connection = app.database(settings).connect()
        said = connection.query("PRAGMA quick_check")[0][0]
        connection.close()
        level: Level = "ok" if said == "ok" else "fail"
        yield Finding(
            level,
            "store",
            f"quick_check: {said}",
            "" if said == "ok" else "Move the file away; it is redone.",
        )
    except PotluckError as error:
        yield Finding("fail", "store", str(error))
    yield _running(settings)


def _running(settings: Settings) -> Finding:
    from potluck.cli.running import NotRunning, Running
    from potluck.errors import PotluckError

    url = options.address(settings)
    try:
        Running(url).get("/health")
    except NotRunning:
        return Finding("ok", "gateway", f"none runs at {url}", "Start it with `potluck serve`.")
    except PotluckError as error:
        return Finding(
            "warn", "gateway", f"something else may listen at {url}: {error}", "Choose another port."
        )
    return Finding("ok", "gateway", f"runs at {url}")


def _ledger(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    from potluck import app

    ledger = app.open_ledger(settings, worker=f"doctor-{os.getpid()}")
    try:
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


def _local(settings: Settings) -> Iterator[Finding]:
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


def _facts(inventory: Inventory) -> Iterator[Finding]:
    from potluck.catalog import facts_age

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


async def _hosts(inventory: Inventory) -> list[Finding]:
    """One look at each provider there is a key for, all at once."""
    from potluck.upstream import Upstream

    first: dict[str, Target] = {}
    for target in inventory.targets:
        first.setdefault(target.provider, target)
    upstream = Upstream()
    try:
        found = await asyncio.gather(*(_look(upstream, target) for target in first.values()))
    finally:
        await upstream.close()
    return [finding for findings in found for finding in findings]


async def _look(upstream: object, target: Target) -> list[Finding]:
    from urllib.parse import urlsplit

    from potluck.errors import PotluckError
    from potluck.upstream import Call, Origin, Timeouts, Upstream, header_lines

    assert isinstance(upstream, Upstream)
    path = urlsplit(target.base_url).path.rstrip("/") + target.behaviour.models_path
    lines = [("authorization", f"Bearer {target.key.reveal()}")] if target.key else []
    patience = Timeouts(connect=PATIENCE, head=PATIENCE, first=PATIENCE, stall=PATIENCE, total=PATIENCE)
    call = Call(Origin.of(target.base_url), path, header_lines(lines), method="GET", timeouts=patience)
    try:
        exchange = await upstream.send(call)
    except PotluckError as error:
        return [
            Finding("fail", target.provider, f"cannot be reached: {error}", "Check the network and base_url.")
        ]
    exchange.close()
    date = exchange.header(b"date")
    return [*_verdict(target.provider, exchange.status), *_clock(target.provider, date)]


def _verdict(provider: str, status: int) -> Iterable[Finding]:
    if status in (401, 403):
        yield Finding("fail", provider, f"refuses the key (HTTP {status})", "Make a new key and set it anew.")
    elif status == 200:
        yield Finding(
            "ok", provider, "answers; a wrong key would have been refused, unless its list is public"
        )
    else:
        yield Finding(
            "warn", provider, f"answers with HTTP {status}; the key cannot be checked without spending quota"
        )


def _clock(provider: str, date: bytes | None) -> Iterable[Finding]:
    if date is None:
        return
    try:
        skew = time.time() - parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, TypeError):
        return
    if abs(skew) > SKEW_SECONDS:
        says = f"this clock is {skew:+.0f} s off the provider's"
        yield Finding("warn", provider, says, "Set the clock (NTP): day quotas open at the wrong time.")
