"""What a cosine does not see: whether two questions differ in a number, a name, a "not", a unit or a direction. Pure.

    >>> against("How far is 10 miles in km?", "How far is 10 km in miles?")
    'units'

Rules: the guard only refuses. A refusal that was not needed costs one call, a hit that should have been refused costs
a wrong answer: in doubt it refuses. It reads words, not grammar, and knows English best; of other scripts it compares
numbers, quotations and names.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import msgspec

from potluck.stages.guard_words import (
    ASKS,
    AWAY,
    COMPARED,
    ENTITIES,
    FILLERS,
    NEGATIONS,
    NUMBERS,
    OPPOSITES,
    TOWARDS,
    UNITS,
)

_QUOTED = re.compile(
    r"```.*?```|`[^`\n]+`|\"[^\"\n]+\"|“[^”\n]+”|«[^»\n]+»|(?<!\w)'[^'\n]+'(?!\w)", re.DOTALL
)
_WORD = re.compile(
    r"->|→|[$€£¥%]|[+-]?\d[\d.,:/]*\d|\d+|[A-Za-z]\+\+|[A-Za-z]#|[^\W\d_]+(?:['’.@_-]?[^\W_]+)*", re.UNICODE
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_GLUED = re.compile(r"^(\d+(?:[.,]\d+)?)([a-zA-Z%]+)$")
_ROMAN = re.compile(r"^[IVX]+$")
_ENDS = frozenset(".?!:;\n")


class Marks(msgspec.Struct, frozen=True):
    """Of one question: all that must be the same in another one before its answer may be given."""

    quoted: tuple[str, ...]
    numbers: tuple[str, ...]  # sorted
    measured: tuple[tuple[str, str], ...]  # each number with the unit that follows it, sorted
    units: tuple[str, ...]  # sorted
    names: frozenset[str]
    entities: frozenset[str]
    negated: bool
    asks: frozenset[str]
    roles: tuple[tuple[str, int], ...]  # content words after "to" (1), after "from" or before "to" (-1)
    words: tuple[str, ...]  # content words, as they come
    genitive: int  # how often "of" or "'s"-less order says who belongs to whom
    all: frozenset[str]
    line: str  # every word in lower case, for what the other one quotes


def against(one: str, other: str) -> str:
    """Why the answer to the one is none to the other: quotation | numbers | units | names | negation | asked |
    opposite | direction | order. "" = nothing speaks against it."""
    return conflict(marks(one), marks(other))


def conflict(a: Marks, b: Marks) -> str:
    """The same for marks that were taken before."""
    if not (all(map(b.line.__contains__, a.quoted)) and all(map(a.line.__contains__, b.quoted))):
        return "quotation"
    if a.numbers != b.numbers:
        return "numbers"
    if a.measured != b.measured or (a.measured and a.units != b.units):
        return "units"
    if a.entities != b.entities or not (a.names <= b.all and b.names <= a.all):
        return "names"
    if a.negated != b.negated:
        return "negation"
    if a.asks and b.asks and not a.asks & b.asks:
        return "asked"
    if _opposite(a.all, b.all):
        return "opposite"
    if _turned(a, b):
        return "direction"
    return "order" if _reordered(a, b) else ""


def marks(text: str) -> Marks:
    quoted = tuple(_line(_THOUSANDS.sub("", each)) for each in _QUOTED.findall(text))
    tokens = _tokens(_THOUSANDS.sub("", text))
    lower = [token.lower() for token, _ in tokens]
    plain = [word.replace("'", "").replace("’", "") for word in lower]
    numbers = [NUMBERS.get(word, word) for word in plain if _is_number(word)]
    every = frozenset(word.removesuffix("'s").removesuffix("’s") for word in lower) | frozenset(plain)
    return Marks(
        quoted=quoted,
        numbers=tuple(sorted(numbers)),
        measured=tuple(sorted(_measured(plain))),
        units=tuple(sorted(UNITS[word] for word in plain if word in UNITS)),
        names=_names(tokens),
        entities=every & ENTITIES,
        negated=any(word in NEGATIONS or word.endswith(("n't", "n’t")) for word in (*lower, *plain)),
        asks=frozenset(_asks(plain)),
        roles=tuple(_roles(plain)),
        words=tuple(_stem(word) for word in plain if word not in FILLERS),
        genitive=plain.count("of"),
        all=every,
        line=f" {' '.join(lower)} ",
    )


def _line(text: str) -> str:
    return f" {' '.join(word.lower() for word, _ in _tokens(text))} "


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Each word with whether it begins a sentence; a unit that is glued to its number ("10km") is its own word."""
    found: list[tuple[str, bool]] = []
    for match in _WORD.finditer(text):
        before = text[: match.start()].rstrip(" \t\"'(“«")
        first = not before or before[-1] in _ENDS
        glued = _GLUED.match(match.group())
        follows = text[match.end() : match.end() + 1]
        if glued is not None and glued.group(2).lower() in UNITS:
            found += [(glued.group(1), first), (glued.group(2), False)]
        else:
            found.append((match.group().rstrip(".,:/") if not follows else match.group(), first))
    return _ungrouped(found)


def _ungrouped(tokens: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """ "10km" is one match of digits and one of letters: nothing to do but to keep them apart."""
    return [(token, first) for token, first in tokens if token]


def _is_number(word: str) -> bool:
    return word in NUMBERS or any(character.isdigit() for character in word)


def _measured(words: list[str]) -> list[tuple[str, str]]:
    """(10, km) for "10 km" and for "$10"."""
    found = []
    for n, word in enumerate(words):
        if not _is_number(word):
            continue
        after = UNITS.get(words[n + 1]) if n + 1 < len(words) else None
        before = UNITS.get(words[n - 1]) if n and words[n - 1] in "$€£¥" else None
        if unit := before or after:
            found.append((NUMBERS.get(word, word), unit))
    return found


def _names(tokens: list[tuple[str, bool]]) -> frozenset[str]:
    """Words with a capital that no sentence begins with, or with digits among letters; in lower case."""
    found = set()
    capitals = sum(token[:1].isupper() for token, _ in tokens)
    shouted = len(tokens) > 2 and capitals > 0.7 * len(tokens)  # a headline, or someone shouts
    for n, (token, first) in enumerate(tokens):
        bare = token.removesuffix("'s").removesuffix("’s")
        lower = bare.lower()
        letters = any(character.isalpha() for character in bare)
        if letters and any(character.isdigit() for character in bare):
            found.add(lower)
        elif _ROMAN.match(bare) and n and tokens[n - 1][0][:1].isupper() and not tokens[n - 1][1]:
            found.add(lower)  # the numeral of "World War I", not the pronoun
        elif bare[:1].isupper() and bare != "I" and not shouted and lower not in FILLERS:
            inside = any(character.isupper() for character in bare[1:])
            if not first or inside:
                found.add(lower)
    return frozenset(word for word in found if not word.startswith(("i'", "i’")))


def _asks(words: list[str]) -> list[str]:
    pairs = [f"{one} {two}" for one, two in pairwise(words)]
    return [ASKS[each] for each in (*words, *pairs) if each in ASKS]


def _roles(words: list[str]) -> list[tuple[str, int]]:
    """Where things go to and come from, by the nearest content word on either side of "to", "from" and "than"."""
    found: list[tuple[str, int]] = []
    for n, word in enumerate(words):
        if word in TOWARDS or word in COMPARED:
            sign = 1
        elif word in AWAY:
            sign = -1
        else:
            continue
        after = next((w for w in words[n + 1 : n + 4] if w not in FILLERS), None)
        before = next((w for w in reversed(words[max(0, n - 3) : n]) if w not in FILLERS), None)
        if after is not None:
            found.append((UNITS.get(after, _stem(after)), sign))
        if before is not None and sign > 0 and after is not None:
            found.append((UNITS.get(before, _stem(before)), -sign))
    return found


def _opposite(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether one says "enable" where the other says "disable"; who says both compares them."""
    for word in a - b:
        for other in OPPOSITES.get(word, ()):
            if other in b and other not in a:
                return True
    return False


def _turned(a: Marks, b: Marks) -> bool:
    """Whether something goes to where it comes from in the other question."""
    ours, theirs = _settled(a.roles), _settled(b.roles)
    return any(ours[word] * theirs[word] < 0 for word in ours.keys() & theirs.keys())


def _settled(roles: tuple[tuple[str, int], ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word, sign in roles:
        found[word] = found.get(word, 0) + sign
    return found


def _reordered(a: Marks, b: Marks) -> bool:
    """The same content words in another order: who bites whom. But "France's capital" is "the capital of France"."""
    if a.words == b.words or Counter(a.words) != Counter(b.words):
        return False
    if a.genitive != b.genitive:
        return False
    ours, theirs = _settled(a.roles), _settled(b.roles)
    moved = {one for one, other in zip(a.words, b.words, strict=True) if one != other}
    return not all(ours.get(word) and ours.get(word) == theirs.get(word) for word in moved)


def _stem(word: str) -> str:
    """Without the endings that inflect: enough to see one word in two forms, no more."""
    if word in UNITS:
        return UNITS[word]
    for ending in ("'s", "’s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
