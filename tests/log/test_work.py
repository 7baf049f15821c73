import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clocks import ManualClock
from tests.storing import open_test_store
from tocsin.domain.ids import AccountId, WorkId
from tocsin.domain.work import WorkRow
from tocsin.log.work import HORIZON_MS, MAX_RUNNING, WorkLoop
from tocsin.storage.store import Store
from tocsin.storage.unit import Committed, Unit
from tocsin.storage.work import fetch_work, finish, insert_work, postpone

ACCOUNT = AccountId(7)
START = ManualClock().now_ms()
pytestmark = pytest.mark.anyio


class Tail:
    """Hands work on as the log's tail does, once it has a loop to hand it to."""

    def __init__(self) -> None:
        self.loop: WorkLoop | None = None

    def committed(self, commit: Committed) -> None:
        for account_id, due in commit.work:
            if self.loop is not None:
                self.loop.work(account_id, due)


class Worker:
    """Notes what it is given, does as `act` says, and finishes the row."""

    def __init__(self, store: Store, act: Callable[[WorkRow], WorkRow | None] = lambda _: None) -> None:
        self.store = store
        self.act = act
        self.seen: list[WorkRow] = []
        self.held = asyncio.Event()
        self.held.set()
        self.ran = asyncio.Event()
        self.most = self.now = 0

    async def run(self, row: WorkRow) -> None:
        self.seen.append(row)
        self.now += 1
        self.most = max(self.most, self.now)
        self.ran.set()
        await self.held.wait()
        self.now -= 1
        following = self.act(row)
        unit = Unit(row.account_id)
        if following is None:
            finish(unit, row)
        else:
            postpone(unit, following)
        await self.store.writer.apply(unit)


def row(number: int, due_ms: int = START, kind: str = "ring") -> WorkRow:
    return WorkRow(ACCOUNT, WorkId(number), kind, "target", "new", due_ms, 0, 0, b"{}")


async def put(store: Store, *rows: WorkRow) -> None:
    unit = Unit(ACCOUNT)
    for one in rows:
        insert_work(unit, one)
    await store.writer.apply(unit)


async def left(store: Store, *numbers: int) -> list[WorkRow]:
    return await store.readers.run(fetch_work, [(ACCOUNT, WorkId(number)) for number in numbers])


def make(store: Store, clock: ManualClock, worker: Worker, tail: Tail | None = None) -> WorkLoop:
    loop = WorkLoop(store.readers, store.writer, clock, {"ring": worker}, "here")
    if tail is not None:
        tail.loop = loop
    return loop


async def test_due_rows_run_once_and_later_ones_wait(tmp_path: Path) -> None:
    clock, tail = ManualClock(), Tail()
    async with open_test_store(tmp_path, tail, clock) as store:
        worker = Worker(store)
        loop = make(store, clock, worker, tail)
        await put(store, row(1), row(2, START + 500), row(3, START + HORIZON_MS * 3))
        await loop.run_due()
        assert [one.work_id for one in worker.seen] == [1]
        assert worker.seen[0].epoch == 1
        assert loop.next_due_ms() == START + 500
        clock.advance(0.5)
        await loop.run_due()
        assert [one.work_id for one in worker.seen] == [1, 2]
        assert loop.next_due_ms() == START + HORIZON_MS * 3
        clock.jump_to(START + HORIZON_MS * 3)
        await loop.run_due()
        assert [one.work_id for one in worker.seen] == [1, 2, 3]
        assert await left(store, 1, 2, 3) == []
        assert loop.next_due_ms() is None


async def test_what_is_being_worked_on_is_due_now_so_that_a_jumping_clock_waits_for_it(tmp_path: Path) -> None:
    clock, tail = ManualClock(), Tail()
    async with open_test_store(tmp_path, tail, clock) as store:
        worker = Worker(store)
        worker.held.clear()
        loop = make(store, clock, worker, tail)
        running = asyncio.create_task(loop.run())
        await put(store, row(1), row(2, START + 9_000))
        await worker.ran.wait()
        assert loop.next_due_ms() == START
        waiting = asyncio.create_task(loop.run_due())
        worker.held.set()
        await waiting
        assert loop.next_due_ms() == START + 9_000
        loop.stop()
        await running


async def test_rows_of_an_earlier_process_are_found_by_the_sweep(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        await put(store, row(1), row(2, kind="unknown here"))
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        worker = Worker(store)
        await make(store, clock, worker).run_due()
        assert [one.work_id for one in worker.seen] == [1]
        assert [one.work_id for one in await left(store, 1, 2)] == [2]


async def test_a_postponed_row_comes_again_with_what_it_stored(tmp_path: Path) -> None:
    clock, tail = ManualClock(), Tail()
    async with open_test_store(tmp_path, tail, clock) as store:
        worker = Worker(store, lambda one: replace(one, stage="old", due_ms=START) if one.stage == "new" else None)
        loop = make(store, clock, worker, tail)
        await put(store, row(1))
        await loop.run_due()
        assert [(one.stage, one.epoch) for one in worker.seen] == [("new", 1), ("old", 2)]
        assert await left(store, 1) == []


async def test_a_worker_that_raises_is_tried_again_with_growing_waits(tmp_path: Path) -> None:
    clock, tail = ManualClock(), Tail()
    async with open_test_store(tmp_path, tail, clock) as store:

        def fail_twice(one: WorkRow) -> None:
            if one.attempts < 2:
                raise RuntimeError("no")

        worker = Worker(store, fail_twice)
        loop = make(store, clock, worker, tail)
        await put(store, row(1))
        waits = []
        while await left(store, 1):
            before = clock.now_ms()
            clock.jump_to(loop.next_due_ms() or before)
            waits.append(clock.now_ms() - before)
            await loop.run_due()
        assert waits == [0, 1000, 2000]
        assert [one.attempts for one in worker.seen] == [0, 1, 2]


async def test_an_earlier_holder_can_no_longer_write(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        await put(store, row(1))
        slow, quick = Worker(store), Worker(store)
        slow.held.clear()
        first = asyncio.create_task(make(store, clock, slow).run_due())
        await slow.ran.wait()
        await make(store, clock, quick).run_due()
        assert [one.epoch for one in quick.seen] == [2]
        slow.held.set()
        await first
        assert await left(store, 1) == []


async def test_only_so_many_rows_run_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        worker = Worker(store)
        await put(store, *(row(number) for number in range(1, MAX_RUNNING * 2)))
        await make(store, clock, worker).run_due()
        assert len(worker.seen) == MAX_RUNNING * 2 - 1
        assert worker.most <= MAX_RUNNING


async def test_the_loop_wakes_for_new_work_and_a_stop_waits_for_what_runs(tmp_path: Path) -> None:
    clock, tail = ManualClock(), Tail()
    async with open_test_store(tmp_path, tail, clock) as store:
        worker = Worker(store)
        worker.held.clear()
        loop = make(store, clock, worker, tail)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(loop.run())
            await put(store, row(1))
            await worker.ran.wait()
            loop.stop()
            await put(store, row(2))
            assert not running.done()
            worker.held.set()
        assert [one.work_id for one in worker.seen] == [1]
        assert [one.work_id for one in await left(store, 1, 2)] == [2]
