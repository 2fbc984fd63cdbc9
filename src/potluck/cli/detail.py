"""Everything the catalog knows of one provider: every number with its basis, its source and its date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from potluck.cli import standing as standings
from potluck.cli.show import amount, escape, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from potluck.catalog import Limit, Provider
    from potluck.cli.standing import Standing

_COLOURS = {"open": "green", "one_key_away": "cyan", "trial": "cyan", "local": "green", "retired": "red"}
_BASIS = {
    "published": "green",
    "measured": "green",
    "third_party": "yellow",
    "inferred": "yellow",
    "assumed": "red",
}


def plain(standing: Standing) -> dict[str, Any]:
    """All of it for programs: the facts as their file has them, and how it stands for this user."""
    facts: dict[str, Any] = msgspec.to_builtins(standing.provider)
    return {**facts, "state": standing.state, "why": standing.why, "usable_models": standing.models}


def render(to: Console, standing: Standing) -> None:
    """The page of one provider."""
    provider = standing.provider
    colour = _COLOURS.get(standing.state, "yellow")
    to.print(
        f"[bold]{escape(provider.name or provider.id)}[/]  [{colour}]{standing.state.replace('_', ' ')}[/]"
    )
    facts = table("", "")
    facts.show_header, facts.box = False, None
    for label, text in _facts(standing):
        facts.add_row(f"[dim]{label}[/]", text)
    to.print(facts)
    if provider.quota:
        to.print("\n[bold]Limits[/]", _limits(provider), sep="\n")
    if provider.model:
        to.print("\n[bold]Models[/]", _models(provider), sep="\n")
    if provider.sources:
        to.print("\n[bold]Sources[/]")
        for name, source in provider.sources.items():
            to.print(f"  [dim]{escape(name)}  seen {source.seen}[/]  {escape(source.where)}")


def _facts(standing: Standing) -> Iterator[tuple[str, str]]:
    provider = standing.provider
    if provider.tombstone:
        yield "gone", f"[red]{escape(provider.tombstone)}[/]"
    elif standing.why:
        yield "to do", escape(standing.why)
    if provider.status_note:
        yield provider.status.replace("_", " "), escape(provider.status_note)
    if standing.models:
        yield "models", f"{standing.models} usable now"
    yield "sign up", escape(provider.signup or "no sign-up known")
    if not provider.local:
        yield "asks for", standings.needs(provider)
    if names := (*provider.env, *provider.key_env):
        yield (
            "key",
            escape(" or ".join(provider.key_env) + "".join(f" and {name}" for name in provider.env))
            if names
            else "",
        )
    yield "address", escape(provider.base_url)
    note = f"  [dim]{escape(provider.trains_note)}[/]" if provider.trains_note else ""
    yield "your data", standings.data(provider) + note
    for text in provider.terms:
        yield "terms", escape(text)
    for text in provider.notes:
        yield "note", f"[dim]{escape(text)}[/]"


def _limits(provider: Provider) -> Any:
    shown = table("Limit", "For", "Comes back", "Basis!", "Source")
    for limit in provider.quota:
        source = provider.sources.get(limit.source)
        seen = f"{escape(limit.source)} [dim]{source.seen}[/]" if source else escape(limit.source)
        colour = _BASIS[limit.basis]
        shown.add_row(
            escape(standings.one(limit)),
            escape(_scope(limit)),
            limit.reset.replace("_", " "),
            f"[{colour}]{limit.basis.replace('_', ' ')}[/]",
            seen,
        )
    return shown


def _scope(limit: Limit) -> str:
    """Whom a limit binds, and when."""
    each = ", each model" if limit.per_model else ""
    only = f": {', '.join(limit.models)}" if limit.models else ""
    conditions = [f"on the plan {limit.plan}"] if limit.plan else []
    conditions += [{"key": "with a key", "anonymous": "without a key"}[limit.when]] if limit.when else []
    conditions += [limit.kind] if limit.kind else []
    conditions += [limit.condition] if limit.condition else []
    conditions += [] if limit.binds else ["not counted"]
    return limit.scope + each + only + (f" ({'; '.join(conditions)})" if conditions else "")


def _models(provider: Provider) -> Any:
    shown = table("Model", "Good at", "Context>!", "Tier!", "")
    for model in provider.model:
        if model.kind == "other":
            continue
        remark = model.excluded or model.note or ("paid" if model.paid else "")
        shown.add_row(
            escape(model.id),
            ", ".join(model.specialities),
            amount(model.context) if model.context else "[dim]?[/]",
            "●" * model.quality + "[dim]" + "○" * (5 - model.quality) + "[/]" if model.quality else "",
            f"[dim]{escape(remark)}[/]",
        )
    return shown
