from __future__ import annotations

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
