"""Which targets, in which order. Pure: no clock, no socket, no database.

A *wish* is what the `model` field says: `auto`, a speciality (`auto:code`), `auto:fast`, `auto:private`, a
canonical model pooled over every provider that serves it, `provider/model`, or a profile's name. The order
is a score in units of quality tiers, so that each term can be argued about:

    quality tier
    + 1.0   the wished speciality is one of the target's
    - 1.0   × the shadow price of what it would take: scarce quota is kept for requests that need it (`price.py`)
    + 0.25  × free share of its tightest quota: equals share the load, plentiful first
    - 1.0   × recent failure share
    - 0.25  × log2(1 + seconds to the first token), × 4 for `auto:fast`
    - PAID  if it is a paid target: after every free one that has room, whatever its quality
    - TOY   if there are paid ones and it is a tiny model on this machine, which has room for ever: a budget that
            waited for it to be full would never be spent. Not for `auto:fast`, where a tiny model is wanted

A target without room now comes after all that have some: it is tried only because a moment may free some.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import log2

import msgspec

from potluck import price
from potluck.errors import ConfigError, Forbidden, UnknownModel, Unsupported
from potluck.types import Plan, Request, Target

SPECIALITIES = frozenset({"general", "code", "math", "vision", "multilingual", "reasoning"})
PAID = 50.0  # tiers: behind everything that is free and has room
TOY = 60.0  # behind what is paid
FULL = 100.0  # tiers: behind everything that has room


class Outlook(msgspec.Struct, frozen=True):
    """What is known of one target at this moment. `share` is the free share of its tightest quota, 0..1; `risk`
    the probability that it runs out too early, times how bulky the planned request is (`price.bid`)."""

    share: float = 1.0
    first_s: float = 0.0
    flakiness: float = 0.0
    risk: float = 0.0
    full: bool = False


class Wish(msgspec.Struct, frozen=True):
    """What the client asked for, read from the `model` field and a profile."""

    exact: str = ""  # a target id, a canonical name or a provider's own model name; "" = any
    speciality: str = ""
    fast: bool = False
    private: bool = False
    min_quality: int = 0
    no_training: bool = False


class Profile(msgspec.Struct, frozen=True):
    """A named set of stages and routing wishes, chosen with the `model` field."""

    wish: Wish = Wish()
    stages: tuple[str, ...] = ()


AUTO: Mapping[str, Wish] = {
    "auto": Wish(),
    "auto:fast": Wish(fast=True),
    "auto:private": Wish(private=True),
    **{f"auto:{speciality}": Wish(speciality=speciality) for speciality in sorted(SPECIALITIES)},
}


class Pool:
    """Every target there is, with an index from each name a client may use. Built once per change."""

    def __init__(self, targets: Iterable[Target], profiles: Mapping[str, Profile] | None = None) -> None:
        self.targets = tuple(targets)
        self.profiles = dict(profiles or {})
        self.by_id = {target.id: target for target in self.targets}
        self._named: dict[str, list[Target]] = {}
        for target in self.targets:
            for name in {target.id, target.name.lower(), target.model.lower(), target.id.lower()}:
                self._named.setdefault(name, []).append(target)
        clash = self.profiles.keys() & (self._named.keys() | AUTO.keys())
        if clash:
            raise ConfigError(f"profile {sorted(clash)[0]!r} has the name of a model; give it another name")

    def names(self) -> list[str]:
        """What `GET /v1/models` lists: wishes, profiles, canonical names, then every target."""
        canonical = {target.name for target in self.targets}
        return [*AUTO, *self.profiles, *sorted(canonical), *sorted(self.by_id.keys() - canonical)]

    def wish(self, model: str) -> Wish:
        """The wish behind a `model` field. Raises UnknownModel with the nearest names."""
        if model in AUTO:
            return AUTO[model]
        if model in self.profiles:
            return self.profiles[model].wish
        if model in self._named or model.lower() in self._named:
            return Wish(exact=model if model in self._named else model.lower())
        near = difflib.get_close_matches(model.lower(), [*AUTO, *self._named], n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UnknownModel(
            f"No target serves the model {model!r}.{hint} GET /v1/models lists what you have; "
            "'auto' lets Potluck choose.",
            param="model",
        )

    def candidates(self, wish: Wish, kind: str) -> list[Target]:
        among = self._named.get(wish.exact, ()) if wish.exact else self.targets
        return [target for target in among if target.kind == kind]

    def binding(self, allowed: Sequence[str]) -> Sequence[str]:
        """The globs that targets themselves must match; none if every glob allows a wish or a profile.

        A client key that may only ask `auto*` may be sent anywhere; one that also names models, or names
        nothing but models, may be sent to those only, whatever it asks.
        """
        wishes = (*AUTO, *self.profiles)
        models = [glob for glob in allowed if not any(fnmatchcase(name, glob) for name in wishes)]
        return allowed if models else ()


def plan(request: Request, pool: Pool, outlook: Callable[[Target], Outlook]) -> Plan:
    """The targets worth trying, best first. Raises UnknownModel, Forbidden when the client key leaves none, or
    Unsupported when none could ever do it.
    """
    wish = pool.wish(request.model)
    among = pool.candidates(wish, request.kind)
    if request.allowed and among:
        globs = pool.binding(request.allowed)
        among = [target for target in among if not globs or permitted(target, globs)]
        if not among:
            raise Forbidden(
                f"This client key may only use {', '.join(request.allowed)}, and no target for {request.model!r} "
                "is one of them. Ask for one of those, or have the key's list of models extended.",
                param="model",
            )
    able: list[Target] = []
    reasons: dict[str, int] = {}
    for target in among:
        reason = unfit(target, request, wish)
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            able.append(target)
    if not able:
        raise Unsupported(_why_none(request, among, reasons), param="model")
    money = any(target.paid for target in able) and not wish.fast
    seen = [outlook(target) for target in able]
    scored = [
        (score(t, wish, now, charge) - (TOY if money and toy(t) else 0.0), t)
        for t, now, charge in zip(able, seen, charges(able, seen), strict=True)
    ]
    scored.sort(key=lambda pair: (-pair[0], pair[1].id))
    return Plan(tuple(target for _, target in scored))


def permitted(target: Target, globs: Sequence[str]) -> bool:
    """Whether a client key's list names this target: by its id, its canonical name or its provider's name."""
    names = (target.id, target.id.partition("#")[0], target.name, target.model)
    return any(fnmatchcase(name, glob) for glob in globs for name in names)


def unfit(target: Target, request: Request, wish: Wish) -> str:
    """Why this target cannot serve this request at all; "" if it can."""
    if wish.private and not target.local:
        return "would leave this machine"
    if wish.no_training and target.trains_on_data is not False and not target.local:
        return "may train on your data"
    if target.quality < wish.min_quality:
        return f"below quality tier {wish.min_quality}"
    if "image" in request.needs and "image" not in target.inputs:
        return "takes no images"
    if "pdf" in request.needs and "pdf" not in target.inputs:
        return "reads no PDF"
    # Tools and files of the vendor's own have no words in another format; which one, the need itself says.
    if (
        f"native:{request.native_dialect}" in request.needs
        and target.behaviour.dialect != request.native_dialect
    ):
        return "cannot be told all of it in its own format"
    if "tools" in request.needs and not target.tools:
        return "calls no tools"
    if "json_schema" in request.needs and not target.json_schema:
        return "answers in no JSON schema"
    if target.context and request.tokens_in > target.context:
        return f"its context window of {target.context} tokens is too small"
    return ""


def score(target: Target, wish: Wish, now: Outlook, charge: float = 0.0) -> float:
    """How much this target suits the wish at this moment, in quality tiers. `charge`: its shadow price."""
    value = target.quality - charge + 0.25 * now.share - now.flakiness
    if now.full:
        value -= FULL
    if wish.speciality and wish.speciality in target.specialities:
        value += 1.0
    value -= (1.0 if wish.fast else 0.25) * log2(1.0 + now.first_s)
    if wish.fast:
        value -= 0.5 * target.quality  # a smaller model is usually the faster one until speed is observed
    return value - PAID if target.paid else value


def charges(able: Sequence[Target], seen: Sequence[Outlook]) -> list[float]:
    """The shadow price of each. Who has no room, or costs money, is no alternative to anybody and pays none."""
    apart = [now.full or target.paid for target, now in zip(able, seen, strict=True)]
    offers = [
        (target.quality, 1.0 if out else now.risk) for target, now, out in zip(able, seen, apart, strict=True)
    ]
    return [0.0 if out else charge for out, charge in zip(apart, price.charges(offers), strict=True)]


def toy(target: Target) -> bool:
    """A model on this machine of the lowest tier: it answers when nothing else does."""
    return target.local and target.quality <= 1


def _why_none(request: Request, among: list[Target], reasons: Mapping[str, int]) -> str:
    if not among:
        what = request.kind
        return (
            f"Nothing here can do {what} for {request.model!r}. `potluck providers` shows which free key would "
            "add a target."
        )
    said = "; ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()))
    return (
        f"No target for {request.model!r} can serve this request ({said}). Change the request or add a key."
    )
