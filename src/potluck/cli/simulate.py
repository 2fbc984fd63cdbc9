"""`potluck simulate`: what a day would be like with the keys you have, or might get.

Rules: nothing is sent anywhere. Keys come from the environment unless --key or --all name others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options
from potluck.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from potluck.app.advice import Gain, Replay
    from potluck.app.simulate import Report
    from potluck.app.workload import Ask
    from potluck.catalog import Provider
    from potluck.config import Settings
    from potluck.types import Target

DEFAULT = "300 chats a day, 1000 tokens in, 300 out, 70% by day"
_PICTURES = (".svg", ".html")


Words = Annotated[str, typer.Option("--workload", "-w", help="The day in words.")]
Trace = Annotated[
    Path | None,
    typer.Option("--trace", "-t", metavar="FILE", help="CSV or JSON lines: times and tokens of requests."),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key", "-k", help="As if you had this provider's key.", autocompletion=options.complete_providers
    ),
]
All = Annotated[bool, typer.Option("--all", "-a", help="As if you had every free key there is.")]
Days = Annotated[int, typer.Option(min=1, max=31, help="How many days in a row.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds a request waits for room rather than fail.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same day.")]
Every = Annotated[int, typer.Option(min=1, help="Of a trace, only each n-th request.")]
Stretch = Annotated[bool, typer.Option("--stretch", help="Spread a shorter trace over a day.")]
Quick = Annotated[bool, typer.Option("--quick", "-q", help="Do not try which further key would help.")]
Price = Annotated[
    str, typer.Option(metavar="IN/OUT", help="USD per million tokens, where no paid model's price is known.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the hours as .svg or .html, too.")
]


def simulate(
    workload: Words = DEFAULT,
    trace: Trace = None,
    key: Keys = None,
    all: All = False,
    days: Days = 1,
    wait: Wait = 30.0,
    seed: Seed = 1,
    every: Every = 1,
    stretch: Stretch = False,
    quick: Quick = False,
    price: Price = "0.30/1.20",
    plot: Plot = None,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Replay a day without sending anything: what is served, what is left over, which key would help."""
    from potluck import catalog

    if plot is not None and plot.suffix not in _PICTURES:
        raise typer.BadParameter("--plot draws .svg or .html")
    prices, settings = _prices(price), options.settings(config)
    providers = catalog.load(catalog.SHIPPED, *settings.provider_directories)
    environ = _keys(providers, settings, key or (), all)
    asks = _asks(workload, trace, days, seed, every, stretch)
    room = Room(settings, providers, environ, asks, wait)
    room.explain(key or ())
    report = room.first()
    gains = [] if quick else room.gains(report)
    title = trace.name if trace else workload
    if plot is not None:
        _draw(plot, report, room.start, title)
    if json:
        _emit(room, report, gains, prices)
    else:
        _show(room, report, gains, prices, title)


class Room:
    """One workload, and everything that is replayed with it."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        environ: Mapping[str, str],
        asks: Sequence[Ask],
        wait: float,
    ) -> None:
        from potluck.app import advice

        self.settings, self.providers, self.environ = settings, providers, environ
        self.asks, self.wait, self.start = asks, wait, midnight()
        self.targets = advice.opened(providers, settings, environ)
        if not self.targets:
            raise Invalid(
                "No provider is open. Say which keys you might get (`--key NAME`, or `--all`); `potluck providers` "
                "lists them."
            )

    def explain(self, keys: Sequence[str]) -> None:
        """Says of each key that was named why it opens nothing, if so."""
        from potluck import catalog
        from potluck.cli.show import escape, note

        there = {target.provider for target in self.targets}
        for id in dict.fromkeys(keys):
            if id not in there:
                choice = self.settings.providers.get(id, catalog.AS_IT_IS)
                never_bill = self.settings.never_bill
                why = catalog.why_not(self.providers[id], self.environ, never_bill=never_bill, choice=choice)
                note(f"[yellow]{id}[/] opens nothing: {escape(why or 'no model of its may be used')}.")

    @property
    def days(self) -> int:
        return int(self.asks[-1].at // 86_400) + 1 if self.asks else 1

    def first(self) -> Report:
        """The report, with a bar on stderr while it is made."""
        with _bar() as progress:
            task = progress.add_task("replaying", total=len(self.asks))
            return self.replay(self.targets, lambda done: progress.update(task, completed=done))

    def replay(self, targets: Sequence[Target], told: Any = None) -> Report:
        from potluck.app import simulate
        from potluck.app.pacing import pacing

        manners = pacing(self.settings, self.providers)
        return simulate.run(targets, self.asks, self.start, told, wait=self.wait, pacing=manners)

    def gains(self, report: Report) -> list[Gain]:
        """Which one more key would help, best first."""
        from potluck.app import advice

        replay: Replay = self.replay
        total = len(advice.one_key_away(self.providers, self.settings, self.environ))
        with _bar() as progress:
            task = progress.add_task("trying one more key", total=total)
            found = []
            for gain in advice.gains(report, self.providers, self.settings, self.environ, replay):
                found.append(gain)
                progress.advance(task)
        return advice.best(found)


def midnight() -> float:
    """Today's, on this machine's clock, in epoch seconds."""
    from datetime import datetime, time

    return datetime.combine(datetime.now().astimezone().date(), time()).timestamp()


def _keys(
    providers: Mapping[str, Provider], settings: Settings, keys: Sequence[str], all: bool
) -> Mapping[str, str]:
    from potluck.app import advice

    if all:
        return advice.with_keys(providers, os.environ, advice.one_key_away(providers, settings, os.environ))
    return advice.with_keys(providers, os.environ, keys)


def _asks(sentence: str, trace: Path | None, days: int, seed: int, every: int, stretch: bool) -> list[Ask]:
    import msgspec

    from potluck.app import workload

    if trace is None:
        return workload.asks(workload.shape(sentence), days, seed)
    once = workload.read(trace, stretch=stretch, every=every)
    lasts = (once[-1].at // workload.DAY + 1) * workload.DAY  # a day's trace is repeated each day
    return [msgspec.structs.replace(ask, at=ask.at + day * lasts) for day in range(days) for ask in once]


def _bar() -> Any:
    from rich.progress import Progress

    from potluck.cli.show import notes

    return Progress(console=notes(), transient=True)


def _prices(text: str) -> tuple[float, float]:
    try:
        given, taken = (float(part) for part in text.split("/"))
    except ValueError:
        given = taken = -1.0
    if not (0 <= given < 1e6 and 0 <= taken < 1e6):
        raise typer.BadParameter("--price is two numbers, USD per million tokens in and out: 0.30/1.20")
    return given, taken


def _show(room: Room, report: Report, gains: Sequence[Gain], prices: tuple[float, float], title: str) -> None:
    from potluck.app import advice
    from potluck.cli import day
    from potluck.cli.show import console, escape, note

    to, providers = console(), sorted({target.provider for target in room.targets})
    to.print(f"[bold]{escape(title)}[/]\n[dim]with {escape(', '.join(providers))}[/]\n")
    to.print(day.chart(report, room.start))
    to.print()
    for sentence in day.sentences(report, room.start, room.days, room.wait):
        to.print(sentence)
    to.print()
    if report.served:
        to.print(day.servers(report, {target.id: target.quality for target in room.targets}))
        to.print()
    if (left := day.stocks(report, room.start, room.days)) is not None:
        to.print(left)
        to.print()
    said = day.plan(gains, advice.money(report, room.providers, prices))
    if said:
        to.print("[bold]What would help most[/]")
        for number, sentence in enumerate(said, 1):
            to.print(f"{number}. {sentence}")
    note(
        "[dim]Nothing was sent. Limits are the catalog's; people who share your keys are not in the picture.[/]"
    )


def _emit(room: Room, report: Report, gains: Sequence[Gain], prices: tuple[float, float]) -> None:
    import msgspec

    from potluck.app import advice
    from potluck.cli.show import emit

    first = report.first_out
    value = msgspec.to_builtins(report)
    value.pop("missed")
    value |= {
        "start": room.start,
        "bottleneck": report.bottleneck,
        "first_out": msgspec.to_builtins(first) if first else None,
        "keys": msgspec.to_builtins(list(gains)),
        "paid": msgspec.to_builtins(advice.money(report, room.providers, prices)),
    }
    emit(value)


def _draw(path: Path, report: Report, start: float, title: str) -> None:
    from potluck.cli import day

    picture = day.svg(report, start, title)
    if path.suffix == ".html":
        picture = f'<!doctype html><meta charset="utf-8"><title>potluck simulate</title>\n{picture}'
    path.write_text(picture, encoding="utf-8")
