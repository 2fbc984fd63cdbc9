"""Targets for models that a server names itself: local servers, and hosts whose list nobody could write down.

Rules: what a name does not say is not made up: context 0 is unknown, and the tier of an unnamed size is 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from potluck.catalog.access import Access
from potluck.catalog.choice import AS_IT_IS, Choice
from potluck.catalog.listing import Listed
from potluck.catalog.schema import Model, Provider, Speciality
from potluck.types import Target

_PARAMETERS = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)\s*(b|m)(?![a-z])")
_TIERS = ((4.0, 1), (15.0, 2), (40.0, 3), (130.0, 4))  # billions of parameters, up to which tier


def discovered(
    provider: Provider,
    models: Iterable[str] | Mapping[str, int],
    *,
    base_url: str = "",
    environ: Mapping[str, str] = {},
    choice: Choice = AS_IT_IS,
) -> list[Target]:
    """Targets for models a server named itself (`discover = true`). `models`: ids, or ids with their context.

    The name says what kind of model it is and how big: a rule of thumb, because nobody else tells.
    """
    contexts = models if isinstance(models, Mapping) else dict.fromkeys(models, 0)
    access = Access(provider, environ, choice, never_bill=False, anonymous=True, discovered=True)
    made = [access.target(_guess(id, context)) for id, context in contexts.items()]
    return (
        [msgspec.structs.replace(target, base_url=base_url.rstrip("/")) for target in made]
        if base_url
        else made
    )


local_targets = discovered


def hosted(
    provider: Provider,
    rows: Iterable[Listed],
    environ: Mapping[str, str],
    *,
    never_bill: bool = True,
    anonymous: bool = False,
    choice: Choice = AS_IT_IS,
) -> list[Target]:
    """Targets for the rows of a remote host's own list that this user may use; those its file lists are known.

    A row is paid unless the host gives it away (`listing.Listed.free`, or an id its file calls free). Of a
    host where every call is paid, a price of zero is a price nobody told.
    """
    access = Access(provider, environ, choice, never_bill, anonymous, discovered=True)
    known = {model.id for model in provider.model}
    found = []
    for row in rows:
        if row.id in known or row.kind == "other":
            continue
        gift = provider.category != "paid" and (row.free or _called_free(provider, row.id))
        model = msgspec.structs.replace(_guess(row.id, row.context), free=gift)
        if row.kind == "embeddings" and model.kind == "chat":
            model = msgspec.structs.replace(model, kind="embeddings", specialities=("embedding",))
        if access.offers(model):
            found.append(access.target(model))
    return found


def door(
    provider: Provider,
    environ: Mapping[str, str],
    *,
    never_bill: bool = True,
    anonymous: bool = False,
    choice: Choice = AS_IT_IS,
) -> Target:
    """Where a host is asked for its models: a target without a model, with address, key and headers."""
    access = Access(provider, environ, choice, never_bill, anonymous, discovered=True)
    return access.target(Model(id="", source="discovered"))


def _called_free(provider: Provider, id: str) -> bool:
    return bool(provider.free_ids) and id.endswith(provider.free_ids)


def _guess(id: str, context: int) -> Model:
    low = id.lower()
    embeds = any(word in low for word in ("embed", "bge-", "minilm", "gte-", "e5-"))
    special: list[Speciality] = ["embedding"] if embeds else ["general"]
    if not embeds and any(word in low for word in ("code", "coder", "starcoder")):
        special.append("code")
    sees = any(word in low for word in ("-vl", "vision", "llava", "pixtral", "moondream"))
    return Model(
        id=id,
        source="discovered",
        name=canonical(id),
        kind="embeddings" if embeds else "chat",
        specialities=(*special, "vision") if sees else tuple(special),
        inputs=("text", "image") if sees else ("text",),
        context=context,
        quality=quality_of(id),
    )


def canonical(id: str) -> str:
    """A model's id without vendor, file ending, quantisation and tag: what it would be called anywhere."""
    name = re.split(r"[/\\]", id.lower())[-1]
    name = re.sub(r"\.gguf$|:latest$|:free$|-free$", "", name)
    name = re.sub(r"[-_.](?:q\d[\w]*|f16|bf16|fp8|int4|awq|gptq|gguf)(?=[-_.]|$).*", "", name)
    name = re.sub(r"[:_]", "-", name)
    name = re.sub(r"-(?:instruct|it|chat)(?=-|$)", "", name)
    return re.sub(r"^(?:meta-)?(llama|gemma)-?(?=\d)", r"\1-", name)


def quality_of(id: str) -> int:
    """The tier a model's size gives it, by the parameters its name states; 2 if it states none."""
    sizes = [float(n) / (1000 if unit == "m" else 1) for n, unit in _PARAMETERS.findall(id.lower())]
    if not sizes:
        return 2
    return next((tier for limit, tier in _TIERS if max(sizes) <= limit), 5)
