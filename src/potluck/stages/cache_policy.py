"""What may be stored, for how long, and what the client says about it. Pure.

    Cache-Control:   no-store | no-cache | max-age=60 | only-if-cached      (RFC 9111, §5.2.1)
    X-Potluck-Cache: the same, and off | refresh | exact | ttl=3600

Rules: X-Potluck-Cache wins over Cache-Control (the server passes on one of them). A directive that is not known is
ignored, as RFC 9111 wants it.
"""

from __future__ import annotations

import re

import msgspec

from potluck.techniques import Cache
from potluck.types import Request

TEXT_READ = 4_000  # characters of a question that are looked at for words like "today"


class Wishes(msgspec.Struct, frozen=True):
    """Seconds. `max_age` is the oldest answer the client takes, `ttl` how long it wants its own kept."""

    read: bool = True
    write: bool = True
    only: bool = False
    semantic: bool = True
    max_age: float | None = None
    ttl: float | None = None


NONE = Wishes()
_SWITCHES: dict[str, dict[str, bool]] = {
    "no-store": {"read": False, "write": False},
    "off": {"read": False, "write": False},
    "bypass": {"read": False, "write": False},
    "no-cache": {"read": False},
    "refresh": {"read": False},
    "only-if-cached": {"only": True},
    "exact": {"semantic": False},
}


def wishes(text: str) -> Wishes:
    """Of a header's text, lower case."""
    found = NONE
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if (switch := _SWITCHES.get(name)) is not None:
            found = msgspec.structs.replace(found, **switch)
        elif name in ("max-age", "ttl") and value.strip('" ').isdecimal():
            seconds = float(min(int(value.strip('" ')[:12]), 10**9))
            field = "max_age" if name == "max-age" else "ttl"
            found = msgspec.structs.replace(found, **{field: seconds})
    return found


# Questions whose answer should differ each time, and questions whose answer does not last. By words, because a model
# that could judge better costs more than the call it would spare; English, and the commonest of other languages.
_CHANCE = re.compile(
    r"\b(at random|random (?:number|word|name|colou?r|joke|fact)|pick a (?:number|card)|roll (?:a|the|two) dic?e"
    r"|flip a coin|(?:generate|new|give me) an? (?:new |random )?(?:uuid|guid|password)|surprise me"
    r"|another (?:one|joke|story|poem|example)|(?:what|current) time|what(?:'s| is) the time|right now)\b",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"\b(today|tonight|tomorrow|yesterday|now|nowadays|current(?:ly)?|latest|newest|recent(?:ly)?|breaking"
    r"|this (?:week|month|year|morning|afternoon|evening|weekend|season)|(?:last|next) (?:week|month|night)"
    r"|date|weather|forecast|temperature outside|news|headlines?|prices?|stocks?|share price|exchange rates?"
    r"|scores?|standings|traffic|schedule|opening hours|available|in stock|up to date|still"
    r"|heute|morgen|gestern|jetzt|aktuell\w*|wetter|nachrichten|aujourd'hui|demain|maintenant|actuel\w*|météo"
    r"|hoy|mañana|ahora|noticias|clima|hôm nay|ngày mai|bây giờ|hiện tại|mới nhất|thời tiết|giá)\b"
    r"|今日|今天|現在|现在|最新|天気|天气|오늘|지금|сегодня|сейчас|погода",
    re.IGNORECASE,
)


def lifetime(question: str, said: Cache, wish: Wishes = NONE) -> float:
    """Seconds that the answer to this question may be given again; 0 = it is not stored."""
    text = question[-TEXT_READ:]
    if wish.ttl is not None:
        return wish.ttl
    if _CHANCE.search(text):
        return 0.0
    return min(said.ttl, said.ttl_passing) if _PASSING.search(text) else said.ttl


def unfit(request: Request, said: Cache, wish: Wishes) -> bool:
    """Whether this request is none for a cache, without a look at its text."""
    if request.kind == "rerank" or not (wish.read or wish.write):
        return True
    body = request.body
    if bytes(body.get("n", b"1")) not in (b"1", b"null"):
        return True  # several answers to choose from would be the same one
    if request.stream and bytes(body.get("logprobs", b"")) not in (b"", b"false", b"null"):
        return True  # probabilities travel in other places in a stream than in a JSON answer
    temperature = bytes(body.get("temperature", b"null"))
    if temperature == b"null":
        return False
    try:
        return not float(temperature) <= said.max_temperature
    except ValueError:
        return True  # the provider will say what is wrong with it
