"""A small pool of threads that read, each request from one snapshot opened after it arrived and released at return.

A snapshot is held two seconds at most. Nothing here writes or checkpoints.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import Select
from sqlalchemy.exc import DBAPIError

from tocsin.domain.errors import Overloaded, StoreUnavailable
from tocsin.storage.connection import Cursor, Driver
from tocsin.storage.statement import Prepared, Row, Statement, prepare

P = ParamSpec("P")
T = TypeVar("T")

HOLD_LIMIT_S = 2.0
MAX_WAITING = 4_096
"""Requests that wait for a thread; one more is refused (Overloaded) before it queues."""


class ReadConnection:
    """One snapshot, as a reading function sees it. Valid only until that function returns."""

    def __init__(self, cursor: Cursor, core: CoreConnection) -> None:
        self._cursor = cursor
        self._core = core
        self._dialect = core.dialect
        self._prepared: dict[Statement, Prepared] = {}
        self.until = 0.0

    def all(self, statement: Statement, row: Row = ()) -> list[Row]:
        """Return every row that `statement` gives for the values `row`."""
        self._run(statement, row)
        return self._cursor.fetchall()

    def one(self, statement: Statement, row: Row = ()) -> Row | None:
        """Return the first row that `statement` gives for the values `row`, or None."""
        self._run(statement, row)
        # All are fetched: a statement that is left half read holds its snapshot past the transaction's end.
        found = self._cursor.fetchall()
        return found[0] if found else None

    def select(self, query: Select[Any]) -> list[Row]:
        """Return every row of a composed query; what is compiled is kept for queries of the same shape."""
        self._check()
        return [tuple(row) for row in self._core.execute(query)]

    def _run(self, statement: Statement, row: Row) -> None:
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = prepare(statement, self._dialect)
        self._check()
        self._cursor.execute(prepared.sql, prepared.arrange((row,))[0])

    def _check(self) -> None:
        if time.monotonic() > self.until:
            raise StoreUnavailable(f"a read held its snapshot for more than {HOLD_LIMIT_S:g} s")


class _Request:
    """A function that waits for a thread, and whom to tell."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[ReadConnection], Any], future: asyncio.Future[Any]) -> None:
        self.function = function
        self.future = future


class Readers:
    """Reads on behalf of one event loop. Opened by `start`, in the loop that will call `run`."""

    def __init__(self, driver: Driver, threads: int = 2) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._waiting = 0
        self._closed = False
        self.threads = [
            threading.Thread(target=self._serve, name=f"tocsin-reader-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads; their connections open when first used."""
        for thread in self.threads:
            thread.start()

    async def run(self, function: Callable[Concatenate[ReadConnection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(conn, *args)` in a reader thread, inside one snapshot, and return its result.

        Raises what it raises; Overloaded when too many wait; StoreUnavailable when it held its snapshot too long or
        the database can't be read.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        try:
            self._requests.put(_Request(lambda conn: function(conn, *args, **kwargs), future))
            return await future
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Refuse new reads, finish those that wait, close the connections."""
        self._closed = True
        for _ in self.threads:
            self._requests.put(None)
        for thread in self.threads:
            await asyncio.to_thread(thread.join)

    def _serve(self) -> None:
        session: _Session | None = None
        while (request := self._requests.get()) is not None:
            if request.future.cancelled():
                continue
            result: Any = None
            error: Exception | None = None
            try:
                if session is None:
                    session = _Session(self._driver)
                result = session.read(request.function)
            except Exception as raised:
                error = self._meaning(raised)
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                self._loop.call_soon_threadsafe(_resolve, request.future, result, error)
        if session is not None:
            session.close()

    def _meaning(self, raised: Exception) -> Exception:
        # SQLAlchemy wraps what the driver raises in a composed query.
        error = raised.orig if isinstance(raised, DBAPIError) and isinstance(raised.orig, Exception) else raised
        if self._driver.is_interrupt(error):
            return StoreUnavailable(f"a read held its snapshot for more than {HOLD_LIMIT_S:g} s")
        if self._driver.is_unavailable(error):
            return StoreUnavailable(f"the database can't be read: {error}")
        return error


class _Session:
    """A reader thread's connection, in the two ways that it is used."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._connection = driver.open_reader()
        self._cursor = self._connection.cursor()
        self._core = driver.core(self._connection)
        self._reading = ReadConnection(self._connection.cursor(), self._core)

    def read(self, function: Callable[[ReadConnection], T]) -> T:
        """Run `function` inside a snapshot of its own."""
        self._reading.until = time.monotonic() + HOLD_LIMIT_S
        self._driver.limit(self._connection, self._reading.until)
        self._cursor.execute(self._driver.begin_read)
        try:
            return function(self._reading)
        finally:
            self._driver.limit(self._connection, None)
            if self._driver.in_transaction(self._connection):
                self._cursor.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._core.close()
        self._connection.close()


def _resolve(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
