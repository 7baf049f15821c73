"""Reading messages: the list with its filters, composed in Core for both databases; one message; its announcement.

Filters and paging are those of domain.message_query; nothing here decides who may read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, bindparam, distinct, func, literal_column, select

from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq
from tocsin.domain.message import Attachment, Message
from tocsin.domain.message_query import ListQuery, Span
from tocsin.storage.messages import FETCH_ATTACHMENTS, FETCH_MESSAGE, attachment_from_row, message_from_row
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import attachment as attachment_table
from tocsin.storage.schema import log_entry
from tocsin.storage.schema import message as message_table
from tocsin.storage.statement import Row, Statement

_AT = message_table.c

_FETCH_ANNOUNCEMENT = Statement(
    "fetch_announcement",
    select(log_entry.c.seq)
    .where(
        log_entry.c.account_id == bindparam("account_id"),
        log_entry.c.extension_id == bindparam("extension_id"),
        log_entry.c.seq <= bindparam("seq"),
        log_entry.c.message_id == bindparam("message_id"),
        log_entry.c.body.is_not(None),
    )
    .order_by(log_entry.c.seq.desc())
    .limit(literal_column("1")),
    ("account_id", "extension_id", "seq", "message_id"),
)


def list_messages(
    conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId, query: ListQuery, span: Span
) -> tuple[tuple[Message, ...], int]:
    """Return the page that `query` asks for, newest first, and the number of messages on all pages."""
    conditions = _conditions(account_id, extension_id, query, span)
    counted = func.count(distinct(_thread())) if query.distinct_conversations else func.count()
    total = int(conn.select(select(counted).select_from(message_table).where(*conditions))[0][0])
    offset = (query.page - 1) * query.per_page
    if query.per_page == 0 or offset >= total:
        return (), total
    source = _latest(conditions) if query.distinct_conversations else select(message_table).where(*conditions)
    columns = source.selected_columns
    rows = conn.select(
        source.order_by(columns["created_ms"].desc(), columns["message_id"].desc()).limit(query.per_page).offset(offset)
    )
    return _with_attachments(conn, account_id, rows), total


def fetch_message(
    conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId, message_id: MessageId
) -> Message | None:
    """Return one message of this mailbox, whatever its availability; None for an id of another mailbox or of none."""
    row = conn.one(FETCH_MESSAGE, (account_id, message_id))
    if row is None or row[2] != extension_id:
        return None
    return message_from_row(row, [attachment_from_row(part) for part in _attachment_rows(conn, row)])


def fetch_announcement(conn: ReadConnection, message: Message) -> Seq | None:
    """Return where in the log the message's announcement is, if it is still there.

    A message is announced once. The search runs backwards through the mailbox from the message's latest change, so that
    it is short for a message that is purged soon after it came.
    """
    row = conn.one(
        _FETCH_ANNOUNCEMENT, (message.account_id, message.extension_id, message.modified_seq, message.message_id)
    )
    return None if row is None else Seq(row[0])


def _conditions(
    account_id: AccountId, extension_id: ExtensionId, query: ListQuery, span: Span
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        _AT.account_id == account_id,
        _AT.extension_id == extension_id,
        _AT.created_ms >= span.from_ms,
        _AT.created_ms <= span.last_ms,
    ]
    for column, wanted in (
        (_AT.availability, query.availability),
        (_AT.direction, query.directions),
        (_AT.type, query.types),
        (_AT.read_status, query.read_statuses),
    ):
        if wanted:
            conditions.append(column.in_(sorted(value.value for value in wanted)))
    if query.conversation_id is not None:
        conditions.append(_AT.conversation_id == query.conversation_id)
    if query.phone_number is not None:
        conditions.append(_AT.numbers.contains(f"|{query.phone_number}|", autoescape=True))
    return conditions


def _thread() -> ColumnElement[int]:
    """What makes two messages one conversation; a message without one stands alone (conversation ids are positive)."""
    return func.coalesce(_AT.conversation_id, -_AT.message_id)


def _latest(conditions: Sequence[ColumnElement[bool]]) -> Select[Row]:
    rank = func.row_number().over(partition_by=_thread(), order_by=(_AT.created_ms.desc(), _AT.message_id.desc()))
    ranked = select(message_table, rank.label("rank_in_thread")).where(*conditions).subquery()
    return select(*(ranked.c[column.name] for column in message_table.columns)).where(ranked.c.rank_in_thread == 1)


def _with_attachments(conn: ReadConnection, account_id: AccountId, rows: Sequence[Row]) -> tuple[Message, ...]:
    """Make messages of rows, with one query for the attachments of them all."""
    having = [row[1] for row in rows if row[_ATTACHMENT_COUNT]]
    parts: dict[int, list[Attachment]] = defaultdict(list)
    if having:
        found = conn.select(
            select(attachment_table)
            .where(attachment_table.c.account_id == account_id, attachment_table.c.message_id.in_(having))
            .order_by(attachment_table.c.attachment_id)
        )
        for part in found:
            parts[part[1]].append(attachment_from_row(part))
    return tuple(message_from_row(row, parts.get(row[1], ())) for row in rows)


def _attachment_rows(conn: ReadConnection, row: Row) -> Sequence[Row]:
    return conn.all(FETCH_ATTACHMENTS, (row[0], row[1])) if row[_ATTACHMENT_COUNT] else ()


_ATTACHMENT_COUNT = [column.name for column in message_table.columns].index("attachment_count")
