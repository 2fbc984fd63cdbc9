"""`potluck quota`: what is used, what is left, when it runs out at today's pace, and when it comes back.

Rules: a gateway that runs is asked first, as it knows what its workers hold this moment; else the ledger on
disk is read, which is at most a second behind. Amounts stay in the quota's own unit.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

States = list[dict[str, Any]]
_NOT_ALLOWED = (401, 403, 404)
_BRIEF = ("/second", "/minute", " s")
_FAR = 60 * 86_400.0  # seconds: a pace says nothing about a day after that


def quota(
    provider: Annotated[
        str,
        typer.Option("--provider", "-p", help="Only this one.", autocompletion=options.complete_providers),
    ] = "",
    all: Annotated[bool, typer.Option("--all", "-a", help="Also what nobody used yet.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep it up to date until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks with --watch.")] = 1.0,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the quotas: used, left, when they run out at today's pace, and when they come back."""
    from potluck.cli.show import console, emit, note

    if json and watch:
        raise typer.BadParameter("--watch is for people; a program asks again with --json")
    read, where = reader(config)

    def look() -> States:
        return [s for s in read() if not provider or s["scope"].split("/")[0] == provider]

    if json:
        emit(look())
    elif watch:
        _keep_looking(look, all, every)
    else:
        states = look()
        shown = states if all else touched(states)
        if not states:
            note(
                "There are no quotas: no provider is open. `potluck providers` shows which are one key away."
            )
            return
        console().print(render(shown, time.time()))
        hidden = len(states) - len(shown)
        note(f"[dim]{where}{f' {hidden} more are untouched (--all).' if hidden else ''}[/]")


def reader(config: Path | None) -> tuple[Callable[[], States], str]:
    """What reads the quotas, and a sentence that says from where. Raises NotRunning, Refused, ConfigError."""
    from potluck.cli.running import NotRunning, Refused

    running = options.gateway(config)
    try:
        first = running.get("/potluck/v1/quota")
    except NotRunning:
        why = "No gateway runs; this is what the ledger on disk says."
    except Refused as refused:
        if refused.status not in _NOT_ALLOWED:
            raise
        why = (
            "The gateway that runs does not show its quotas without an admin key; this is the ledger on disk."
        )
    else:
        queue = [first]
        return lambda: queue.pop() if queue else running.get("/potluck/v1/quota"), f"From {running.url}."
    if os.environ.get("POTLUCK_URL"):
        running.get("/potluck/v1/quota")  # that gateway was meant, and no other: say what is wrong with it
    return _ledger(config), why


def _ledger(config: Path | None) -> Callable[[], States]:
    from potluck import app
    from potluck.app import foresight
    from potluck.quota.pace import Paces

    settings = options.settings(config)
    targets = app.inventory(settings, os.environ).targets
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = app.open_ledger(settings, worker=f"look-{os.getpid()}")
    paces = Paces(app.SystemClock(), worker=ledger.worker)
    if (settings.home / "potluck.sqlite").exists():
        paces.profile = foresight.profile(app.database(settings), time.time())

    def read() -> States:
        for target in targets:
            ledger.lane(target)
        ledger.flush()  # it holds nothing, so this only reads what changed
        return foresight.quotas(ledger, paces, targets)

    return read


def touched(states: States) -> States:
    """What somebody used or a provider closed; of a provider nobody used, the tightest one."""
    used = [s for s in states if s["used"] or s["held"] or s["learned"] or _is_closed(s, time.time())]
    busy = {s["scope"].split("/")[0] for s in used}
    idle: dict[str, dict[str, Any]] = {}
    for state in states:
        provider = state["scope"].split("/")[0]
        if provider not in busy and state["unit"] != "concurrent":
            idle[provider] = min(idle.get(provider, state), state, key=lambda s: s["amount"])
    keep = {id(s) for s in (*used, *idle.values())}
    return [s for s in states if id(s) in keep]


def render(states: States, now: float) -> Table:
    """The table; `now` is epoch seconds."""
    from potluck.cli.show import amount, bar, duration, escape, table

    ahead = [_until_gone(s, now) for s in states]
    foreseen = ("Runs out>!",) if any(ahead) else ()  # 80 columns are few: no column for nothing
    shown = table("Whose", "Limit", "Left!", ">!", "Of>!", *foreseen, "Back in>!")
    before = ""
    for s in sorted(states, key=lambda s: (s["scope"], s["label"])):
        left, unit = max(0, s["left"]), s["unit"]
        closed = _is_closed(s, now)
        share = 0.0 if closed or not s["amount"] else left / s["amount"]
        back = _seconds(s["closed_until"] if closed else s["resets_at"], now)
        limit = escape((s["label"] or unit).replace("_", " ").replace("/minute", "/min")) + (
            " [cyan]*[/]" if s["learned"] else ""
        )
        if unit == "credits" and s["used"]:
            limit += f"\n[dim]{amount(s['used'], unit)} spent[/]"
        shown.add_row(
            "" if s["scope"] == before else _whose(s["scope"]),
            limit + (f"\n[red]{escape(s['why'])}[/]" if closed and s["why"] else ""),
            bar(share, 6),
            amount(left, unit),
            amount(s["amount"], unit),
            *([_until_gone(s, now)] if foreseen else []),
            duration(back) if s["used"] or closed else "",
        )
        before = s["scope"]
    if any(s["learned"] for s in states):
        shown.caption = "* the provider itself told us this number; the catalog has another"
        shown.caption_justify = "left"
    return shown


def _until_gone(state: dict[str, Any], now: float) -> str:
    """How long it lasts at today's pace; nothing where it returns before, or is gone anyway."""
    from potluck.cli.show import duration

    moment = state.get("runs_out_at")  # a gateway of an older version does not say
    if moment is None or math.isinf(moment) or state["left"] <= 0 or moment - now > _FAR:
        return ""
    if state["label"].endswith(_BRIEF):
        return ""  # a minute that fills is no news
    return f"[yellow]{duration(moment - now)}[/]"


def _whose(scope: str) -> str:
    """provider/scope[/kind][/model] as people read it: the provider, and what of it."""
    from potluck.cli.show import escape

    provider, _, rest = scope.partition("/")
    model = rest.partition("/")[2]
    return f"[bold]{escape(provider)}[/]" + (f" {escape(model)}" if model else "")


def _keep_looking(look: Callable[[], States], all: bool, every: float) -> None:
    from rich.live import Live

    from potluck.cli.show import console

    def table() -> Table:
        states = look()
        return render(states if all else touched(states), time.time())

    with Live(table(), console=console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(every)
            live.update(table(), refresh=True)


def _is_closed(state: dict[str, Any], now: float) -> bool:
    until = state["closed_until"]
    return until is None or until > now


def _seconds(moment: float | None, now: float) -> float:
    """Seconds until an epoch second. JSON has no infinity: null is never."""
    return math.inf if moment is None else max(0.0, moment - now)
