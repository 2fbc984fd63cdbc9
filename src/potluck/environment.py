"""Environment variables as settings: POTLUCK_TIMEOUTS_STALL is `timeouts.stall`, lists are separated by commas.

Rules: an unknown variable is an error with the nearest names. Values stay strings here: the settings' own types read
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_origin

import msgspec

from potluck.errors import ConfigError
from potluck.strict import Where, meant

PREFIX = "POTLUCK_"
IGNORED = frozenset(  # the command line's own, and what a parent tells its workers
    f"{PREFIX}{name}"
    for name in ("CONFIG", "URL", "API_KEY", "KEY", "DEBUG", "LOCAL_ENDPOINT", "WORKER_SETTINGS")
)


def table(environ: Mapping[str, str], settings: type[msgspec.Struct]) -> dict[str, Any]:
    """POTLUCK_* as a nested table of strings and lists. Raises ConfigError for a name nothing answers to."""
    known = dict(names(settings))
    found: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in IGNORED:
            continue
        if name not in known:
            raise ConfigError(f"environment: unknown variable {name}{meant(name, known)}")
        path, many = known[name]
        place = found
        for key in path[:-1]:
            place = place.setdefault(key, {})
        value = environ[name].strip()
        place[path[-1]] = [each.strip() for each in value.split(",") if each.strip()] if many else value
    return found


def names(settings: type[msgspec.Struct]) -> Iterator[tuple[str, tuple[tuple[str, ...], bool]]]:
    """Every variable: its path in the settings, and whether it is a list."""
    for field in msgspec.structs.fields(settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            for inner in msgspec.structs.fields(field.type):
                path = (field.name, inner.name)
                yield variable(path), (path, get_origin(inner.type) is tuple)
        elif get_origin(field.type) is not dict:
            yield variable((field.name,)), ((field.name,), get_origin(field.type) is tuple)


def variable(where: Where) -> str:
    """The variable that sets this place in the settings."""
    return PREFIX + "_".join(step for step in where if isinstance(step, str)).upper()


def in_environment(message: str) -> str:
    """A complaint about a value, said of the variable it came from."""
    problem, _, at = message.partition(" - at `$.")
    where = at.rstrip("`").split("[")[0].split(".")
    return f"{variable(tuple(where))}: {problem.replace('`', '')}"


def over(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the changes on top, table by table."""
    merged = dict(data)
    for key, value in changes.items():
        merged[key] = over(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged
