from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.storage.writing import ACCOUNT, noted
from tests.storing import open_test_store
from tocsin.domain.errors import Overloaded, StoreUnavailable
from tocsin.storage import readers as readers_module
from tocsin.storage.entries import fetch_counter, fetch_entries
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import log_entry
from tocsin.storage.statement import Statement, insert_into

pytestmark = pytest.mark.anyio


async def test_a_read_sees_what_was_acknowledged_before_it(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        for number in range(1, 30):
            await store.writer.apply(noted(ACCOUNT, "a"))
            assert await store.readers.run(fetch_counter, ACCOUNT) == number


async def test_a_read_sees_one_snapshot(tmp_path: Path) -> None:
    looked, written = threading.Event(), threading.Event()

    def look_twice(conn: ReadConnection) -> tuple[int, int]:
        first = fetch_counter(conn, ACCOUNT)
        looked.set()
        written.wait()
        return first, fetch_counter(conn, ACCOUNT)

    async with open_test_store(tmp_path) as store:
        await store.writer.apply(noted(ACCOUNT, "a"))
        reading = asyncio.ensure_future(store.readers.run(look_twice))
        await asyncio.to_thread(looked.wait)
        await store.writer.apply(noted(ACCOUNT, "b"))
        assert await store.readers.run(fetch_counter, ACCOUNT) == 2
        written.set()
        assert await reading == (1, 1)


async def test_regression_a_row_of_many_leaves_no_snapshot_behind(tmp_path: Path) -> None:
    def fetch_first(conn: ReadConnection) -> object:
        return conn.one(Statement("fetch_every_seq", select(log_entry.c.seq).order_by(log_entry.c.seq), ()))

    async with open_test_store(tmp_path) as store:
        await store.writer.apply(noted(ACCOUNT, "a", "b", "c"))
        # As many as there are threads, so that each has read so.
        assert await asyncio.gather(*(store.readers.run(fetch_first) for _ in range(8))) == [(1,)] * 8
        await store.writer.apply(noted(ACCOUNT, "d"))
        counters = await asyncio.gather(*(store.readers.run(fetch_counter, ACCOUNT) for _ in range(8)))
        assert counters == [4] * 8


async def test_composed_and_prepared_reads_agree(tmp_path: Path) -> None:
    def fetch(conn: ReadConnection) -> tuple[Any, ...]:
        composed = select(log_entry.c.seq).where(log_entry.c.account_id == ACCOUNT, log_entry.c.seq.in_([1, 3, 9]))
        prepared = Statement("fetch_seqs", select(log_entry.c.seq).order_by(log_entry.c.seq).limit(2), ())
        return conn.select(composed.order_by(log_entry.c.seq)), conn.all(prepared), conn.one(prepared)

    async with open_test_store(tmp_path) as store:
        await store.writer.apply(noted(ACCOUNT, "a", "b", "c"))
        assert await store.readers.run(fetch) == ([(1,), (3,)], [(1,), (2,)], (1,))


async def test_an_error_is_the_callers_and_the_thread_goes_on(tmp_path: Path) -> None:
    def fail(_: ReadConnection) -> None:
        raise LookupError("mine")

    async with open_test_store(tmp_path) as store:
        for _ in range(5):
            with pytest.raises(LookupError, match="mine"):
                await store.readers.run(fail)
        assert await store.readers.run(fetch_entries, ACCOUNT, 0, 1) == []


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    def write(conn: ReadConnection) -> None:
        conn.all(insert_into(log_entry), (1,) * len(log_entry.columns))

    async with open_test_store(tmp_path) as store:
        with pytest.raises(StoreUnavailable, match="readonly"):
            await store.readers.run(write)


async def test_a_snapshot_is_not_held_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count_long(conn: ReadConnection) -> object:
        numbers = select(log_entry.c.seq).cte("numbers", recursive=True)
        return conn.select(select(func.count()).select_from(numbers.union_all(select(numbers.c.seq + 1))))

    def dawdle(conn: ReadConnection) -> object:
        conn.until = 0.0
        return fetch_counter(conn, ACCOUNT)

    async with open_test_store(tmp_path) as store:
        await store.writer.apply(noted(ACCOUNT, "a"))
        monkeypatch.setattr(readers_module, "HOLD_LIMIT_S", 0.05)
        for too_long in (count_long, dawdle):
            with pytest.raises(StoreUnavailable, match="held its snapshot"):
                await store.readers.run(too_long)
        assert await store.readers.run(fetch_counter, ACCOUNT) == 1


async def test_too_many_waiting_reads_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers_module, "MAX_WAITING", 2)
    async with open_test_store(tmp_path) as store:
        reads = [store.readers.run(fetch_counter, ACCOUNT) for _ in range(3)]
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
        assert outcomes[:2] == [0, 0]
        assert isinstance(outcomes[2], Overloaded)
        assert await store.readers.run(fetch_counter, ACCOUNT) == 0


async def test_a_closed_store_is_not_read(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        await store.readers.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.readers.run(fetch_counter, ACCOUNT)
