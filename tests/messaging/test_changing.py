from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clocks import ManualClock
from tests.stored_messages import (
    ACCOUNT,
    INBOUND_SMS,
    MAILBOX,
    OTHER_MAILBOX,
    media,
    store_messages,
    with_id,
)
from tests.storing import open_test_store
from tocsin.domain.entry import Entry, Happened, MessageChange
from tocsin.domain.errors import NotFound, Stale
from tocsin.domain.ids import MessageId
from tocsin.domain.message import Availability, Direction, Message, MessageType, ReadStatus
from tocsin.messaging.changing import MAX_TRIES, Changing
from tocsin.storage.entries import fetch_entries
from tocsin.storage.message_queries import fetch_message
from tocsin.storage.messages import FETCH_ATTACHMENTS
from tocsin.storage.readers import ReadConnection
from tocsin.storage.statement import Row
from tocsin.storage.store import Store
from tocsin.storage.unit import Applied, Unit

MMS = replace(INBOUND_SMS, attachments=(*INBOUND_SMS.attachments, media(100_000_000_011)))
ID = INBOUND_SMS.message_id
START_MS = 1_800_000_100_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_test_store(tmp_path, clock=ManualClock(START_MS)) as opened:
        yield opened


def changing(store: Store) -> Changing:
    return Changing(store.readers, store.writer, ManualClock(START_MS))


async def entries(store: Store) -> list[MessageChange]:
    found: Sequence[Entry] = await store.readers.run(fetch_entries, ACCOUNT, 0, 100)
    return [entry for entry in found if isinstance(entry, MessageChange)]


async def stored(store: Store, message_id: MessageId = ID) -> Message:
    found = await store.readers.run(fetch_message, ACCOUNT, MAILBOX, message_id)
    assert found is not None
    return found


def attachment_rows(conn: ReadConnection) -> list[Row]:
    return conn.all(FETCH_ATTACHMENTS, (ACCOUNT, ID))


@pytest.mark.anyio
async def test_marking_read_is_one_update_in_the_log(store: Store) -> None:
    await store_messages(store, INBOUND_SMS, announcement=b"{}")
    message = await changing(store).update_read_status(ACCOUNT, MAILBOX, ID, ReadStatus.READ)
    assert (message.read_status, message.modified_ms, message.modified_seq) == (ReadStatus.READ, START_MS, 2)
    assert message == await stored(store)
    created, updated = await entries(store)
    assert created.announcement == b"{}"
    assert updated == MessageChange(
        ACCOUNT,
        message.modified_seq,
        updated.at_ms,
        MAILBOX,
        ID,
        Happened.UPDATED,
        MessageType.SMS,
        Direction.INBOUND,
        None,
    )


@pytest.mark.anyio
async def test_a_change_that_changes_nothing_appends_nothing(store: Store) -> None:
    before = await store_messages(store, INBOUND_SMS)
    message = await changing(store).update_read_status(ACCOUNT, MAILBOX, ID, ReadStatus.UNREAD)
    assert message == before[0] == await stored(store)
    assert len(await entries(store)) == 1


@pytest.mark.anyio
async def test_delete_goes_from_alive_to_deleted_to_purged_and_then_says_nothing(store: Store) -> None:
    await store_messages(store, MMS, announcement=b'{"subject":"secret"}')
    await changing(store).delete(ACCOUNT, MAILBOX, ID)
    deleted = await stored(store)
    assert (deleted.availability, deleted.text) == (Availability.DELETED, INBOUND_SMS.text)
    assert deleted.attachments == MMS.attachments
    assert (await entries(store))[0].announcement is not None
    await changing(store).delete(ACCOUNT, MAILBOX, ID)
    purged = await stored(store)
    assert (purged.availability, purged.text, purged.attachments) == (Availability.PURGED, None, ())
    assert await store.readers.run(attachment_rows) == []
    assert [entry.announcement for entry in await entries(store)] == [None, None, None]
    await changing(store).delete(ACCOUNT, MAILBOX, ID)
    await changing(store).delete(ACCOUNT, MAILBOX, ID, purge=True)
    assert len(await entries(store)) == 3


@pytest.mark.anyio
async def test_purge_at_once_leaves_its_neighbours_announcements(store: Store) -> None:
    other = with_id(INBOUND_SMS, ID + 1)
    await store_messages(store, MMS, other, announcement=b"{}")
    await changing(store).delete(ACCOUNT, MAILBOX, ID, purge=True)
    assert (await stored(store)).availability is Availability.PURGED
    assert [entry.announcement for entry in await entries(store)] == [None, b"{}", None]
    with pytest.raises(NotFound):
        await changing(store).update_read_status(ACCOUNT, MAILBOX, ID, ReadStatus.READ)


@pytest.mark.anyio
async def test_a_delete_for_other_types_leaves_the_message(store: Store) -> None:
    await store_messages(store, INBOUND_SMS)
    await changing(store).delete(ACCOUNT, MAILBOX, ID, types=frozenset({MessageType.FAX}))
    assert (await stored(store)).availability is Availability.ALIVE


@pytest.mark.anyio
async def test_an_id_of_another_mailbox_is_unknown(store: Store) -> None:
    await store_messages(store, INBOUND_SMS)
    with pytest.raises(NotFound):
        await changing(store).delete(ACCOUNT, OTHER_MAILBOX, ID)
    with pytest.raises(NotFound):
        await changing(store).update_read_status(ACCOUNT, OTHER_MAILBOX, ID, ReadStatus.READ)
    assert len(await entries(store)) == 1


@pytest.mark.anyio
async def test_rivals_all_get_their_turn_and_every_change_is_told_once(store: Store) -> None:
    await store_messages(store, INBOUND_SMS)
    one = changing(store)
    await asyncio.gather(
        one.update_read_status(ACCOUNT, MAILBOX, ID, ReadStatus.READ),
        one.delete(ACCOUNT, MAILBOX, ID),
        one.update_read_status(ACCOUNT, MAILBOX, ID, ReadStatus.READ),
    )
    found = await stored(store)
    assert (found.read_status, found.availability) == (ReadStatus.READ, Availability.DELETED)
    told = await entries(store)
    assert [entry.seq for entry in told] == [1, 2, 3]
    assert found.modified_seq == 3


@pytest.mark.anyio
async def test_a_message_that_never_stands_still_is_given_up(store: Store) -> None:
    class AlwaysStale:
        tries = 0

        async def apply(self, unit: Unit) -> Applied:
            self.tries += 1
            raise Stale

    await store_messages(store, INBOUND_SMS)
    writer = AlwaysStale()
    with pytest.raises(Stale):
        await Changing(store.readers, writer, ManualClock()).delete(ACCOUNT, MAILBOX, ID)
    assert writer.tries == MAX_TRIES
