"""Statements that change stored messages: read status, deletion, purge. The carrier journey's are in messages.py.

Rules (which change may follow which) are in messaging/. Every row ends in account id, then the key.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, literal_column, null, update

from tocsin.domain.message import Message
from tocsin.storage.schema import attachment as attachment_table
from tocsin.storage.schema import log_entry
from tocsin.storage.schema import message as message_table
from tocsin.storage.statement import Row, Statement

_KEY = (
    message_table.c.account_id == bindparam("key_account_id"),
    message_table.c.message_id == bindparam("key_message_id"),
)
_CHANGED: dict[str, ColumnElement[Any]] = {
    "read_status": bindparam("read_status"),
    "availability": bindparam("availability"),
    "modified_ms": bindparam("modified_ms"),
    "modified_seq": bindparam("modified_seq"),
}
_COLUMNS = ("read_status", "availability", "modified_ms", "modified_seq", "key_account_id", "key_message_id")

CHANGED_SEQ_COLUMNS = (_COLUMNS.index("modified_seq"),)
"""Where UPDATE_MESSAGE and PURGE_MESSAGE take the index of the unit's draft that tells of the change."""

UPDATE_MESSAGE = Statement("update_message", update(message_table).where(*_KEY).values(_CHANGED), _COLUMNS)

PURGE_MESSAGE = Statement(
    "purge_message",
    update(message_table).where(*_KEY).values({**_CHANGED, "text": null(), "attachment_count": literal_column("0")}),
    _COLUMNS,
)
"""The text goes too: it is the content of the Text attachment."""

DELETE_ATTACHMENTS = Statement(
    "delete_attachments",
    delete(attachment_table).where(
        attachment_table.c.account_id == bindparam("key_account_id"),
        attachment_table.c.message_id == bindparam("key_message_id"),
    ),
    ("key_account_id", "key_message_id"),
)

BLANK_ANNOUNCEMENT = Statement(
    "blank_announcement",
    update(log_entry)
    .where(log_entry.c.account_id == bindparam("key_account_id"), log_entry.c.seq == bindparam("key_seq"))
    .values(body=null()),
    ("key_account_id", "key_seq"),
)


def changed_row(message: Message, draft: int) -> Row:
    """Return the row for UPDATE_MESSAGE or PURGE_MESSAGE; `draft` is the index of the draft that tells of it."""
    return (
        message.read_status.value,
        message.availability.value,
        message.modified_ms,
        draft,
        message.account_id,
        message.message_id,
    )
