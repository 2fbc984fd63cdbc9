"""The ways providers write how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.durations import duration, retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("194ms", 0.194),
        ("1h23m45.6s", 5025.6),
        ("6m 11.52s", 371.52),
        ("26.28409242630005", 26.28409242630005),
        ("23s", 23.0),
        ("1d", 86400.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("5 apples", None),
    ],
)
def test_every_published_spelling_is_read(text: str, seconds: float | None) -> None:
    found = duration(text)
    assert found is None if seconds is None else found == pytest.approx(seconds)


def test_retry_after_may_be_a_date() -> None:
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40.0) == 60.0
    assert retry_after("Thu, 01 Jan 1970 00:00:10 GMT", 40.0) == 0.0
    assert retry_after("whenever", 40.0) is None


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59_999))
def test_a_composed_duration_reads_back(hours: int, minutes: int, ms: int) -> None:
    assert duration(f"{hours}h{minutes}m{ms / 1000}s") == pytest.approx(
        hours * 3600 + minutes * 60 + ms / 1000
    )


@given(st.text(max_size=40))
def test_no_text_crashes_it(text: str) -> None:
    found = duration(text)
    assert found is None or found >= 0
