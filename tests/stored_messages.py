"""Make messages and put them into a real store, without the use cases that receive and send."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tocsin.domain.ids import AccountId, AttachmentId, ExtensionId, MessageId, Seq
from tocsin.domain.message import (
    Attachment,
    AttachmentType,
    Availability,
    Direction,
    Message,
    MessageStatus,
    MessageType,
    Party,
    Priority,
    ReadStatus,
)
from tocsin.messaging.storing import add_message, next_draft
from tocsin.storage.messages import text_part
from tocsin.storage.unit import Unit

if TYPE_CHECKING:
    from tocsin.storage.store import Store

ACCOUNT = AccountId(400_000_001)
MAILBOX = ExtensionId(400_000_101)
OTHER_MAILBOX = ExtensionId(400_000_102)
OUTSIDE = "+14155550199"
OWN = "+16505550101"
CREATED_MS = 1_800_000_000_123

INBOUND_SMS = Message(
    account_id=ACCOUNT,
    extension_id=MAILBOX,
    message_id=MessageId(100_000_000_001),
    type=MessageType.SMS,
    direction=Direction.INBOUND,
    availability=Availability.ALIVE,
    read_status=ReadStatus.UNREAD,
    message_status=MessageStatus.RECEIVED,
    priority=Priority.NORMAL,
    created_ms=CREATED_MS,
    modified_ms=CREATED_MS,
    modified_seq=Seq(0),
    sender=Party(phone_number=OUTSIDE, name="Jane Doe", location="San Francisco, CA"),
    recipients=(Party(phone_number=OWN, extension_number="101", name="Ann Admin", target=True),),
    text="Grüße 👋",
    attachments=(text_part(MessageId(100_000_000_001), "Grüße 👋"),),
    conversation_id=7_876_416_245_344_257_449,
)
"""An SMS from outside to extension 101, its text not ASCII."""


def with_id(message: Message, number: int) -> Message:
    """The same message under another id, its Text part's included."""
    message_id = MessageId(number)
    others = tuple(part for part in message.attachments if part.type is not AttachmentType.TEXT)
    own = (text_part(message_id, message.text),) if message.text is not None else ()
    return replace(message, message_id=message_id, attachments=own + others)


def media(number: int, blob_key: str = "blob-1", content_type: str = "image/png", size: int = 10) -> Attachment:
    """An MMS part whose bytes are in `blob_key`."""
    return Attachment(
        AttachmentId(number), AttachmentType.MMS_ATTACHMENT, content_type, size, "cat.png", blob_key=blob_key
    )


async def store_messages(store: Store, *messages: Message, announcement: bytes | None = None) -> list[Message]:
    """Store each message by a unit of its own and return them with the seq they were given."""
    return [await _store(store, message, announcement) for message in messages]


async def _store(store: Store, message: Message, announcement: bytes | None) -> Message:
    unit = Unit(message.account_id)
    add_message(unit, replace(message, modified_seq=next_draft(unit)), announcement)
    applied = await store.writer.apply(unit)
    return replace(message, modified_seq=applied.first_seq)
