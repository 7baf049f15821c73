"""Putting new messages into a unit: rows, entry, claims, and the bytes of files beforehand. Shared by receive and send.

Never decides what may be stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.ids import AccountId, AttachmentId, MessageId, Seq
from tocsin.domain.message import Attachment, AttachmentType, Message
from tocsin.messaging.media import MediaFile
from tocsin.storage.blobs import BlobRef, Blobs
from tocsin.storage.messages import (
    INSERT_ATTACHMENT,
    INSERT_MESSAGE,
    MESSAGE_SEQ_COLUMNS,
    attachment_rows,
    message_row,
    text_part,
)
from tocsin.storage.unit import Draft, Unit

MAX_TRIES = 10
"""How often a unit is made again because a row or blob changed meanwhile; every round, a rival has succeeded."""


def next_draft(unit: Unit) -> Seq:
    """Return what a message's modified_seq must be for the entry that is drafted next in `unit`."""
    return Seq(len(unit.drafts))


def add_message(unit: Unit, message: Message, announcement: bytes | None = None) -> None:
    """Add a new message, its attachments and its entry to `unit`; its modified_seq must be `next_draft(unit)`."""
    unit.drafts.append(
        Draft(
            MessageChange,
            (
                message.extension_id,
                message.message_id,
                Happened.CREATED,
                message.type,
                message.direction,
                announcement,
            ),
        )
    )
    unit.add(INSERT_MESSAGE, message_row(message), MESSAGE_SEQ_COLUMNS)
    for row in attachment_rows(message):
        unit.add(INSERT_ATTACHMENT, row)


async def store_media(blobs: Blobs, account_id: AccountId, media: Sequence[MediaFile]) -> list[BlobRef]:
    """Make the bytes of `media` durable, and return what refers to them."""
    return [await blobs.put(account_id, file.data) for file in media]


def attachments(
    message_id: MessageId, text: str, media: Sequence[MediaFile], stored: Sequence[BlobRef], ids: Sequence[int]
) -> tuple[Attachment, ...]:
    """Return the parts of a message: Text first (an MMS may have none), then its files under `ids`."""
    files = (
        Attachment(
            AttachmentId(part_id), AttachmentType.MMS_ATTACHMENT, file.content_type, ref.size, file.file_name, ref.key
        )
        for file, ref, part_id in zip(media, stored, ids, strict=True)
    )
    return (text_part(message_id, text), *files) if stored_text(text, media) is not None else tuple(files)


def stored_text(text: str, media: Sequence[MediaFile]) -> str | None:
    """Return the text as it is stored: an MMS of files alone has none, and so no Text part."""
    return text if text or not media else None
