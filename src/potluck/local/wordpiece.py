"""WordPiece as BERT's uncased models were trained with it, in the standard library alone.

Rules: the same pieces as the models' own tokenizer, or the vectors mean nothing. The usual wheel for this costs 45 MB
of dependencies and is slower on one short text (17 against 4.6 µs) than a dictionary look-up a word.
Source: Devlin et al. 2018, arXiv:1810.04805, and the vocabulary of google/bert-base-uncased (30,522 pieces,
Apache-2.0), which is `data/wordpieces.txt.gz`.
"""

from __future__ import annotations

import gzip
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

LONGEST_WORD = 100  # characters; a longer one is unknown as a whole
WORDS_KEPT = 20_000  # words whose pieces are remembered
START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"

# Blocks of CJK ideographs, each written without spaces: every character is a word of its own.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def shipped() -> list[str]:
    """The vocabulary that comes along, a piece at the index that is its number."""
    packed = files("potluck.local").joinpath("data", "wordpieces.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("utf-8").splitlines()


class WordPiece:
    """Text to piece numbers. Not for two threads at once: it remembers words."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._numbers: Mapping[str, int] = {piece: number for number, piece in enumerate(vocabulary)}
        self._start, self._end = self._numbers[START], self._numbers[END]
        self._unknown = self._numbers[UNKNOWN]
        self._seen: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str, limit: int) -> list[int]:
        """The numbers with start and end marks, `limit` of them at most; what is beyond is not read."""
        found = [self._start]
        for word in words(text):
            found.extend(self._pieces(word))
            if len(found) >= limit:
                break
        del found[limit - 1 :]
        found.append(self._end)
        return found

    def _pieces(self, word: str) -> tuple[int, ...]:
        known = self._seen.get(word)
        if known is None:
            if len(self._seen) >= WORDS_KEPT:
                self._seen.clear()
            known = self._seen[word] = self._split(word)
        return known

    def _split(self, word: str) -> tuple[int, ...]:
        """The longest piece that fits, then the longest of the rest; one gap makes the whole word unknown."""
        if len(word) > LONGEST_WORD:
            return (self._unknown,)
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._numbers.get(prefix + word[start:end])
                if number is not None:
                    break
            else:
                return (self._unknown,)
            found.append(number)
            start = end
        return tuple(found)


def words(text: str) -> Iterator[str]:
    """Lower-case words without accents; punctuation and ideographs are words of their own."""
    if text.isascii() and text.isprintable():
        yield from _split_marks(text.lower())
        return
    spaced = "".join(map(_cleaned, text))
    for each in spaced.split():
        bare = "".join(
            c for c in unicodedata.normalize("NFD", each.lower()) if unicodedata.category(c) != "Mn"
        )
        yield from _split_marks(bare)


def _split_marks(text: str) -> Iterator[str]:
    for word in text.split():
        if word.isalnum():
            yield word
            continue
        start = 0
        for n, character in enumerate(word):
            if _is_mark(character):
                if start < n:
                    yield word[start:n]
                yield character
                start = n + 1
        if start < len(word):
            yield word[start:]


def _is_mark(character: str) -> bool:
    code = ord(character)
    if code < 128:  # BERT counts every ASCII sign as punctuation, `$` and `^` too
        return 33 <= code <= 126 and not character.isalnum()
    return unicodedata.category(character)[0] == "P"


def _cleaned(character: str) -> str:
    code = ord(character)
    if character in "\t\n\r":
        return " "
    if code < 128 and 32 <= code < 127:
        return character
    category = unicodedata.category(character)
    if code in (0, 0xFFFD) or category in ("Cc", "Cf", "Co"):
        return ""
    if category == "Zs":
        return " "
    if any(low <= code <= high for low, high in IDEOGRAPHS):
        return f" {character} "
    return character
