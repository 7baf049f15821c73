"""The store as the server opens it: writer, readers, ids, blobs and secrets over one folder. SQLite only, so far.

It wires the parts of storage and holds their order of start and end. No rules, no statements of nouns.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from tocsin.domain.clock import Clock
from tocsin.storage.blob_folder import BlobFolder
from tocsin.storage.blobs import Blobs
from tocsin.storage.checkpoint import Checkpointer
from tocsin.storage.ids import Ids
from tocsin.storage.lock import FolderLock
from tocsin.storage.migrate import ensure_schema
from tocsin.storage.readers import Readers
from tocsin.storage.secrets import fetch_or_make_secret
from tocsin.storage.sqlite import SqliteDriver, SqliteLibrary
from tocsin.storage.unit import CommitListener
from tocsin.storage.writer import Writer

DATABASE = "tocsin.db"
BLOBS = "blobs"


class Store:
    """One open store. Made by `open_store`, in the event loop that uses it."""

    def __init__(self, parts: _Opened, writer: Writer, readers: Readers, checkpointer: Checkpointer, clock: Clock):
        self.writer = writer
        self.readers = readers
        self.ids = Ids(writer, readers)
        self.blobs = Blobs(parts.blob_folder, writer, readers, clock)
        self.library: SqliteLibrary = parts.driver.library
        self._lock = parts.lock
        self._checkpointer = checkpointer

    async def secret(self, name: str, size: int = 32) -> bytes:
        """Return the secret `name` of this store, made when it is first asked for and the same ever after."""
        return await fetch_or_make_secret(self.writer, self.readers, name, size)

    def lost_thread(self) -> str | None:
        """The name of a thread that has ended although the store is open, or None: nothing can be relied on then."""
        threads = (self.writer.thread, self._checkpointer.thread, *self.readers.threads)
        return next((one.name for one in threads if not one.is_alive()), None)

    async def close(self) -> None:
        """Write what waits, finish reads, and only then let another process have the folder."""
        await self.ids.close()
        await self.blobs.close()
        await self.writer.close()
        await self.readers.close()
        await asyncio.to_thread(self._checkpointer.stop)
        self._lock.release()


class _Opened:
    """What opening touches on disk: the lock, the database with its tables, the folder of blobs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # texts and secrets: for its owner alone
        self.lock = FolderLock(folder)
        try:
            # In a folder that others may enter the texts are still its owner's; SQLite's own files get this one's mode.
            (folder / DATABASE).touch(mode=0o600)
            self.driver = SqliteDriver(folder / DATABASE)
            ensure_schema(self.driver)
            self.blob_folder = BlobFolder(folder / BLOBS)
            self.blob_folder.prepare()
        except BaseException:
            self.lock.release()
            raise


async def open_store(
    folder: Path, *, clock: Clock, listener: CommitListener, on_group: Callable[[int, float], None] | None = None
) -> Store:
    """Open the store in `folder`, making it when it is not there. `listener` hears of every commit.

    `on_group` is told, on the loop, the units and the seconds of each group commit. Raises StoreInUse when another
    process has the folder open, and SchemaTooNew when a newer version has written it.
    """
    opened = await asyncio.to_thread(_Opened, folder)
    pause, committed = threading.Lock(), threading.Event()
    writer = Writer(opened.driver, clock, listener, pause=pause, committed=committed, on_group=on_group)
    readers = Readers(opened.driver)
    checkpointer = Checkpointer(opened.driver, pause=pause, committed=committed)
    writer.start()
    readers.start()
    checkpointer.start()
    return Store(opened, writer, readers, checkpointer, clock)
