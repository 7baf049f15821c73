"""Messages and their attachments as rows: the inserts, the status update, and the way back from rows to values.

A Text part has no attachment row, since its content is the message's own text; it is made again from the row here.
No rules: what may be stored or changed is decided in messaging/.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, select, update

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
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import attachment as attachment_table
from tocsin.storage.schema import message as message_table
from tocsin.storage.statement import Row, Statement, insert_into

TEXT_CONTENT_TYPE = "text/plain"

INSERT_MESSAGE = insert_into(message_table, order=10)
INSERT_ATTACHMENT = insert_into(attachment_table, order=20)

MESSAGE_SEQ_COLUMNS = (INSERT_MESSAGE.columns.index("modified_seq"),)
"""Where INSERT_MESSAGE takes the index of the unit's draft that creates the message."""

UPDATE_MESSAGE_STATUS = Statement(
    "update_message_status",
    update(message_table)
    .where(
        message_table.c.account_id == bindparam("key_account_id"),
        message_table.c.message_id == bindparam("key_message_id"),
    )
    .values(
        message_status=bindparam("message_status"),
        modified_ms=bindparam("modified_ms"),
        modified_seq=bindparam("modified_seq"),
        delivery_error_code=bindparam("delivery_error_code"),
        sending_attempts=bindparam("sending_attempts"),
        delivered_ms=bindparam("delivered_ms"),
    ),
    (
        "key_account_id",
        "key_message_id",
        "message_status",
        "modified_ms",
        "modified_seq",
        "delivery_error_code",
        "sending_attempts",
        "delivered_ms",
    ),
)
STATUS_SEQ_COLUMNS = (UPDATE_MESSAGE_STATUS.columns.index("modified_seq"),)

FETCH_MESSAGE = Statement(
    "fetch_message",
    select(message_table).where(
        message_table.c.account_id == bindparam("account_id"), message_table.c.message_id == bindparam("message_id")
    ),
    ("account_id", "message_id"),
)
FETCH_ATTACHMENTS = Statement(
    "fetch_attachments",
    select(attachment_table)
    .where(
        attachment_table.c.account_id == bindparam("account_id"),
        attachment_table.c.message_id == bindparam("message_id"),
    )
    .order_by(attachment_table.c.attachment_id),
    ("account_id", "message_id"),
)
"""Rows of one message's attachments, in the order in which they were stored: ids of one unit ascend."""


class _StoredParty(msgspec.Struct, omit_defaults=True):
    """Party as JSON in a column: the same fields, empty ones left out."""

    phone_number: str | None = None
    extension_number: str | None = None
    extension_id: int | None = None
    name: str | None = None
    location: str | None = None
    target: bool = False
    message_status: MessageStatus | None = None
    error_code: str | None = None


_ENCODER = msgspec.json.Encoder()
_PARTY = msgspec.json.Decoder(Party)
_PARTIES = msgspec.json.Decoder(tuple[Party, ...])


def message_row(message: Message) -> Row:
    """Return the row for INSERT_MESSAGE.

    `modified_seq` goes in as it is: for an insert give the message the index of its draft, and name
    MESSAGE_SEQ_COLUMNS in the unit.
    """
    return (
        message.account_id,
        message.message_id,
        message.extension_id,
        message.type.value,
        message.direction.value,
        message.availability.value,
        message.read_status.value,
        message.message_status.value,
        message.priority.value,
        message.created_ms,
        message.modified_ms,
        message.modified_seq,
        _ENCODER.encode(_stored(message.sender)).decode(),
        _ENCODER.encode([_stored(party) for party in message.recipients]).decode(),
        _numbers(message),
        message.text,
        sum(part.type is not AttachmentType.TEXT for part in message.attachments),
        message.conversation_id,
        message.delivery_error_code,
        message.sending_attempts,
        message.delivered_ms,
    )


def attachment_rows(message: Message) -> list[Row]:
    """Return the rows for INSERT_ATTACHMENT: one for each part that is not Text."""
    return [
        (
            message.account_id,
            message.message_id,
            part.attachment_id,
            part.type.value,
            part.content_type,
            part.size,
            part.file_name,
            part.blob_key,
        )
        for part in message.attachments
        if part.type is not AttachmentType.TEXT
    ]


def attachment_from_row(row: Row) -> Attachment:
    """Return the attachment of a row of the attachment table."""
    return Attachment(AttachmentId(row[2]), AttachmentType(row[3]), row[4], row[5], row[6], row[7])


def message_from_row(row: Row, attachments: Sequence[Attachment] = ()) -> Message:
    """Return the message of a row of the message table.

    `attachments` are those of its attachment rows; the Text part is put before them.
    """
    message_id, availability, text = MessageId(row[1]), Availability(row[5]), row[15]
    kind = MessageType(row[3])
    if availability is not Availability.PURGED and kind in _TEXT_TYPES and text is not None:
        attachments = (text_part(message_id, text), *attachments)
    return Message(
        account_id=AccountId(row[0]),
        extension_id=ExtensionId(row[2]),
        message_id=message_id,
        type=kind,
        direction=Direction(row[4]),
        availability=availability,
        read_status=ReadStatus(row[6]),
        message_status=MessageStatus(row[7]),
        priority=Priority(row[8]),
        created_ms=row[9],
        modified_ms=row[10],
        modified_seq=Seq(row[11]),
        sender=_PARTY.decode(row[12]),
        recipients=_PARTIES.decode(row[13]),
        text=text,
        attachments=tuple(attachments),
        conversation_id=row[17],
        delivery_error_code=row[18],
        sending_attempts=row[19],
        delivered_ms=row[20],
    )


def fetch_by_id(conn: ReadConnection, account_id: AccountId, message_id: MessageId) -> Message | None:
    """Return a message of any mailbox of the account, whatever its availability."""
    row = conn.one(FETCH_MESSAGE, (account_id, message_id))
    if row is None:
        return None
    parts = conn.all(FETCH_ATTACHMENTS, (account_id, message_id)) if row[_ATTACHMENT_COUNT] else ()
    return message_from_row(row, [attachment_from_row(part) for part in parts])


def status_row(message: Message) -> Row:
    """Return the row for UPDATE_MESSAGE_STATUS; `modified_seq` is the index of the draft that tells of the change."""
    return (
        message.account_id,
        message.message_id,
        message.message_status.value,
        message.modified_ms,
        message.modified_seq,
        message.delivery_error_code,
        message.sending_attempts,
        message.delivered_ms,
    )


def text_part(message_id: MessageId, text: str) -> Attachment:
    """Return the Text attachment of a message with `text`: it has the message's own id and no blob."""
    return Attachment(AttachmentId(message_id), AttachmentType.TEXT, TEXT_CONTENT_TYPE, len(text.encode()))


_ATTACHMENT_COUNT = INSERT_MESSAGE.columns.index("attachment_count")
_TEXT_TYPES = frozenset({MessageType.SMS, MessageType.PAGER})


def _stored(party: Party) -> _StoredParty:
    return _StoredParty(
        party.phone_number,
        party.extension_number,
        party.extension_id,
        party.name,
        party.location,
        party.target,
        party.message_status,
        party.error_code,
    )


def _numbers(message: Message) -> str:
    numbers = {party.phone_number: None for party in (message.sender, *message.recipients) if party.phone_number}
    return f"|{'|'.join(numbers)}|" if numbers else ""
