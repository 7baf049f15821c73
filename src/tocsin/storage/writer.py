"""The writer: one thread that merges the units that wait and commits them together.

All or nothing for each unit, one sync for the group. What is committed is told on the event loop: first to the
listener, then to those who wait. Holds no rules about what is written, and no seq across transactions.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from tocsin.domain.clock import Clock
from tocsin.domain.errors import Overloaded, StoreUnavailable
from tocsin.domain.ids import AccountId
from tocsin.storage.connection import Connection, Driver
from tocsin.storage.group import Backlog, Merged, Waiting, merge
from tocsin.storage.statement import Prepared, Statement, prepare
from tocsin.storage.unit import MAX_ROWS, Applied, CommitListener, Committed, Unit
from tocsin.storage.versions import Versions

MAX_WAITING = 16_384
MAX_WAITING_PER_ACCOUNT = 4_096
"""Units that wait, in all and of one account; one more is refused (Overloaded) before it queues."""

Outcome = Applied | Exception


class Writer:
    """Applies units for one event loop: made in the loop that will call `apply`. Answers `unit.Applies`."""

    def __init__(
        self,
        driver: Driver,
        clock: Clock,
        listener: CommitListener,
        *,
        pause: threading.Lock,
        committed: threading.Event,
        on_group: Callable[[int, float], None] | None = None,
    ) -> None:
        """Take `pause`, held while a group is written (whoever holds it stops writes), and `committed`, set after each.

        `on_group` is told, on the loop, the units and the seconds of each group.
        """
        self._driver = driver
        self._clock = clock
        self._listener = listener
        self._pause = pause
        self._committed = committed
        self._on_group = on_group
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        self._gathered: list[Waiting] = []
        self._waiting = 0
        self._waiting_of: dict[AccountId, int] = {}
        self._closed = False
        self._transactions = _Transactions(driver)
        self.thread = threading.Thread(target=self._run, name="tocsin-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    async def apply(self, unit: Unit) -> Applied:
        """See `unit.Applies`. A caller that is cancelled meanwhile leaves its unit waiting: it may still be written.

        Raises ValueError for a unit of more than MAX_ROWS rows, or with seq columns and no drafts.
        """
        rows = _size(unit)
        if self._closed:
            raise StoreUnavailable("the store is closed")
        account_id = unit.account_id
        of_account = self._waiting_of.get(account_id, 0)
        if self._waiting >= MAX_WAITING or of_account >= MAX_WAITING_PER_ACCOUNT:
            raise Overloaded
        self._waiting += 1
        self._waiting_of[account_id] = of_account + 1
        future: asyncio.Future[Applied] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(Waiting(unit, future, rows))
        return await future

    async def close(self) -> None:
        """Refuse new units, write those that wait, close the connection."""
        self._closed = True
        self._hand_over()
        self._inbox.put(None)
        await asyncio.to_thread(self.thread.join)

    # --- on the loop

    def _hand_over(self) -> None:
        """Give the thread what one turn of the loop brought, at once.

        One by one it would be woken for the first and commit that alone, while the others are still being made: a sync
        for each, and for each of its steps a fight with the loop for the interpreter's lock.
        """
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    def _resolve(self, group: Sequence[Waiting], outcomes: Sequence[Outcome], merged: Merged, seconds: float) -> None:
        waiting_of = self._waiting_of
        self._waiting -= len(group)
        for waiting in group:
            account_id = waiting.unit.account_id
            left = waiting_of[account_id] - 1
            if left:
                waiting_of[account_id] = left
            else:
                del waiting_of[account_id]
        try:
            if merged.entries or merged.work:
                self._listener.committed(Committed(merged.entries, merged.work))
        finally:  # a listener that fails must not leave anyone waiting for what is durable
            _tell(group, outcomes)
        if self._on_group is not None:
            self._on_group(len(group), seconds)

    # --- in the writer's thread

    def _run(self) -> None:
        backlog = Backlog()
        open_for_more = True
        while open_for_more or backlog:
            open_for_more = self._receive(backlog, open_for_more)
            if backlog:
                self._write(backlog.take_group())
        self._transactions.close()

    def _receive(self, backlog: Backlog, open_for_more: bool) -> bool:
        """Move what has arrived into `backlog`, waiting for something if that is empty; False once closed."""
        inbox = self._inbox
        arrived = inbox.qsize() if backlog else max(1, inbox.qsize())
        for _ in range(arrived if open_for_more else 0):
            gathered = inbox.get()
            if gathered is None:
                return False
            for waiting in gathered:
                backlog.add(waiting)
        return open_for_more

    def _write(self, group: list[Waiting]) -> None:
        """Write `group` in one transaction, or, after an unforeseen error, each of its units in its own."""
        started = time.perf_counter()
        with self._pause:
            try:
                outcomes, merged = self._transactions.run([one.unit for one in group], self._clock.now_ms())
            except Exception as error:
                if len(group) == 1 or isinstance(error, StoreUnavailable):
                    outcomes, merged = [error] * len(group), Merged()
                else:
                    outcomes, merged = [], None
        if merged is None:
            for waiting in group:
                self._write([waiting])
            return
        if not self._committed.is_set():
            self._committed.set()
        with suppress(RuntimeError):  # the loop has been closed meanwhile: nobody is left to tell
            self._loop.call_soon_threadsafe(self._resolve, group, outcomes, merged, time.perf_counter() - started)


class _Transactions:
    """The write connection and what a transaction does on it. Lives in the writer's thread."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._connection: Connection | None = None
        self._versions = Versions(driver.dialect)
        self._prepared: dict[Statement, Prepared] = {}

    def run(self, units: list[Unit], now_ms: int) -> tuple[list[Outcome], Merged]:
        """Write `units` in one transaction; return each one's outcome in order, and what became durable.

        Raises StoreUnavailable where the database can't be written, and whatever else was unforeseen; then nothing
        was written.
        """
        try:
            if self._connection is None:
                self._connection = self._driver.open_writer()
            cursor = self._connection.cursor()
            cursor.execute(self._driver.begin_write)
            refused = self._versions.refused(cursor, units)
            sound = [unit for place, unit in enumerate(units) if place not in refused] if refused else units
            merged = merge(sound, self._versions.counters(cursor, sound), now_ms)
            for statement, rows in merged.in_order():
                self._driver.write_rows(cursor, self._prepare(statement), rows)
            cursor.execute("COMMIT")
        except Exception as error:
            self._give_up()
            if self._driver.is_unavailable(error):
                raise StoreUnavailable(f"the database can't be written: {error}") from error
            raise
        applied = iter(merged.applied)
        return [refused.get(place) or next(applied) for place in range(len(units))], merged

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _give_up(self) -> None:
        """Roll back; a connection that can't even do that is closed, and the next transaction opens another."""
        if self._connection is None:
            return
        try:
            if self._driver.in_transaction(self._connection):
                self._connection.cursor().execute("ROLLBACK")
        except Exception:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def _prepare(self, statement: Statement) -> Prepared:
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = prepare(statement, self._driver.dialect)
        return prepared


def _tell(group: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
    for waiting, outcome in zip(group, outcomes, strict=True):
        if waiting.future.done():
            continue
        if isinstance(outcome, Exception):
            waiting.future.set_exception(outcome)
        else:
            waiting.future.set_result(outcome)


def _size(unit: Unit) -> int:
    """Return the rows that `unit` writes, having checked that the writer can take it."""
    rows = len(unit.drafts) + len(unit.claims)
    for write in unit.writes:
        rows += len(write.rows)
        if write.seq_columns and not unit.drafts:
            raise ValueError(f"{write.statement.name}: seq columns in a unit without entries")
    if rows > MAX_ROWS:
        raise ValueError(f"a unit of {rows} rows; at most {MAX_ROWS}")
    return rows
