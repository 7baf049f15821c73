"""The store as the server opens it: writer, readers, ids, blobs and secrets over one folder. SQLite only, so far.

It wires the parts of storage and holds their order of start and end. No rules, no statements of nouns.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from tocsin.domain.clock import Clock
from tocsin.storage.checkpoint import Checkpointer
from tocsin.storage.ids import Ids
from tocsin.storage.migrate import create_tables
from tocsin.storage.readers import Readers
from tocsin.storage.sqlite import SqliteDriver
from tocsin.storage.unit import CommitListener
from tocsin.storage.writer import Writer

DATABASE = "tocsin.db"


class Store:
    """One open store. Made by `open_store`, in the event loop that uses it."""

    def __init__(self, writer: Writer, readers: Readers, ids: Ids, checkpointer: Checkpointer) -> None:
        self.writer = writer
        self.readers = readers
        self.ids = ids
        self._checkpointer = checkpointer

    async def close(self) -> None:
        """Write what waits, finish reads, release the folder."""
        await self.ids.close()
        await self.writer.close()
        await self.readers.close()
        await asyncio.to_thread(self._checkpointer.stop)


async def open_store(
    folder: Path, *, clock: Clock, listener: CommitListener, on_group: Callable[[int, float], None] | None = None
) -> Store:
    """Open the store in `folder`, making it when it is not there. `listener` hears of every commit."""
    driver = await asyncio.to_thread(_prepare, folder)
    pause, committed = threading.Lock(), threading.Event()
    writer = Writer(driver, clock, listener, pause=pause, committed=committed, on_group=on_group)
    readers = Readers(driver)
    checkpointer = Checkpointer(driver, pause=pause, committed=committed)
    writer.start()
    readers.start()
    checkpointer.start()
    return Store(writer, readers, Ids(writer, readers), checkpointer)


def _prepare(folder: Path) -> SqliteDriver:
    folder.mkdir(parents=True, exist_ok=True)
    driver = SqliteDriver(folder / DATABASE)
    connection = driver.open_writer()
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM sqlite_master")
    if not cursor.fetchone()[0]:
        create_tables(connection, driver)
    connection.close()
    return driver
