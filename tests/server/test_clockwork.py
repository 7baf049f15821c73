"""Due sources under a clock that jumps: in order, one after the other, and none held up by another's failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tocsin.domain.clock import SystemClock
from tocsin.server.clockwork import Clockwork

pytestmark = pytest.mark.anyio


class StillClock(SystemClock):
    """A wall clock that moves only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1_000

    def now_ms(self) -> int:
        return self.at

    def jump_to(self, at_ms: int) -> None:
        self.at = max(self.at, at_ms)


class Source:
    """Things due at given times; notes in `story` when it ran, and when it was done."""

    def __init__(self, name: str, story: list[str], clock: StillClock, *due: int) -> None:
        self.name, self.story, self.clock, self.due = name, story, clock, sorted(due)
        self.fails = False
        self.then: Callable[[], None] = lambda: None
        self.ran = asyncio.Event()

    def next_due_ms(self) -> int | None:
        return self.due[0] if self.due else None

    async def run_due(self) -> None:
        self.story.append(f"{self.name} at {self.clock.now_ms()}")
        self.ran.set()
        if self.fails:
            raise RuntimeError("a fault of ours")
        await asyncio.sleep(0)
        self.due = [at for at in self.due if at > self.clock.now_ms()]
        self.then()
        self.story.append(f"{self.name} done")


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def story() -> list[str]:
    return []


async def test_steps_through_due_times_in_order_and_awaits_the_work_of_each(
    clock: StillClock, story: list[str]
) -> None:
    first, second = Source("first", story, clock, 3_000, 5_000), Source("second", story, clock, 2_000, 5_000, 12_000)
    assert await Clockwork(clock, [first, second]).advance(10) == 11_000
    assert story == [
        "second at 2000",
        "second done",
        "first at 3000",
        "first done",
        "first at 5000",
        "first done",
        "second at 5000",
        "second done",
    ]
    assert second.due == [12_000]


async def test_work_that_another_brings_is_done_at_its_time(clock: StillClock, story: list[str]) -> None:
    worker, bringer = Source("worker", story, clock, 2_000), Source("bringer", story, clock, 2_000)
    bringer.then = lambda: worker.due.append(2_000)
    await Clockwork(clock, [worker, bringer]).advance(10)
    assert [line for line in story if "done" not in line] == ["worker at 2000", "bringer at 2000", "worker at 2000"]


async def test_what_is_overdue_comes_first_and_time_never_goes_back(clock: StillClock, story: list[str]) -> None:
    late = Source("late", story, clock, 10)
    assert await Clockwork(clock, [late]).advance(0) == 1_000
    assert story == ["late at 1000", "late done"]


async def test_a_source_that_fails_is_passed_over_and_tried_again_later(clock: StillClock, story: list[str]) -> None:
    failing, well = Source("failing", story, clock, 2_000), Source("well", story, clock, 3_000)
    failing.fails = True
    assert await Clockwork(clock, [failing, well]).advance(10) == 11_000
    assert story == ["failing at 2000", "well at 3000", "well done", "failing at 3000"]


async def test_self_driven_sources_are_stepped_through_but_not_run(clock: StillClock, story: list[str]) -> None:
    own, driven = Source("own", story, clock, 500, 2_000), Source("driven", story, clock, 500, 2_000)
    clockwork = Clockwork(clock, [driven], [own])
    running = asyncio.get_running_loop().create_task(clockwork.run())
    await driven.ran.wait()
    clockwork.stop()
    await running
    assert story == ["driven at 1000", "driven done"]
    await clockwork.advance(2)
    assert story[2:] == ["own at 1000", "own done", "own at 2000", "own done", "driven at 2000", "driven done"]


async def test_the_loop_goes_on_after_a_failure_and_looks_at_the_others(
    clock: StillClock, story: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.server.clockwork.LOOK_EVERY_S", 0.0)
    failing, well = Source("failing", story, clock, 500), Source("well", story, clock, 500)
    failing.fails = True
    clockwork = Clockwork(clock, [failing, well])
    running = asyncio.get_running_loop().create_task(clockwork.run())
    await well.ran.wait()
    failing.fails = False
    failing.ran.clear()
    await failing.ran.wait()
    clockwork.stop()
    await running
    assert failing.due == well.due == []


async def test_a_jump_waits_for_work_of_the_loop(clock: StillClock, story: list[str]) -> None:
    release = asyncio.Event()

    class Slow(Source):
        async def run_due(self) -> None:
            self.ran.set()
            await release.wait()
            await super().run_due()

    slow = Slow("slow", story, clock, 500, 2_000)
    clockwork = Clockwork(clock, [slow])
    running = asyncio.get_running_loop().create_task(clockwork.run())
    await slow.ran.wait()
    jump = asyncio.get_running_loop().create_task(clockwork.advance(5))
    await asyncio.sleep(0)
    assert clock.now_ms() == 1_000
    release.set()
    assert await jump == 6_000
    clockwork.stop()
    await running
    assert story == ["slow at 1000", "slow done", "slow at 2000", "slow done"]
