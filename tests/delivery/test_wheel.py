import asyncio
import heapq
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.delivery.wheel import Timer, TimerWheel


class Handle:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandLoop:
    """An event loop's timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[tuple[float, int, Handle]] = []
        self.made = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        self.made += 1
        handle = Handle(when, callback)
        heapq.heappush(self.handles, (when, self.made, handle))
        return handle  # type: ignore[return-value]  # all that the wheel uses of one

    @property
    def waiting(self) -> int:
        return sum(not handle.cancelled for _, _, handle in self.handles)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.handles and self.handles[0][0] <= end:
            when, _, handle = heapq.heappop(self.handles)
            self.now = max(self.now, when)
            if not handle.cancelled:
                handle.callback()
        self.now = end


@pytest.fixture
def loop() -> HandLoop:
    return HandLoop()


@pytest.fixture
def wheel(loop: HandLoop) -> TimerWheel:
    return TimerWheel(loop, slot_s=0.05)


def test_it_rings_once_never_early_and_at_most_a_slot_late(loop: HandLoop, wheel: TimerWheel) -> None:
    rung: list[float] = []
    Timer(wheel, lambda: rung.append(loop.now)).arm(loop.now + 1.02)
    loop.advance(1.0)
    assert rung == []
    loop.advance(5.0)
    assert len(rung) == 1
    assert 101.02 <= rung[0] <= 101.02 + 0.051


def test_armed_again_for_later_it_rings_then_and_makes_no_timer_meanwhile(loop: HandLoop, wheel: TimerWheel) -> None:
    rung: list[float] = []
    timer = Timer(wheel, lambda: rung.append(loop.now))
    timer.arm(loop.now + 10)
    for _ in range(1_000):
        timer.arm(loop.now + 10)
        loop.advance(0.001)
    assert loop.made == 1
    loop.advance(9.9)
    assert rung == []
    loop.advance(0.2)
    assert len(rung) == 1


def test_armed_again_for_earlier_it_rings_then_and_only_then(loop: HandLoop, wheel: TimerWheel) -> None:
    rung: list[float] = []
    timer = Timer(wheel, lambda: rung.append(loop.now))
    timer.arm(loop.now + 10)
    timer.arm(loop.now + 1)
    loop.advance(1.1)
    assert len(rung) == 1
    loop.advance(20)
    assert len(rung) == 1


def test_dropped_it_never_rings_and_the_loop_is_left_alone_in_the_end(loop: HandLoop, wheel: TimerWheel) -> None:
    rung: list[float] = []
    timer = Timer(wheel, lambda: rung.append(loop.now))
    timer.arm(loop.now + 1)
    timer.drop()
    loop.advance(2)
    assert rung == []
    assert loop.waiting == 0


def test_a_closed_wheel_rings_nothing(loop: HandLoop, wheel: TimerWheel) -> None:
    rung: list[float] = []
    Timer(wheel, lambda: rung.append(loop.now)).arm(loop.now + 1)
    wheel.close()
    loop.advance(2)
    assert rung == []


def test_one_that_breaks_does_not_hold_up_the_others(loop: HandLoop, wheel: TimerWheel) -> None:
    rung: list[str] = []

    def broken() -> None:
        raise RuntimeError("a bug")

    Timer(wheel, broken).arm(loop.now + 1)
    Timer(wheel, lambda: rung.append("same slot")).arm(loop.now + 1)
    Timer(wheel, lambda: rung.append("later")).arm(loop.now + 2)
    loop.advance(3)
    assert rung == ["same slot", "later"]


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(1, 300)), st.integers(0, 100))))
def test_whatever_is_armed_and_dropped_the_last_word_counts(steps: list[tuple[int, int | None, int]]) -> None:
    """Steps: a timer; hundredths of a second to arm it for, or None to replace it; hundredths that go by."""
    loop = HandLoop()
    wheel = TimerWheel(loop, slot_s=0.05)
    expected: dict[int, float] = {}

    def ring(number: int) -> None:
        due = expected.pop(number)
        assert due - 1e-9 <= loop.now <= due + 0.0501

    timers = [Timer(wheel, partial(ring, number)) for number in range(5)]
    for number, wait, passes in steps:
        if wait is None:
            expected.pop(number, None)
            timers[number].drop()
            timers[number] = Timer(wheel, partial(ring, number))
        else:
            expected[number] = loop.now + wait / 100
            timers[number].arm(expected[number])
        loop.advance(passes / 100)
        assert all(due > loop.now - 0.0501 for due in expected.values())
    loop.advance(10)
    assert expected == {}
    assert loop.waiting == 0
