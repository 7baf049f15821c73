from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clocks import ManualClock
from tests.storage.writing import ACCOUNT, OTHER
from tests.storing import open_test_store
from tocsin.domain.entry import (
    DirectoryChange,
    DirectoryScope,
    Entry,
    Happened,
    MessageChange,
    Notice,
    SubscriptionChange,
)
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.storage import entries
from tocsin.storage.entries import entry_from_row, entry_row
from tocsin.storage.schema import log_entry
from tocsin.storage.unit import Draft, Unit

NUMBERS = st.integers(0, 2**53)
PLACE = (NUMBERS.map(AccountId), NUMBERS.map(Seq), NUMBERS)
ANY_ENTRY: st.SearchStrategy[Entry] = st.one_of(
    st.builds(
        MessageChange,
        *PLACE,
        NUMBERS.map(ExtensionId),
        NUMBERS.map(MessageId),
        st.sampled_from(Happened),
        st.sampled_from(MessageType),
        st.sampled_from(Direction),
        st.none() | st.binary(),
    ),
    st.builds(SubscriptionChange, *PLACE, st.text().map(SubscriptionId)),
    st.builds(DirectoryChange, *PLACE, st.sampled_from(DirectoryScope), NUMBERS.map(ExtensionId), st.text()),
    st.builds(Notice, *PLACE, st.text().map(SubscriptionId), st.text(), st.binary()),
)


@given(ANY_ENTRY)
def test_an_entry_is_read_back_from_its_row(entry: Entry) -> None:
    row = entry_row(entry)
    assert len(row) == len(log_entry.columns)
    assert {type(value) for value in row} <= {int, str, bytes, type(None)}
    back = entry_from_row(row)
    assert (type(back), back) == (type(entry), entry)


@pytest.mark.anyio
async def test_the_log_is_read_by_account_by_mailbox_and_by_time(tmp_path: Path) -> None:
    def change(extension_id: int) -> Draft:
        of = (ExtensionId(extension_id), MessageId(9), Happened.CREATED, MessageType.SMS, Direction.INBOUND, b"{}")
        return Draft(MessageChange, of)

    clock = ManualClock(1_000)
    async with open_test_store(tmp_path, clock=clock) as store:
        await store.writer.apply(Unit(ACCOUNT, drafts=[change(101), change(102), change(101)]))
        clock.jump_to(2_000)
        await store.writer.apply(Unit(ACCOUNT, drafts=[change(101)]))
        clock.jump_to(3_000)
        await store.writer.apply(Unit(OTHER, drafts=[change(101)]))

        async def seqs(*args: int) -> list[int]:
            found = await store.readers.run(entries.fetch_mailbox_entries, ACCOUNT, ExtensionId(101), *args)
            return [entry.seq for entry in found]

        assert await seqs(0, 99, 99) == [1, 3, 4]
        assert await seqs(1, 3, 99) == [3]
        assert await seqs(0, 99, 2) == [1, 3]
        assert [one.seq for one in await store.readers.run(entries.fetch_entries, ACCOUNT, 1, 2)] == [2, 3]
        assert await store.readers.run(entries.fetch_counter, OTHER) == 1
        assert await store.readers.run(entries.fetch_counters_touched, 2_001) == [(OTHER, 1, 3_000)]
