"""Blobs: the bytes of attachments in a durable folder, each with a row of its own, written before anyone refers to it.

A key is the content's hash and a generation. The same content of one account is kept once. Only `collect` deletes: it
dooms the row where nothing refers to it, then removes the file, then the row; a unit that refers to a doomed row is
given back (Stale), and putting the content again makes the next generation. No blob is ever whole in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import NamedTuple, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from sqlalchemy import bindparam, delete, exists, select, tuple_, update

from tocsin.domain.clock import Clock
from tocsin.domain.errors import NotFound
from tocsin.domain.ids import AccountId
from tocsin.storage.blob_folder import BlobFolder, UnnamedBlob
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.schema import attachment, blob
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.unit import ABSENT, Applies, Expect, Unit

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
THREADS = 2
COLLECT_PAGE = 200
GENERATIONS = 4
"""Generations of one content that are looked at together; more than two at once are a rarity."""

INSERT_BLOB = insert_into(blob)
FETCH_GENERATIONS = Statement(
    "fetch_generations",
    select(blob.c.blob_key, blob.c.size, blob.c.doomed).where(
        blob.c.account_id == bindparam("of_account"),
        blob.c.blob_key.in_([bindparam(f"key_{number}") for number in range(GENERATIONS)]),
    ),
    ("of_account", *(f"key_{number}" for number in range(GENERATIONS))),
)
FETCH_BLOB_SIZE = Statement(
    "fetch_blob_size",
    select(blob.c.size).where(blob.c.account_id == bindparam("of_account"), blob.c.blob_key == bindparam("of_key")),
    ("of_account", "of_key"),
)
FETCH_BLOBS = Statement(
    "fetch_blobs",
    select(blob.c.account_id, blob.c.blob_key, blob.c.created_ms, blob.c.doomed)
    .where(tuple_(blob.c.account_id, blob.c.blob_key) > tuple_(bindparam("after_account"), bindparam("after_key")))
    .order_by(blob.c.account_id, blob.c.blob_key)
    .limit(bindparam("at_most")),
    ("after_account", "after_key", "at_most"),
)
DOOM_BLOB = Statement(
    "doom_blob",
    update(blob)
    .where(
        blob.c.account_id == bindparam("of_account"),
        blob.c.blob_key == bindparam("of_key"),
        # In the writer's transaction, so that a unit that refers to it comes wholly before or wholly after.
        ~exists().where(attachment.c.account_id == blob.c.account_id, attachment.c.blob_key == blob.c.blob_key),
    )
    .values(doomed=1),
    ("of_account", "of_key"),
)
DELETE_BLOB = Statement(
    "delete_blob",
    delete(blob).where(
        blob.c.account_id == bindparam("of_account"), blob.c.blob_key == bindparam("of_key"), blob.c.doomed == 1
    ),
    ("of_account", "of_key"),
)


class BlobRef(NamedTuple):
    """A durable blob: what attachment rows and units refer to. `size` in bytes."""

    key: str
    size: int


class Blobs:
    """Puts, opens and collects blobs on one event loop; files are touched in threads of its own."""

    def __init__(self, folder: BlobFolder, writer: Applies, readers: Readers, clock: Clock) -> None:
        self._folder = folder
        self._writer = writer
        self._readers = readers
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tocsin-blob")
        self._naming: WeakValueDictionary[tuple[AccountId, str], asyncio.Lock] = WeakValueDictionary()

    async def put(self, account_id: AccountId, content: bytes | AsyncIterable[bytes]) -> BlobRef:
        """Make `content` durable, row included, and return what refers to it.

        Raises as `apply` does; nothing that refers to it exists then, and the bytes have no row.
        """
        unnamed = await self._in_thread(self._folder.begin)
        try:
            if isinstance(content, bytes):
                await self._in_thread(unnamed.write, [content])
            else:
                await self._receive(unnamed, content)
            return await self._name(account_id, unnamed)
        finally:
            await asyncio.shield(self._in_thread(unnamed.discard))

    async def open(self, account_id: AccountId, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes of `key` in chunks. Raises NotFound, before the first, where there are none."""
        try:
            file = await self._in_thread(self._folder.path(account_id, key).open, "rb")
        except FileNotFoundError:
            raise NotFound(f"no blob {key}") from None
        try:
            while chunk := await self._in_thread(file.read, CHUNK_BYTES):
                yield chunk
        finally:
            file.close()

    async def size(self, account_id: AccountId, key: str) -> int:
        """Return the bytes that `key` has. Raises NotFound where it has no row."""
        row = await self._readers.run(_fetch_size, account_id, key)
        if row is None:
            raise NotFound(f"no blob {key}")
        return int(row[0])

    async def collect(self, created_before_ms: int) -> int:
        """Delete the blobs made before that time to which nothing refers; return how many.

        The time leaves room for a unit that is about to refer to what it has just put. Safe to be cut off anywhere:
        the next run goes on with what is doomed.
        """
        deleted = 0
        after: Row = (-1, "")
        while page := await self._readers.run(_fetch_page, after):
            after = page[-1][:2]
            old = [(row[0], row[1]) for row in page if not row[3] and row[2] < created_before_ms]
            if old:
                await self._doom(old)
            rows = await self._readers.run(_fetch_doomed, [(row[0], row[1]) for row in page])
            for account_id, key in rows:
                await self._delete(account_id, key)
            deleted += len(rows)
        return deleted

    async def remove_strays(self, older_than_s: float) -> int:
        """Delete files that have no row, as a crash between the two leaves them behind; return how many.

        Only files whose bytes are older than that. This is safe. A row is written only by `_name`, which holds the
        content's lock from its look for a row to the row it writes, and one process has the folder: under that lock,
        no row means that nobody is about to refer to the file. There is one exception: a `put` that was cancelled while
        its unit waited has let go of the lock, and its row may still come. Its file is new, since it was renamed just
        before the unit was queued; so a file's age is asked for once more under the lock, and no unit waits for hours.
        """
        removed = 0
        for account_id, group in await self._in_thread(self._folder.groups):
            keys = await self._in_thread(self._folder.old_keys, group, older_than_s)
            for start in range(0, len(keys), COLLECT_PAGE):
                for key in await self._readers.run(_fetch_unknown, account_id, keys[start : start + COLLECT_PAGE]):
                    removed += await self._remove_stray(account_id, key, older_than_s)
        return removed

    async def _remove_stray(self, account_id: AccountId, key: str, older_than_s: float) -> bool:
        lock = self._naming.setdefault((account_id, key.partition(".")[0]), asyncio.Lock())
        async with lock:
            if not await self._readers.run(_fetch_unknown, account_id, [key]):
                return False
            return await self._in_thread(self._folder.delete_old, account_id, key, older_than_s)

    async def close(self) -> None:
        """End the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _receive(self, unnamed: UnnamedBlob, content: AsyncIterable[bytes]) -> None:
        held: list[bytes] = []
        size = 0
        async for chunk in content:
            held.append(chunk)
            size += len(chunk)
            if size >= CHUNK_BYTES:
                await self._in_thread(unnamed.write, held)
                held, size = [], 0
        await self._in_thread(unnamed.write, held)

    async def _name(self, account_id: AccountId, unnamed: UnnamedBlob) -> BlobRef:
        digest = unnamed.digest
        lock = self._naming.setdefault((account_id, digest), asyncio.Lock())
        async with lock:  # the same content at the same time: the second finds the first's row
            ref = await self._readers.run(_fetch_live_or_free, account_id, digest)
            if ref.size is not None:
                return BlobRef(ref.key, ref.size)
            key = ref.key
            await self._in_thread(unnamed.move_to, self._folder.path(account_id, key))
            unit = Unit(account_id, expects=[Expect("blob", (key,), ABSENT)])
            unit.add(INSERT_BLOB, (account_id, key, unnamed.size, self._clock.now_ms(), 0))
            await self._writer.apply(unit)
            return BlobRef(key, unnamed.size)

    async def _doom(self, keys: list[tuple[AccountId, str]]) -> None:
        units: dict[AccountId, Unit] = {}
        for account_id, key in keys:
            unit = units.setdefault(account_id, Unit(account_id))
            unit.expects.append(Expect("blob", (key,), 0))
            unit.add(DOOM_BLOB, (account_id, key))
        for unit in units.values():
            await self._writer.apply(unit)

    async def _delete(self, account_id: AccountId, key: str) -> None:
        await self._in_thread(self._folder.delete, account_id, key)
        unit = Unit(account_id, expects=[Expect("blob", (key,), 1)])
        unit.add(DELETE_BLOB, (account_id, key))
        await self._writer.apply(unit)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))


class _Generation(NamedTuple):
    """A key of some content: of a live blob of `size` bytes, or free (None)."""

    key: str
    size: int | None


def _fetch_live_or_free(conn: ReadConnection, account_id: AccountId, digest: str) -> _Generation:
    for first in count(1, GENERATIONS):
        keys = [f"{digest}.{number}" for number in range(first, first + GENERATIONS)]
        found = {key: (size, doomed) for key, size, doomed in conn.all(FETCH_GENERATIONS, (account_id, *keys))}
        live = [_Generation(key, size) for key, (size, doomed) in found.items() if not doomed]
        free = [_Generation(key, None) for key in keys if key not in found]
        if live or free:
            return (live or free)[0]
    raise AssertionError("unreachable: count is endless")


def _fetch_size(conn: ReadConnection, account_id: AccountId, key: str) -> Row | None:
    return conn.one(FETCH_BLOB_SIZE, (account_id, key))


def _fetch_unknown(conn: ReadConnection, account_id: AccountId, keys: list[str]) -> list[str]:
    """Those of `keys` that have no row."""
    rows = conn.select(select(blob.c.blob_key).where(blob.c.account_id == int(account_id), blob.c.blob_key.in_(keys)))
    known = {row[0] for row in rows}
    return [key for key in keys if key not in known]


def _fetch_page(conn: ReadConnection, after: Row) -> list[Row]:
    return conn.all(FETCH_BLOBS, (*after, COLLECT_PAGE))


def _fetch_doomed(conn: ReadConnection, keys: list[tuple[AccountId, str]]) -> list[Row]:
    return conn.select(
        select(blob.c.account_id, blob.c.blob_key).where(
            tuple_(blob.c.account_id, blob.c.blob_key).in_(keys), blob.c.doomed == 1
        )
    )
