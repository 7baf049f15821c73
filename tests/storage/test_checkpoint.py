from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.writing import ACCOUNT, fetch_log, noted
from tests.storing import open_test_store
from tocsin.storage import checkpoint, sqlite
from tocsin.storage.checkpoint import Checkpointer
from tocsin.storage.connection import Connection
from tocsin.storage.entries import fetch_counter
from tocsin.storage.migrate import ensure_schema
from tocsin.storage.readers import ReadConnection
from tocsin.storage.sqlite import SqliteDriver

pytestmark = pytest.mark.anyio


class Watched:
    """Tells of each checkpoint: its mode, whether it was complete, and whether writes were held meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._rounds: list[tuple[str, bool, bool]] = []
        self._happened = threading.Condition()
        watched, run = self, Checkpointer._run_pragma

        def observe(self: Checkpointer, connection: Connection, mode: str) -> bool:
            complete = run(self, connection, mode)
            with watched._happened:
                watched._rounds.append((mode, complete, self._pause.locked()))
                watched._happened.notify_all()
            return complete

        monkeypatch.setattr(Checkpointer, "_run_pragma", observe)

    async def until(self, wanted: Callable[[tuple[str, bool, bool]], bool]) -> tuple[str, bool, bool]:
        """Wait for a checkpoint that `wanted` accepts."""

        def wait() -> tuple[str, bool, bool]:
            with self._happened:
                assert self._happened.wait_for(lambda: any(map(wanted, self._rounds)), 30)
                return next(filter(wanted, self._rounds))

        return await asyncio.to_thread(wait)


async def test_the_log_file_is_emptied_when_it_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    async with open_test_store(tmp_path) as store:
        await store.writer.apply(noted(ACCOUNT, "a" * 100_000))
        await watched.until(lambda one: one[0] == "PASSIVE")
        await watched.until(lambda one: one[:2] == ("TRUNCATE", True))
        assert (tmp_path / "tocsin.db-wal").stat().st_size == 0
        await store.writer.apply(noted(ACCOUNT, "b"))
        assert len(await fetch_log(store, ACCOUNT)) == 2


async def test_writes_pause_when_the_log_file_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    driver = SqliteDriver(tmp_path / "x.db")
    await asyncio.to_thread(ensure_schema, driver)
    pause, committed = threading.Lock(), threading.Event()
    checkpointer = Checkpointer(driver, pause=pause, committed=committed, pause_bytes=0)
    connection = driver.open_writer()
    connection.cursor().execute("INSERT INTO counter VALUES (1, 1, 1)")
    checkpointer.start()
    committed.set()
    _, complete, paused = await watched.until(lambda one: one[0] == "TRUNCATE" and one[2])
    assert complete
    assert paused
    await asyncio.to_thread(checkpointer.stop)
    connection.close()


async def test_a_reader_holds_up_no_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    monkeypatch.setattr(checkpoint, "BUSY_TIMEOUT_MS", 20)
    release = threading.Event()
    async with open_test_store(tmp_path) as store:
        await store.writer.apply(noted(ACCOUNT, "a"))
        started = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(conn: ReadConnection) -> None:
            fetch_counter(conn, ACCOUNT)
            loop.call_soon_threadsafe(started.set)
            release.wait()

        holding = asyncio.ensure_future(store.readers.run(hold))
        await started.wait()
        await store.writer.apply(noted(ACCOUNT, "b"))
        await watched.until(lambda one: one[:2] == ("TRUNCATE", False))
        await store.writer.apply(noted(ACCOUNT, "c"))
        release.set()
        await holding
        await watched.until(lambda one: one[:2] == ("TRUNCATE", True))


async def test_a_library_with_the_wal_reset_bug_is_served_under_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    monkeypatch.setattr(sqlite, "load_module", lambda: sqlite3)
    monkeypatch.setattr(sqlite, "has_wal_reset_bug", lambda _: True)
    async with open_test_store(tmp_path) as store:
        assert store.library.module == "sqlite3"
        for batch in range(20):
            await asyncio.gather(*(store.writer.apply(noted(ACCOUNT, f"{batch}/{n}")) for n in range(50)))
        assert len(await fetch_log(store, ACCOUNT)) == 1_000
        await watched.until(lambda one: one[:2] == ("TRUNCATE", True))
        assert all(locked for *_, locked in watched._rounds)
