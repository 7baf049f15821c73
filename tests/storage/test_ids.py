from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.storage.writing import fetch_rows
from tests.storing import open_test_store
from tocsin.domain.ids import MAX_ID
from tocsin.storage.ids import IdKind, Ids

pytestmark = pytest.mark.anyio


async def test_ids_rise_have_the_right_size_and_are_never_given_twice(tmp_path: Path) -> None:
    given: list[int] = []
    for _ in range(3):
        async with open_test_store(tmp_path) as store:
            given += [await store.ids.take("message") for _ in range(100)]
            given += await store.ids.take_many("message", 50_000)
    assert given == sorted(set(given))
    assert len(str(given[0])) == 12
    assert given[-1] < MAX_ID
    async with open_test_store(tmp_path) as store:
        assert await store.ids.take("directory") == 400_000_001


async def test_kinds_are_counted_apart_and_in_the_store(tmp_path: Path) -> None:
    kinds: list[IdKind] = ["message", "directory", "work", "attempt"]
    async with open_test_store(tmp_path) as store:
        first = {kind: await store.ids.take(kind) for kind in kinds}
        stored = {row[1]: row[2] for row in await fetch_rows(store, "id_block")}
    assert all(stored[kind] > first[kind] for kind in kinds)


async def test_taking_does_not_suspend_while_there_are_ids(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        await store.ids.take("work")
        taking = store.ids.take("work")
        with pytest.raises(StopIteration) as ended:
            taking.send(None)
        assert ended.value.value == 2


async def test_the_next_block_is_reserved_ahead(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        await store.ids.take_many("directory", 150)
        await store.ids.close()  # waits for the reservation that is under way
        assert [row[2] for row in await fetch_rows(store, "id_block")] == [400_000_401]
        assert await store.ids.take_many("directory", 100) == list(range(400_000_151, 400_000_251))


async def test_many_takers_and_two_processes_never_share_an_id(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        other = Ids(store.writer, store.readers)  # as a second process would take them
        takers = [ids.take_many("directory", 37) for ids in (store.ids, other) for _ in range(20)]
        given = [one for ids in await asyncio.gather(*takers) for one in ids]
        await other.close()
    assert len(given) == len(set(given)) == 37 * 40


async def test_a_cancelled_taker_does_not_take_the_block_along(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        first = asyncio.ensure_future(store.ids.take("attempt"))
        second = asyncio.ensure_future(store.ids.take("attempt"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 1
