"""Writes docs/reference from the code: `make docs`; `--check` says which page is out of date and exits 1.

Nothing in docs/reference is written by hand: what the code says of itself is the reference.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import typer

from potluck import catalog, config, errors, router
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


def http() -> str:
    """What a client may send and what comes back, from the OpenAPI document that the gateway serves."""
    document = json.loads((files("potluck.server") / "openapi.json").read_bytes())
    sent, back = document["components"]["parameters"], document["components"]["headers"]
    lines = [
        *HTTP.splitlines(),
        "",
        "## Endpoints",
        "",
        "| method | path | for | answers |",
        "|---|---|---|---|",
    ]
    for path, operations in document["paths"].items():
        for method, one in operations.items():
            statuses = ", ".join(one["responses"])
            lines.append(f"| {method.upper()} | `{path}` | {one['summary']} | {statuses} |")
    lines += ["", "## The `model` field", "", "| says | means |", "|---|---|"]
    lines += [f"| `{name}` | {_wish(wish)} |" for name, wish in router.AUTO.items()]
    lines += MODEL_NAMES.splitlines()
    lines += ["", "## Headers a client may send", "", "| header | example | means |", "|---|---|---|"]
    lines += [f"| `{one['name']}` | `{one['example']}` | {one['description']} |" for one in sent.values()]
    lines += ["", "## Headers of an answer", "", "| header | example | means |", "|---|---|---|"]
    lines += [f"| `{name}` | `{one['example']}` | {one['description']} |" for name, one in back.items()]
    return "\n".join([*lines, ""])


def _wish(wish: router.Wish) -> str:
    if wish.private:
        return "never leaves this machine"
    if wish.fast:
        return "whoever answered fastest lately"
    if wish.speciality:
        return f"prefers models that are good at: {wish.speciality}"
    return "Potluck chooses: quality, room left, health, price of scarce quota"


HTTP = """# HTTP

Clients speak to `http://127.0.0.1:4711/v1`. The gateway serves this document as OpenAPI at `/openapi.json`.

- **Key**: `Authorization: Bearer pk-…` (or `x-api-key`). While there is no client key, everyone on this machine may
  ask.
- **Admin**: once there are keys, `/metrics` and `/potluck/v1/…` need one made with `potluck keys create NAME --admin`.
- **Parameters** that Potluck does not know pass through, unless the catalog says that a provider refuses them.
- **Streams** (`"stream": true`) are server-sent events that end in `data: [DONE]`. One that breaks after its first
  word ends in an event with an `error`, and without `[DONE]`. Lines that begin with a colon are comments: a request
  that waits sends them, and what its head could not say yet (the headers below) comes as comments too.
- **Errors** have the shape `{"error": {"message", "type", "param", "code"}}`. [Errors](errors.md) lists the codes."""

MODEL_NAMES = """| a profile's name, such as `home` | what `[profiles.home]` in `potluck.toml` says |
| `gpt-oss-120b` | these weights, at whichever provider there is room |
| `groq/openai/gpt-oss-120b` | exactly this target |"""


MADE = {
    "cli.md": cli,
    "configuration.md": configuration,
    "errors.md": failures,
    "http.md": http,
    "providers.md": providers,
}


def stale() -> list[str]:
    """The pages that do not say what the code says."""
    pages = {name: PAGES / name for name in MADE}
    return [name for name, page in pages.items() if not page.is_file() or page.read_text() != MADE[name]()]


def main() -> None:
    if "--check" not in sys.argv:
        PAGES.mkdir(parents=True, exist_ok=True)
        for name, make in MADE.items():
            (PAGES / name).write_text(make(), encoding="utf-8")
    elif old := stale():
        sys.exit(
            f"docs/reference is out of date: {', '.join(old)}. Run `make docs` and commit what it writes."
        )


if __name__ == "__main__":
    main()
