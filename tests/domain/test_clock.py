from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clocks import ManualClock
from tocsin.domain.clock import EPOCH, SystemClock, to_datetime, to_ms

# From the epoch to the last millisecond that datetime knows.
MILLISECONDS = st.integers(0, 253_402_300_799_999)


@given(MILLISECONDS)
def test_a_time_survives_the_way_there_and_back(at_ms: int) -> None:
    assert to_ms(to_datetime(at_ms)) == at_ms


@given(MILLISECONDS, st.integers(0, 999))
def test_microseconds_are_cut_off(at_ms: int, micros: int) -> None:
    assert to_ms(to_datetime(at_ms) + timedelta(microseconds=micros)) == at_ms


def test_datetimes_are_aware_and_utc() -> None:
    assert to_datetime(0) == EPOCH == datetime(1970, 1, 1, tzinfo=UTC)
    assert to_datetime(1_500).tzinfo is UTC


def test_other_time_zones_are_understood() -> None:
    assert to_ms(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5_000)
    assert (clock.now_ms(), clock.monotonic()) == (5_000, 0.0)
    assert (clock.now_ms(), clock.monotonic()) == (5_000, 0.0)
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic()) == (6_500, 1.5)


def test_wall_time_never_goes_back() -> None:
    manual, system = ManualClock(5_000), SystemClock()
    manual.jump_to(4_000)
    assert (manual.now_ms(), manual.monotonic()) == (5_000, 0.0)
    before = system.now_ms()
    system.jump_to(0)
    assert system.now_ms() >= before


def test_a_jump_moves_wall_time_and_leaves_monotonic_time_alone() -> None:
    clock = SystemClock()
    wall, monotonic = clock.now_ms(), clock.monotonic()
    clock.jump_to(wall + 86_400_000)
    assert clock.now_ms() >= wall + 86_400_000
    assert clock.monotonic() - monotonic < 3_600


def test_the_system_clock_is_the_machines() -> None:
    assert SystemClock().now_ms() == pytest.approx(time.time() * 1000, abs=60_000)
