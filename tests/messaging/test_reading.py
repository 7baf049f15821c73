from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clocks import ManualClock
from tests.stored_messages import ACCOUNT, CREATED_MS, INBOUND_SMS, MAILBOX, OTHER_MAILBOX, media, store_messages
from tests.storing import open_test_store
from tocsin.domain.errors import NotFound
from tocsin.domain.ids import AccountId, AttachmentId, MessageId
from tocsin.domain.message import Availability
from tocsin.domain.message_query import ListQuery
from tocsin.messaging.reading import Reading

PIECES = (b"0123", b"", b"456", b"789")


class PiecesInMemory:
    """A blob in four pieces that notes how far it was read."""

    def __init__(self) -> None:
        self.given = 0

    async def open(self, account_id: AccountId, key: str) -> AsyncIterator[bytes]:
        assert (account_id, key) == (ACCOUNT, "blob-1")
        for piece in PIECES:
            self.given += 1
            yield piece


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


@pytest.mark.anyio
async def test_the_times_of_a_list_are_said_outright(tmp_path: Path) -> None:
    clock = ManualClock(CREATED_MS)
    async with open_test_store(tmp_path, clock=clock) as store:
        stored = await store_messages(store, INBOUND_SMS)
        reading = Reading(store.readers, PiecesInMemory(), clock)
        page = await reading.list_messages(ACCOUNT, MAILBOX, ListQuery())
        assert (page.messages, page.total) == (tuple(stored), 1)
        assert (page.query.from_ms, page.query.to_ms) == (CREATED_MS - 86_400_000, CREATED_MS)
        clock.advance(86_401)
        assert (await reading.list_messages(ACCOUNT, MAILBOX, ListQuery())).total == 0


@pytest.mark.anyio
async def test_a_message_of_another_mailbox_is_unknown(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        stored = await store_messages(store, INBOUND_SMS)
        reading = Reading(store.readers, PiecesInMemory(), ManualClock())
        assert await reading.get_message(ACCOUNT, MAILBOX, INBOUND_SMS.message_id) == stored[0]
        for mailbox, message_id in ((OTHER_MAILBOX, INBOUND_SMS.message_id), (MAILBOX, MessageId(1))):
            with pytest.raises(NotFound) as refused:
                await reading.get_message(ACCOUNT, mailbox, message_id)
            assert refused.value.parameter == "messageId"


@pytest.mark.anyio
async def test_a_text_part_is_the_message_s_text(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        await store_messages(store, INBOUND_SMS)
        reading = Reading(store.readers, PiecesInMemory(), ManualClock())
        opened = await reading.open_attachment(
            ACCOUNT, MAILBOX, INBOUND_SMS.message_id, AttachmentId(INBOUND_SMS.message_id)
        )
        text = "Grüße 👋".encode()
        assert opened.attachment.size == len(text)
        assert await joined(opened.read(0, len(text))) == text
        assert await joined(opened.read(2, 3)) == text[2:5]


@pytest.mark.anyio
async def test_a_range_of_a_blob_is_cut_out_and_no_more_is_read(tmp_path: Path) -> None:
    mms = replace(INBOUND_SMS, attachments=(*INBOUND_SMS.attachments, media(100_000_000_011)))
    blobs = PiecesInMemory()
    async with open_test_store(tmp_path) as store:
        await store_messages(store, mms)
        reading = Reading(store.readers, blobs, ManualClock())
        opened = await reading.open_attachment(ACCOUNT, MAILBOX, mms.message_id, AttachmentId(100_000_000_011))
        assert opened.attachment.file_name == "cat.png"
        content = b"".join(PIECES)
        for start in range(10):
            for length in range(1, 11 - start):
                assert await joined(opened.read(start, length)) == content[start : start + length]
        blobs.given = 0
        assert await joined(opened.read(1, 3)) == b"123"
        assert blobs.given == 1


@pytest.mark.anyio
async def test_an_unknown_attachment_is_named_and_a_purged_message_has_none(tmp_path: Path) -> None:
    purged = replace(INBOUND_SMS, availability=Availability.PURGED, text=None)
    async with open_test_store(tmp_path) as store:
        await store_messages(store, purged)
        reading = Reading(store.readers, PiecesInMemory(), ManualClock())
        with pytest.raises(NotFound) as refused:
            await reading.open_attachment(ACCOUNT, MAILBOX, purged.message_id, AttachmentId(purged.message_id))
        assert refused.value.parameter == "attachmentId"
