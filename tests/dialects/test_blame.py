"""What refusals mean: the provider's own rules first, then what HTTP says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import errors
from potluck.dialects.blame import blame, message
from potluck.types import Behaviour, Blame

PLAIN = Behaviour()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.NotUnderstood),
        (401, errors.Denied),
        (402, errors.OutOfCredit),
        (403, errors.Denied),
        (404, errors.Gone),
        (410, errors.Gone),
        (413, errors.NeverFits),
        (418, errors.NotUnderstood),
        (422, errors.NotUnderstood),
        (429, errors.RateLimited),
        (498, errors.Busy),
        (500, errors.Unavailable),
        (502, errors.Unavailable),
        (503, errors.Busy),
        (302, errors.Unavailable),
    ],
)
def test_without_a_rule_the_status_decides(status: int, kind: type[errors.TargetFailed]) -> None:
    failure = blame(status, [], b"{}", PLAIN)
    assert type(failure) is kind
    assert failure.status == status


def test_a_rule_of_the_provider_comes_before_the_status() -> None:
    how = Behaviour(blames=(Blame(429, "day", "tokens per day", "tokens"), Blame(429, "no_money", "1113")))
    day = blame(429, [], b'{"error":{"message":"on tokens per day (TPD): Limit 200000"}}', how)
    assert isinstance(day, errors.RateLimited)
    assert (day.means, day.unit) == ("day", "tokens")
    assert isinstance(blame(429, [], b'{"error":{"code":"1113"}}', how), errors.OutOfCredit)
    assert isinstance(blame(429, [], b"{}", how), errors.RateLimited)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ([(b"retry-after", b"7")], b"", 7.0),
        ([], b'{"error":{"message":"Please try again in 11m0.528s."}}', 660.528),
        ([], b'{"details":[{"retryDelay": "23s"}]}', 23.0),
        ([], b"Please wait 5631 seconds before retrying.", 5631.0),
        ([], b'{"error":{"message":"slow down"}}', None),
        ([(b"retry-after", b"soon")], b"", None),
    ],
)
def test_the_retry_hint_is_read_from_header_or_text(
    headers: list[tuple[bytes, bytes]], body: bytes, seconds: float | None
) -> None:
    assert blame(429, headers, body, PLAIN).retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"This model\'s maximum context length is 1024 tokens"}}',
        b'{"error":{"code":400,"type":"exceed_context_size_error","message":"request exceeds it"}}',
        b'{"error":{"code":"context_length_exceeded","message":"too big"}}',
    ],
)
def test_a_prompt_too_long_is_told_apart_from_a_bad_request(body: bytes) -> None:
    assert isinstance(blame(400, [], body, PLAIN), errors.ContextExceeded)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error":{"message":"a"}}', "a"),
        ('{"error":"a"}', "a"),
        ('[{"error":{"message":"a"}}]', "a"),
        ('{"object":"error","message":"a"}', "a"),
        ('{"success":false,"errors":[{"code":3036,"message":"a"}]}', "a"),
        ('{"status":429,"title":"a"}', "a"),
        ('{"detail":"a"}', "a"),
        ("a", "a"),
        ("<html>a</html>", ""),
        ("{broken", ""),
    ],
)
def test_the_sentence_is_found_in_every_known_shape(body: str, said: str) -> None:
    assert message(body) == said


def test_a_key_that_a_provider_repeats_is_not_repeated_by_us() -> None:
    assert "gsk_abcdefghijklmnopqrstuvwxyz" not in message(
        '{"error":"bad key gsk_abcdefghijklmnopqrstuvwxyz"}'
    )


@given(st.integers(300, 599), st.binary(max_size=300))
def test_any_refusal_becomes_a_failure_of_the_target(status: int, body: bytes) -> None:
    assert isinstance(blame(status, [], body, PLAIN), errors.TargetFailed)
