from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.clocks import ManualClock
from tests.storage.writing import ACCOUNT, OTHER, fetch_rows
from tests.storing import open_test_store
from tocsin.domain.errors import NotFound, Stale, StoreUnavailable
from tocsin.domain.ids import AccountId
from tocsin.storage.blobs import CHUNK_BYTES, BlobRef
from tocsin.storage.schema import attachment
from tocsin.storage.statement import insert_into
from tocsin.storage.store import Store
from tocsin.storage.unit import Unit

pytestmark = pytest.mark.anyio

INSERT_ATTACHMENT = insert_into(attachment)
LATER = 10**15


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_test_store(tmp_path) as opened:
        yield opened


async def read(store: Store, account_id: AccountId, key: str) -> bytes:
    return b"".join([chunk async for chunk in store.blobs.open(account_id, key)])


def referring(ref: BlobRef) -> Unit:
    unit = Unit(ACCOUNT, blobs=[ref.key])
    unit.add(INSERT_ATTACHMENT, (ACCOUNT, 1, 2, "MmsAttachment", "image/png", ref.size, None, ref.key))
    return unit


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "blobs").rglob("*") if path.is_file())


async def test_what_was_put_is_read_back_in_chunks_and_survives_reopening(tmp_path: Path) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 7)
    async with open_test_store(tmp_path) as store:
        ref = await store.blobs.put(ACCOUNT, content)
        assert ref == BlobRef(f"{sha256(content).hexdigest()}.1", len(content))
    async with open_test_store(tmp_path) as store:
        assert await store.blobs.size(ACCOUNT, ref.key) == len(content)
        chunks = [chunk async for chunk in store.blobs.open(ACCOUNT, ref.key)]
        assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 7]
        assert b"".join(chunks) == content


async def test_a_stream_and_its_bytes_are_one_blob(store: Store, tmp_path: Path) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 100_000

    refs = await asyncio.gather(*(store.blobs.put(ACCOUNT, stream()) for _ in range(5)))
    assert set(refs) == {await store.blobs.put(ACCOUNT, b"x" * 500_000)}
    assert len(await fetch_rows(store, "blob")) == 1
    assert files(tmp_path) == [refs[0].key]
    assert (await store.blobs.put(ACCOUNT, b"")).size == 0


async def test_accounts_do_not_share_blobs(store: Store) -> None:
    ref = await store.blobs.put(ACCOUNT, b"mine")
    with pytest.raises(NotFound):
        await read(store, OTHER, ref.key)
    with pytest.raises(NotFound):
        await store.blobs.size(OTHER, ref.key)


async def test_a_stream_that_breaks_leaves_nothing(store: Store, tmp_path: Path) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK_BYTES
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.blobs.put(ACCOUNT, stream())
    assert files(tmp_path) == []
    assert await fetch_rows(store, "blob") == []


async def test_what_a_crash_left_without_a_name_is_removed(tmp_path: Path) -> None:
    async with open_test_store(tmp_path):
        (tmp_path / "blobs" / "unnamed" / "left").write_bytes(b"x")
    async with open_test_store(tmp_path):
        assert files(tmp_path) == []


async def test_a_blob_whose_row_was_not_written_is_not_promised(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        await store.writer.close()
        with pytest.raises(StoreUnavailable):
            await store.blobs.put(ACCOUNT, b"late")
    async with open_test_store(tmp_path) as store:
        ref = await store.blobs.put(ACCOUNT, b"late")
        assert await read(store, ACCOUNT, ref.key) == b"late"


async def test_the_collector_deletes_only_what_is_old_and_not_referred_to(store: Store, tmp_path: Path) -> None:
    kept = await store.blobs.put(ACCOUNT, b"kept")
    lost = await store.blobs.put(ACCOUNT, b"lost")
    await store.writer.apply(referring(kept))
    assert await store.blobs.collect(ManualClock().now_ms()) == 0  # none is older than now
    assert await store.blobs.collect(LATER) == 1
    assert [row[1] for row in await fetch_rows(store, "blob")] == [kept.key]
    assert files(tmp_path) == [kept.key]
    with pytest.raises(NotFound):
        await read(store, ACCOUNT, lost.key)


async def test_a_unit_that_refers_to_a_collected_blob_is_given_back(store: Store) -> None:
    ref = await store.blobs.put(ACCOUNT, b"content")
    await store.blobs.collect(LATER)
    with pytest.raises(Stale):
        await store.writer.apply(referring(ref))
    again = await store.blobs.put(ACCOUNT, b"content")
    await store.writer.apply(referring(again))
    assert await store.blobs.collect(LATER) == 0
    assert await read(store, ACCOUNT, again.key) == b"content"


async def test_content_of_a_doomed_blob_is_put_again_under_the_next_generation(store: Store, tmp_path: Path) -> None:
    ref = await store.blobs.put(ACCOUNT, b"content")
    await store.blobs._doom([(ACCOUNT, ref.key)])  # where a collector that is killed then stops
    with pytest.raises(Stale):
        await store.writer.apply(referring(ref))
    again = await store.blobs.put(ACCOUNT, b"content")
    assert again.key == ref.key.replace(".1", ".2")
    await store.writer.apply(referring(again))
    assert await store.blobs.collect(0) == 1  # goes on with the doomed one, whatever its age
    assert files(tmp_path) == [again.key]


async def test_a_unit_and_the_collector_at_once_never_lose_a_referred_blob(store: Store) -> None:
    for number in range(20):
        content = str(number).encode()
        ref = await store.blobs.put(ACCOUNT, content)
        unit = Unit(ACCOUNT, blobs=[ref.key])
        unit.add(INSERT_ATTACHMENT, (ACCOUNT, 1, number, "MmsAttachment", "text/plain", ref.size, None, ref.key))
        outcome, _ = await asyncio.gather(store.writer.apply(unit), store.blobs.collect(LATER), return_exceptions=True)
        if isinstance(outcome, Stale):
            with pytest.raises(NotFound):
                await read(store, ACCOUNT, ref.key)
        else:
            assert await read(store, ACCOUNT, ref.key) == content


async def test_the_collector_passes_many_pages(store: Store) -> None:
    kept = [await store.blobs.put(ACCOUNT, f"kept {number}".encode()) for number in range(3)]
    for place, ref in enumerate(kept):
        unit = Unit(ACCOUNT, blobs=[ref.key])
        unit.add(INSERT_ATTACHMENT, (ACCOUNT, 1, place, "MmsAttachment", "text/plain", ref.size, None, ref.key))
        await store.writer.apply(unit)
    await asyncio.gather(*(store.blobs.put(account, b"%d" % n) for n in range(130) for account in (ACCOUNT, OTHER)))
    assert await store.blobs.collect(LATER) == 260
    assert {row[1] for row in await fetch_rows(store, "blob")} == {ref.key for ref in kept}


async def test_files_without_a_row_go_when_they_are_old(store: Store, tmp_path: Path) -> None:
    kept = await store.blobs.put(ACCOUNT, b"kept")
    stray, fresh = [path_of(tmp_path, f"{sha256(content).hexdigest()}.1") for content in (b"stray", b"fresh")]
    for path in (stray, fresh):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left by a crash")
    for path in (stray, path_of(tmp_path, kept.key)):
        os.utime(path, (1, 1))
    assert await store.blobs.remove_strays(3600) == 1
    assert files(tmp_path) == sorted([kept.key, fresh.name])
    assert await read(store, ACCOUNT, kept.key) == b"kept"


async def test_a_file_that_is_being_given_a_row_is_no_stray(store: Store, tmp_path: Path) -> None:
    path = path_of(tmp_path, f"{sha256(b'content').hexdigest()}.1")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    os.utime(path, (1, 1))
    _, refs = await asyncio.gather(
        store.blobs.remove_strays(3600),
        asyncio.gather(*(store.blobs.put(ACCOUNT, b"content") for _ in range(3))),
    )
    assert {await read(store, ACCOUNT, ref.key) for ref in refs} == {b"content"}


def path_of(folder: Path, key: str) -> Path:
    return folder / "blobs" / str(ACCOUNT) / key[:2] / key
