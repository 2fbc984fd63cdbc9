"""Reads a directory of provider files into `Provider`s, and refuses to start on anything it does not know.

Rules: every refusal names file and line. Later directories win: a file with a shipped id replaces the shipped
one, or, with `extends = true`, changes only what it says. Files that start with "_" are templates: checked,
then left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from potluck.catalog.schema import PARAMETERS, Provider
from potluck.errors import ConfigError
from potluck.strict import Document, Where, meant

SHIPPED = Path(__file__).resolve().parent.parent / "providers"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ID = re.compile(r"^[a-z0-9][a-z0-9_-]*$")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
Problem = tuple[Where, str]


def load(*directories: Path | str) -> dict[str, Provider]:
    """Every provider by id, sorted; the shipped directory if none is named. Raises ConfigError.

    A directory that does not exist is an error: a typing mistake must not silently drop a user's servers.
    """
    found: dict[str, Provider] = {}
    for directory in directories or (SHIPPED,):
        root = Path(directory)
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such directory of provider files")
        here: dict[str, str] = {}
        for path in sorted(root.glob("*.toml")):
            document = Document.open(path)
            provider = read(document)
            if path.name.startswith("_"):
                continue
            if provider.id in here:
                problem = f"the id '{provider.id}' is already taken by {here[provider.id]}"
                raise document.refusal(("id",), problem)
            here[provider.id] = document.name
            found[provider.id] = _merge(document, found.get(provider.id), provider)
    return dict(sorted(found.items()))


def read(document: Document) -> Provider:
    """One file, checked. Raises ConfigError."""
    provider = document.into(Provider)
    for check in _CHECKS:
        for where, problem in check(provider):
            raise document.refusal(where, problem)
    return provider


def _merge(document: Document, base: Provider | None, over: Provider) -> Provider:
    if not over.extends:
        return over
    if base is None:
        raise document.refusal(("extends",), f"there is no provider '{over.id}' to extend")
    said = {name: getattr(over, name) for name in document.data if name != "extends"}
    replaced = {model.id for model in over.model}
    said["model"] = (*over.model, *(model for model in base.model if model.id not in replaced))
    said["sources"] = {**base.sources, **over.sources}
    said["error"] = (*over.error, *base.error)  # the first rule that matches decides
    return msgspec.structs.replace(base, **said)


def _identity(provider: Provider) -> Iterator[Problem]:
    if not _ID.match(provider.id):
        yield ("id",), f"the id '{provider.id}' must be lower-case letters, digits, '_' and '-'"
    if provider.retired != (provider.category == "retired"):
        yield ("category",), "a retired provider has a tombstone that says why, and no other provider has one"
    if provider.extends or provider.retired or provider.unusable:
        return
    if not provider.name:
        yield (), "the key 'name' is missing"
    if not provider.base_url:
        yield (), "the key 'base_url' is missing"
    if provider.auth not in ("optional", "none") and not provider.key_env:
        yield ("auth",), 'key_env must name the environment variable of the key, unless auth is "none"'


def _address(provider: Provider) -> Iterator[Problem]:
    wanted = set(_PLACEHOLDER.findall(provider.base_url))
    for name in wanted ^ set(provider.env):
        yield ("base_url",), f"'{{{name}}}' must stand in base_url and its name in env"
    problem = address_problem(provider.base_url) if provider.base_url else ""
    if problem:
        yield ("base_url",), problem
    aside = provider.params.rerank_url
    if aside and (problem := address_problem(aside)):
        yield ("params", "rerank_url"), problem.replace("base_url", "rerank_url")


def address_problem(base_url: str) -> str:
    """Why a key may not be sent to this address, or ""."""
    try:
        url = urlsplit(_PLACEHOLDER.sub("x", base_url))
        host = url.hostname
    except ValueError:
        return f"'{base_url}' is not a URL"
    if not host or not (url.scheme == "https" or (url.scheme == "http" and host in LOOPBACK)):
        return "base_url must begin with https://, or be on loopback: the key travels there"
    if url.username or url.password or url.query or url.fragment:
        return "base_url may not hold a user, a query or a fragment"
    return "base_url may not end with '/'" if base_url.endswith("/") else ""


def _sources(provider: Provider) -> Iterator[Problem]:
    said: list[tuple[Where, str]] = [(("quota", n, "source"), q.source) for n, q in enumerate(provider.quota)]
    for n, model in enumerate(provider.model):
        said.append((("model", n, "source"), model.source))
        for key, pair in (("neurons", model.neurons), ("price", model.price)):
            if pair is not None:
                said.append((("model", n, key, "source"), pair.source))
        if model.size_source:
            said.append((("model", n, "size_source"), model.size_source))
    for where, source in said:
        if source not in provider.sources:
            yield where, f"unknown source '{source}'{meant(source, provider.sources)}"


def _limits(provider: Provider) -> Iterator[Problem]:
    ids = {model.id for model in provider.model}
    for n, limit in enumerate(provider.quota):
        where: Where = ("quota", n)
        if (limit.amount is None) != limit.unknown:
            yield where, "a limit has either an amount or unknown = true"
        if limit.amount is not None and limit.amount < 0:
            yield (*where, "amount"), "amount may not be negative"
        if (limit.window == "seconds") != (limit.seconds > 0):
            yield (*where, "window"), 'window = "seconds" goes with seconds = N, and no other window does'
        if (limit.window == "concurrent") != (limit.unit == "concurrent"):
            yield (*where, "window"), 'unit = "concurrent" goes with window = "concurrent"'
        for number, model in enumerate(limit.models):
            if model not in ids and not provider.extends:
                yield (*where, "models", number), f"unknown model '{model}'{meant(model, ids)}"


def _models(provider: Provider) -> Iterator[Problem]:
    seen: set[str] = set()
    for n, model in enumerate(provider.model):
        where: Where = ("model", n)
        if model.id in seen:
            yield (*where, "id"), f"the model '{model.id}' is listed twice"
        seen.add(model.id)
        if model.kind == "other":
            continue
        if not model.name:
            yield where, "the key 'name' is missing"
        if model.kind == "chat" and not 1 <= model.quality <= 5:
            yield (*where, "quality"), "quality must be 1 to 5"
        if (model.kind == "embeddings") != ("embedding" in model.specialities):
            yield (*where, "kind"), 'kind "embeddings" and the speciality "embedding" go together'
        if bool(model.context or model.max_output) != bool(model.size_basis):
            yield (*where, "context"), "context and max_output need a size_basis, and it needs one of them"


def _behaviour(provider: Provider) -> Iterator[Problem]:
    params = provider.params
    known = PARAMETERS | set(params.own)
    for n, rule in enumerate(provider.error):
        try:
            re.compile(rule.pattern)
        except re.error as error:
            yield ("error", n, "pattern"), f"pattern is not a regular expression: {error}"
    for key, names in (
        ("drop", params.drop),
        ("allow", params.allow),
        ("rename", (*params.rename, *params.rename.values())),
        ("defaults", params.defaults),
    ):
        for name in names:
            if name not in known:
                yield ("params", key), f"unknown parameter '{name}'{meant(name, known)}"
    for n, header in enumerate(provider.rate_header):
        if header.name != header.name.lower():
            yield ("rate_header", n, "name"), "header names are written in lower case"


_CHECKS: tuple[Callable[[Provider], Iterator[Problem]], ...] = (
    _identity,
    _address,
    _sources,
    _limits,
    _models,
    _behaviour,
)
