from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.domain.retry import RetrySchedule, next_wait_ms

SCHEDULE = RetrySchedule()
MIDDLE = 0.5
"""The roll without jitter."""

FAILURES = st.integers(1, 10_000)
ROLLS = st.floats(0, 1, exclude_max=True)


def test_waits_double_from_one_second_to_a_minute() -> None:
    waits = [next_wait_ms(SCHEDULE, failures, MIDDLE) for failures in range(1, 9)]
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


@given(FAILURES, ROLLS)
def test_jitter_stays_within_its_share(failures: int, roll: float) -> None:
    plain = next_wait_ms(SCHEDULE, failures, MIDDLE)
    assert 0.8 * plain - 1 <= next_wait_ms(SCHEDULE, failures, roll) <= 1.2 * plain + 1


@given(FAILURES)
def test_rolls_spread_both_ways(failures: int) -> None:
    plain = next_wait_ms(SCHEDULE, failures, MIDDLE)
    assert next_wait_ms(SCHEDULE, failures, 0.0) < plain < next_wait_ms(SCHEDULE, failures, 0.999)


@given(FAILURES, ROLLS, st.floats(0, 1e12))
def test_retry_after_moves_it_later_but_never_past_the_longest_wait(failures: int, roll: float, wish_s: float) -> None:
    plain = next_wait_ms(SCHEDULE, failures, roll)
    asked = next_wait_ms(SCHEDULE, failures, roll, wish_s)
    assert plain <= asked <= max(plain, SCHEDULE.longest_ms)


def test_a_receivers_wish_is_honoured() -> None:
    assert next_wait_ms(SCHEDULE, 1, MIDDLE, 30.0) == 30_000


@pytest.mark.parametrize("wish_s", [0.0, -5.0])
def test_a_wish_for_less_is_not(wish_s: float) -> None:
    assert next_wait_ms(SCHEDULE, 3, MIDDLE, wish_s) == 4_000


@given(FAILURES, ROLLS)
def test_there_is_always_some_wait(failures: int, roll: float) -> None:
    assert next_wait_ms(RetrySchedule(first_ms=1, longest_ms=1, jitter=1.0), failures, roll) >= 1
