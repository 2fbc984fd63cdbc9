"""The breaker: closed, open, half-open, and how it treats a provider that flaps."""

from hypothesis import given
from hypothesis import strategies as st

from potluck.health import FAILURES_TO_OPEN, FIRST_PAUSE, LONGEST_PAUSE, PROBE_PATIENCE, Health


def broken(health: Health, now: float) -> None:
    for _ in range(FAILURES_TO_OPEN):
        health.failed("t", now)


def test_an_unknown_target_is_admitted() -> None:
    assert Health().admits("t", 0.0)


def test_one_failure_does_not_open_the_breaker() -> None:
    health = Health()
    health.failed("t", 0.0)
    assert health.admits("t", 0.0)


def test_failures_in_a_row_open_it_and_nothing_is_sent_until_the_pause_is_over() -> None:
    health = Health()
    broken(health, 0.0)
    assert not health.admits("t", FIRST_PAUSE - 0.1)
    assert health.opens_at("t") == FIRST_PAUSE


def test_after_the_pause_exactly_one_probe_goes_out() -> None:
    health = Health()
    broken(health, 0.0)
    assert [health.admits("t", FIRST_PAUSE) for _ in range(5)] == [True, False, False, False, False]


def test_a_probe_that_succeeds_closes_it() -> None:
    health = Health()
    broken(health, 0.0)
    assert health.admits("t", FIRST_PAUSE)
    health.succeeded("t", 0.1)
    assert health.admits("t", FIRST_PAUSE)
    assert health.opens_at("t") == 0.0


def test_a_probe_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    health, now = Health(), 0.0
    broken(health, now)
    pauses = []
    for _ in range(10):
        pause = health.opens_at("t") - now
        pauses.append(pause)
        now = health.opens_at("t")
        assert health.admits("t", now)
        health.failed("t", now)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(pauses) == LONGEST_PAUSE


def test_a_probe_whose_client_left_lets_the_next_one_try() -> None:
    health = Health()
    broken(health, 0.0)
    assert health.admits("t", FIRST_PAUSE)
    health.released("t")
    assert health.admits("t", FIRST_PAUSE)


def test_a_probe_that_never_reports_back_is_forgotten() -> None:
    health = Health()
    broken(health, 0.0)
    assert health.admits("t", FIRST_PAUSE)
    assert health.admits("t", FIRST_PAUSE + PROBE_PATIENCE)


def test_a_success_between_failures_starts_the_count_over() -> None:
    health = Health()
    for _ in range(10):
        health.failed("t", 0.0)
        health.succeeded("t", 0.1)
    assert health.admits("t", 0.0)


@given(st.lists(st.booleans(), max_size=50))
def test_flakiness_stays_a_share(outcomes: list[bool]) -> None:
    health = Health()
    for number, ok in enumerate(outcomes):
        if ok:
            health.succeeded("t", 0.5)
        else:
            health.failed("t", float(number))
    assert 0.0 <= health.of("t").flakiness <= 1.0
    assert 0.0 <= health.of("t").first_s <= 0.5
