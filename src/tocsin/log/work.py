"""Run the work rows of this process when they are due: claim, hand to the kind's worker, try again when that fails.

The log's tail wakes it; a sweep at start and every two seconds finds what a lost wake-up or a crash left behind. A
claim is one unit that raises the row's epoch, so that a late answer of an earlier holder is void. Never knows what
work means.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from tocsin.domain.clock import Clock
from tocsin.domain.errors import Overloaded, Stale, StoreUnavailable
from tocsin.domain.ids import AccountId, WorkId
from tocsin.domain.retry import RetrySchedule, next_wait_ms
from tocsin.domain.work import WorkRow
from tocsin.storage.readers import Readers
from tocsin.storage.unit import Applies, Unit, WorkDue
from tocsin.storage.work import claim, fetch_due, fetch_work, postpone
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

SWEEP_S = 2.0
HORIZON_MS = 60_000
"""Rows due later than this are not kept in memory, only the time of the first of them."""
MAX_RUNNING = 64
"""Rows run at once; more wait in the order of their due times."""
STOP_S = 10.0
"""How long a stop waits for what runs; what is cut off then is found by the next sweep, its epoch raised."""

_RETRY = RetrySchedule(jitter=0.0)
_NO_ROLL = 0.5

_Key = tuple[AccountId, WorkId]


class WorkHandler(Protocol):
    """Does one kind of work."""

    async def run(self, row: WorkRow) -> None:
        """Do the work of a claimed row, and finish or postpone it in the unit that writes the result.

        May raise: the row is then tried again later, with one attempt more.
        """
        ...


class WorkLoop:
    """Runs due work. A tail's listener and a `domain.clock.DueSource`; `owner` names this process in claimed rows."""

    def __init__(
        self, readers: Readers, writer: Applies, clock: Clock, handlers: Mapping[str, WorkHandler], owner: str
    ) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._handlers = handlers
        self._owner = owner
        self._heap: list[tuple[int, _Key]] = []
        self._due: dict[_Key, int] = {}
        self._later_ms: int | None = None
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._starting = asyncio.Lock()
        self._stopping = False

    def work(self, account_id: AccountId, due: WorkDue) -> None:
        """Hear of a row that was written."""
        if due.kind in self._handlers and not self._stopping:
            self._schedule((account_id, WorkId(due.work_id)), due.due_ms)
            self._woken.set()

    def next_due_ms(self) -> int | None:
        """See DueSource. A row that is gone by then costs a look, nothing more.

        What is being worked on is due now: a clock that jumps must not overtake it.
        """
        if self._running or self._starting.locked():
            return self._clock.now_ms()
        return self._next_start_ms()

    def _next_start_ms(self) -> int | None:
        """When the next row is to be started."""
        self._drop_outdated()
        known = [at for at in (self._heap[0][0] if self._heap else None, self._later_ms) if at is not None]
        return min(known, default=None)

    async def run_due(self) -> None:
        """See DueSource: what becomes due by the work itself is done too."""
        await self._sweep()
        while True:
            await self._start_due()
            if not self._running:
                return
            await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)

    async def run(self) -> None:
        """Work until `stop`, then wait for what runs."""
        loop = asyncio.get_running_loop()
        sweep_at = loop.time()
        while not self._stopping:
            self._woken.clear()
            try:
                if loop.time() >= sweep_at:
                    sweep_at = loop.time() + SWEEP_S
                    await self._sweep()
                await self._start_due()
            except (StoreUnavailable, Overloaded) as busy:
                log.warning("work.waits", reason=str(busy))
            await self._pause(sweep_at - loop.time())
        if self._running:
            _, cut_off = await asyncio.wait(self._running.values(), timeout=STOP_S)
            for task in cut_off:
                task.cancel()
            await asyncio.gather(*cut_off, return_exceptions=True)

    def stop(self) -> None:
        """Start nothing new; `run` returns when what runs has ended."""
        self._stopping = True
        self._woken.set()

    async def _pause(self, longest_s: float) -> None:
        """Wait for the next due row, a wake-up, or `longest_s`."""
        due_ms = None if len(self._running) >= MAX_RUNNING else self._next_start_ms()
        wait_s = longest_s if due_ms is None else min(longest_s, (due_ms - self._clock.now_ms()) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, wait_s)):
                await self._woken.wait()

    def _schedule(self, key: _Key, due_ms: int) -> None:
        if due_ms > self._clock.now_ms() + HORIZON_MS:
            self._later_ms = due_ms if self._later_ms is None else min(due_ms, self._later_ms)
            self._due.pop(key, None)
        elif self._due.get(key) != due_ms:
            self._due[key] = due_ms
            heapq.heappush(self._heap, (due_ms, key))

    async def _sweep(self) -> None:
        due, self._later_ms = await self._readers.run(fetch_due, self._clock.now_ms() + HORIZON_MS)
        for account_id, one in due:
            key = (account_id, WorkId(one.work_id))
            if one.kind in self._handlers and key not in self._running:
                self._schedule(key, one.due_ms)

    async def _start_due(self) -> None:
        async with self._starting:
            keys = self._take_due()
            if not keys:
                return
            now_ms = self._clock.now_ms()
            try:
                rows = await self._readers.run(fetch_work, keys)
            except (StoreUnavailable, Overloaded):
                for key in keys:
                    self._schedule(key, now_ms)
                raise
            for row in rows:
                self._start(row, now_ms)

    def _start(self, row: WorkRow, now_ms: int) -> None:
        key = (row.account_id, row.work_id)
        if row.due_ms > now_ms:
            self._schedule(key, row.due_ms)
            return
        task = asyncio.create_task(self._run_row(row), name=f"work.{row.kind}")
        self._running[key] = task
        task.add_done_callback(partial(self._ended, key))

    def _take_due(self) -> list[_Key]:
        """Take from the heap the rows that are due, as many as may run."""
        keys: list[_Key] = []
        now_ms = self._clock.now_ms()
        while len(keys) + len(self._running) < MAX_RUNNING:
            self._drop_outdated()
            if not self._heap or self._heap[0][0] > now_ms:
                break
            _, key = heapq.heappop(self._heap)
            if key in self._running:
                continue  # it stays in _due, from where `_ended` schedules it again
            del self._due[key]
            keys.append(key)
        return keys

    def _drop_outdated(self) -> None:
        """Take from the heap's top what has been given another time since."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _ended(self, key: _Key, _: asyncio.Task[None]) -> None:
        del self._running[key]
        due_ms = self._due.pop(key, None)
        if due_ms is not None:
            self._schedule(key, due_ms)
        self._woken.set()

    async def _run_row(self, row: WorkRow) -> None:
        unit = Unit(row.account_id)
        claim(unit, row, self._owner)
        try:
            await self._writer.apply(unit)
        except Stale:
            return  # another holder was faster; if that one fails, a sweep finds the row
        except Exception as failed:
            log.warning("work.not_claimed", kind=row.kind, work_id=row.work_id, error=failed)
            return
        held = replace(row, epoch=row.epoch + 1)
        try:
            await self._handlers[row.kind].run(held)
        except Exception:
            log.exception("work.failed", kind=row.kind, work_id=row.work_id, attempts=row.attempts)
            await self._put_off(held)

    async def _put_off(self, row: WorkRow) -> None:
        """Give a row whose worker raised back, to be tried again; what it had made durable stays."""
        try:
            stored = await self._readers.run(fetch_work, [(row.account_id, row.work_id)])
            if not stored or stored[0].epoch != row.epoch:
                return
            attempts = stored[0].attempts + 1
            due_ms = self._clock.now_ms() + next_wait_ms(_RETRY, attempts, _NO_ROLL)
            unit = Unit(row.account_id)
            postpone(unit, replace(stored[0], attempts=attempts, due_ms=due_ms))
            await self._writer.apply(unit)
        except Exception as failed:
            log.warning("work.not_postponed", kind=row.kind, work_id=row.work_id, error=failed)
