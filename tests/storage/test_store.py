from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.storing import RecordingListener, open_test_store
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.ids import AccountId, Seq, SubscriptionId
from tocsin.storage.entries import fetch_counter, fetch_entries
from tocsin.storage.unit import Applied, Draft, Unit

ACCOUNT = AccountId(400_000_001)


@pytest.mark.anyio
async def test_a_unit_is_durable_told_and_still_there_after_reopening(tmp_path: Path) -> None:
    listener = RecordingListener()
    unit = Unit(ACCOUNT, drafts=[Draft(SubscriptionChange, (SubscriptionId("s-1"),))] * 2)
    async with open_test_store(tmp_path, listener) as store:
        applied = await store.writer.apply(unit)
        assert applied == Applied(Seq(1), Seq(2), 1_800_000_000_000)
        assert await store.ids.take("message") == 100_000_000_001
        assert [change.seq for change in listener.commits[0].entries[ACCOUNT]] == [1, 2]
    async with open_test_store(tmp_path) as store:
        entries = await store.readers.run(fetch_entries, ACCOUNT, 0, 10)
        assert entries == listener.commits[0].entries[ACCOUNT]
        assert await store.readers.run(fetch_counter, ACCOUNT) == 2
        assert await store.ids.take("message") == 100_000_020_001


@pytest.mark.anyio
async def test_secrets_are_made_once_and_kept_and_the_folder_is_its_owners(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    async with open_test_store(folder) as store:
        made = await asyncio.gather(*(store.secret("uuid") for _ in range(5)), store.secret("other", 16))
        assert len(set(made)) == 2
        assert (len(made[0]), len(made[-1])) == (32, 16)
    async with open_test_store(folder) as store:
        assert await store.secret("uuid") == made[0]
    assert sys.platform == "win32" or folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="no modes there")
@pytest.mark.anyio
async def test_what_is_kept_in_an_open_folder_is_still_its_owners(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with open_test_store(tmp_path) as store:
        await store.secret("uuid")
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert modes == dict.fromkeys(("tocsin.db", "tocsin.db-shm", "tocsin.db-wal", "blobs"), 0)


@pytest.mark.anyio
async def test_a_listener_that_fails_leaves_nobody_waiting(tmp_path: Path) -> None:
    class Broken:
        def committed(self, _: object) -> None:
            raise LookupError("of the listener")

    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    async with open_test_store(tmp_path, Broken()) as store:
        unit = Unit(ACCOUNT, drafts=[Draft(SubscriptionChange, (SubscriptionId("s-1"),))])
        assert (await store.writer.apply(unit)).first_seq == 1
    asyncio.get_running_loop().set_exception_handler(None)
    assert [type(error) for error in errors] == [LookupError]


@pytest.mark.anyio
async def test_a_thread_that_has_ended_is_named(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        assert store.lost_thread() is None
        await store.readers.close()
        assert store.lost_thread() == "tocsin-reader-0"
