"""Writes docs/reference from the code: `make docs`; `--check` says which page is out of date and exits 1.

Nothing in docs/reference is written by hand: what the code says of itself is the reference.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from potluck import catalog, config, errors
from potluck.catalog import Provider
from potluck.cli.tree import root

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"


def cli() -> str:
    """Every command with its options."""
    lines = ["# Command line", ""]
    for path, command in _commands("potluck", typer.main.get_command(root)):
        lines += [f"## `{path}`", "", inspect.cleandoc(command.help or ""), ""]
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(f"{path} {name}", child)


def _parameter(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    help_text = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    return f"| {names} | {help_text} |" if help_text else ""


def configuration() -> str:
    """Every setting, its default and its variable, and the commented file."""
    lines = ["# Configuration", "", "| setting | default | variable |", "|---|---|---|"]
    for name, default in _settings(config.Settings, ""):
        variable = f"`POTLUCK_{name.upper().replace('.', '_')}`"
        lines.append(f"| `{name}` | `{default!r}` | {variable} |")
    lines += ["", "`potluck init` writes this file:", "", "```toml", config.template().rstrip(), "```", ""]
    return "\n".join(lines)


def _settings(struct: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(struct):
        default = field.default
        if isinstance(default, msgspec.Struct):
            yield from _settings(type(default), f"{prefix}{field.name}.")
        elif default is not msgspec.NODEFAULT:
            yield prefix + field.name, default


def failures() -> str:
    """What a client may be told: status, code, and when."""
    lines = ["# Errors", "", "Every error has OpenAI's shape; `code` is stable.", "", "```", ""]
    lines += [inspect.cleandoc(errors.__doc__ or ""), "```", "", "| error | status | code |", "|---|---|---|"]
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.PotluckError):
            lines.append(f"| `{name}` | {kind.status} | `{kind.code}` |")
    return "\n".join([*lines, ""])


def providers() -> str:
    """The catalog as a table."""
    lines = ["# Providers", "", "| id | class | status | key | limits | trains on data | sign up |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [_provider(one) for one in catalog.load().values()]
    return "\n".join([*lines, ""])


def _provider(one: Provider) -> str:
    binding = [limit for limit in one.quota if limit.binds and limit.amount is not None]
    short = [f"{limit.amount:,.0f} {limit.unit}/{limit.window}" for limit in binding[:4]]
    trains = {True: "yes", False: "no", None: "unknown"}[one.trains_on_data]
    why = one.tombstone or one.unusable
    cells = (
        one.id,
        one.category,
        one.status,
        " ".join(one.key_env),
        why or ", ".join(short),
        trains,
        one.signup,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


MADE = {
    "cli.md": cli,
    "configuration.md": configuration,
    "errors.md": failures,
    "providers.md": providers,
}


def main() -> None:
    stale = []
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, make in MADE.items():
        page, text = PAGES / name, make()
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
        elif not page.is_file() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.exit(
            f"docs/reference is out of date: {', '.join(stale)}. Run `make docs` and commit what it writes."
        )


if __name__ == "__main__":
    main()
