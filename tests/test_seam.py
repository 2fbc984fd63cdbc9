"""Where a continuation joins what was said, and where it is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import seam
from potluck.seam import LEAST, LOOK, enough, join

SAID = "Peel the onions, fry them slowly"
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("before", "fresh", "shown"),
    [
        (SAID, " in butter, add the stock.", " in butter, add the stock."),
        (SAID, "in butter, add the stock.", " in butter, add the stock."),  # the space is put back
        (SAID, SAID + " in butter.", " in butter."),  # it started over
        (SAID, "fry them slowly in butter.", " in butter."),  # it repeated the last words
        (SAID + ".", "Then add the stock.", "Then add the stock."),
        (SAID, "Then add the stock.", None),  # a new sentence in the middle of one
        (SAID, "Sure! in butter.", None),
        (SAID, "Peel the garlic instead.", None),  # another answer
        (SAID, "   ", None),
        ("洋葱切碎，慢慢", "炒软。", "炒软。"),
    ],
)
def test_only_what_continues_is_joined(before: str, fresh: str, shown: str | None) -> None:
    got = join(before, fresh)
    assert got == shown if "洋" not in before else got is not None and got.strip() == shown


@given(TEXT, TEXT, st.integers(0, 200))
def test_what_was_shown_is_never_shown_again(before: str, rest: str, repeated: int) -> None:
    """Whoever repeats the end of what was said, or all of it, and then goes on adds exactly the rest."""
    tail = before[-repeated:] if repeated else ""
    if len(tail) < LEAST or not rest.strip():
        return
    got = join(before, tail + rest)
    assert got is None or (tail + rest).endswith(got.lstrip(" ") or got)
    if got is not None and len(before) >= LEAST:
        assert not (before + got).endswith(tail + tail + rest) or before.endswith(tail + tail)


@given(TEXT, TEXT)
def test_nothing_is_invented(before: str, fresh: str) -> None:
    got = join(before, fresh)
    assert got is None or fresh.endswith(got) or got == " " + fresh


@given(TEXT, TEXT)
def test_it_waits_no_longer_than_it_must(before: str, fresh: str) -> None:
    if len(fresh) > len(before) + LOOK:
        assert enough(before, fresh)


def test_a_continuation_that_may_be_starting_over_is_waited_for() -> None:
    before = "x" * 500
    assert not enough(before, "x" * 400)
    assert enough(before, "y" * LOOK)
    assert seam.join(before, before + " and on") == " and on"
