"""Reading messages: the list with its filters, composed in Core for both databases; one message; its announcement.

Filters and paging are those of domain.message_query; nothing here decides who may read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Select,
    bindparam,
    distinct,
    func,
    literal_column,
    select,
)

from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq
from tocsin.domain.message import Attachment, Availability, Direction, Message, MessageType, ReadStatus
from tocsin.domain.message_query import ListQuery, Span
from tocsin.storage.messages import FETCH_ATTACHMENTS, FETCH_MESSAGE, attachment_from_row, message_from_row
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import attachment as attachment_table
from tocsin.storage.schema import log_entry
from tocsin.storage.schema import message as message_table
from tocsin.storage.statement import Row, Statement

_AT = message_table.c
_ATTACHMENT_COUNT = [column.name for column in message_table.columns].index("attachment_count")
_IDS_AT_ONCE = (1, 8, 64, 512, 1024)
"""Message ids in one statement for attachments: few sizes, so that few texts are compiled. The last id fills up."""


class _Shape(NamedTuple):
    """Which filters a list has, by name. Composing and compiling costs ten times the query, so once for each shape."""

    availability: bool
    direction: bool
    type: bool
    read_status: bool
    conversation_id: bool
    phone_number: bool
    distinct: bool


_CLOSED_SETS: dict[str, type[StrEnum]] = {
    "availability": Availability,
    "direction": Direction,
    "type": MessageType,
    "read_status": ReadStatus,
}
"""Columns whose filter is a set of values. A smaller set than all is filled up by repeating one of its own."""

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
    shape, values = _shape_and_values(query)
    count, page = _statements(shape)
    row = (account_id, extension_id, span.from_ms, span.last_ms, *values)
    found = conn.one(count, row)
    total = int(found[0]) if found is not None else 0
    offset = (query.page - 1) * query.per_page
    if query.per_page == 0 or offset >= total:
        return (), total
    return _with_attachments(conn, account_id, conn.all(page, (*row, query.per_page, offset))), total


def fetch_message(
    conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId, message_id: MessageId
) -> Message | None:
    """Return one message of this mailbox, whatever its availability; None for an id of another mailbox or of none."""
    row = conn.one(FETCH_MESSAGE, (account_id, message_id))
    if row is None or row[2] != extension_id:
        return None
    return message_from_row(row, [attachment_from_row(part) for part in _attachment_rows(conn, row)])


def fetch_messages(
    conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId, message_ids: Sequence[MessageId]
) -> list[Message | None]:
    """Return each message as `fetch_message` does, all from one snapshot."""
    return [fetch_message(conn, account_id, extension_id, message_id) for message_id in message_ids]


def fetch_announcement(conn: ReadConnection, message: Message) -> Seq | None:
    """Return where in the log the message's announcement is, if it is still there.

    A message is announced once. The search runs backwards through the mailbox from the message's latest change, so that
    it is short for a message that is purged soon after it came.
    """
    row = conn.one(
        _FETCH_ANNOUNCEMENT, (message.account_id, message.extension_id, message.modified_seq, message.message_id)
    )
    return None if row is None else Seq(row[0])


def _shape_and_values(query: ListQuery) -> tuple[_Shape, list[object]]:
    """Return what is filtered, and by which values, in the order of `_conditions`."""
    sets = (query.availability, query.directions, query.types, query.read_statuses)
    values: list[object] = []
    for wanted, kind in zip(sets, _CLOSED_SETS.values(), strict=True):
        if wanted:
            given = [one.value for one in wanted]
            values += given + given[-1:] * (len(kind) - len(given))
    if query.conversation_id is not None:
        values.append(query.conversation_id)
    if query.phone_number is not None:
        values.append("|" + re.sub(r"([/%_])", r"/\1", query.phone_number) + "|")
    shape = _Shape(
        availability=bool(query.availability),
        direction=bool(query.directions),
        type=bool(query.types),
        read_status=bool(query.read_statuses),
        conversation_id=query.conversation_id is not None,
        phone_number=query.phone_number is not None,
        distinct=query.distinct_conversations,
    )
    return shape, values


def _conditions(shape: _Shape) -> tuple[list[ColumnElement[bool]], tuple[str, ...]]:
    """Return the filters of `shape`, and the names of their values in order."""
    names = ["account_id", "extension_id", "from_ms", "last_ms"]
    conditions: list[ColumnElement[bool]] = [
        _AT.account_id == bindparam("account_id"),
        _AT.extension_id == bindparam("extension_id"),
        _AT.created_ms >= bindparam("from_ms"),
        _AT.created_ms <= bindparam("last_ms"),
    ]
    for name, kind in _CLOSED_SETS.items():
        if getattr(shape, name):
            places = [f"{name}_{number}" for number in range(len(kind))]
            conditions.append(_is_one_of(_AT[name], places))
            names += places
    if shape.conversation_id:
        conditions.append(_AT.conversation_id == bindparam("conversation_id"))
        names.append("conversation_id")
    if shape.phone_number:
        conditions.append(_AT.numbers.contains(bindparam("phone_number"), escape="/"))
        names.append("phone_number")
    return conditions, tuple(names)


@cache
def _statements(shape: _Shape) -> tuple[Statement, Statement]:
    """Return the statement that counts and the one that reads a page."""
    conditions, names = _conditions(shape)
    counted = func.count(distinct(_thread())) if shape.distinct else func.count()
    count = select(counted).select_from(message_table).where(*conditions)
    source = _latest(conditions) if shape.distinct else select(message_table).where(*conditions)
    page = (
        source.order_by(_AT.created_ms.desc(), _AT.message_id.desc())
        .limit(bindparam("per_page", type_=BigInteger))
        .offset(bindparam("offset", type_=BigInteger))
    )
    return Statement("count_messages", count, names), Statement("list_messages", page, (*names, "per_page", "offset"))


def _thread() -> ColumnElement[int]:
    """What makes two messages one conversation; a message without one stands alone (conversation ids are positive)."""
    return func.coalesce(_AT.conversation_id, -_AT.message_id)


def _latest(conditions: Sequence[ColumnElement[bool]]) -> Select[Row]:
    # Ranked by key alone, so that whole rows are not carried through the sort.
    rank = func.row_number().over(partition_by=_thread(), order_by=(_AT.created_ms.desc(), _AT.message_id.desc()))
    ranked = select(_AT.message_id, rank.label("rank_in_thread")).where(*conditions).subquery()
    latest = select(ranked.c.message_id).where(ranked.c.rank_in_thread == literal_column("1"))
    return select(message_table).where(_AT.account_id == bindparam("account_id"), _AT.message_id.in_(latest))


def _with_attachments(conn: ReadConnection, account_id: AccountId, rows: Sequence[Row]) -> tuple[Message, ...]:
    """Make messages of rows, with one query for the attachments of them all."""
    having = [row[1] for row in rows if row[_ATTACHMENT_COUNT]]
    parts: dict[int, list[Attachment]] = defaultdict(list)
    if having:
        size = next(size for size in _IDS_AT_ONCE if size >= len(having))
        values = having + having[-1:] * (size - len(having))
        for part in conn.all(_attachments_of(size), (account_id, *values)):
            parts[part[1]].append(attachment_from_row(part))
    return tuple(message_from_row(row, parts.get(row[1], ())) for row in rows)


@cache
def _attachments_of(size: int) -> Statement:
    """Return the statement that reads the attachments of `size` messages."""
    places = [f"message_id_{number}" for number in range(size)]
    found = (
        select(attachment_table)
        .where(
            attachment_table.c.account_id == bindparam("account_id"),
            _is_one_of(attachment_table.c.message_id, places),
        )
        .order_by(attachment_table.c.attachment_id)
    )
    return Statement("fetch_attachments_of_many", found, ("account_id", *places))


def _is_one_of(column: Column[Any], places: Sequence[str]) -> ColumnElement[bool]:
    values: list[BindParameter[Any]] = [bindparam(place, type_=column.type) for place in places]
    return column.in_(values)


def _attachment_rows(conn: ReadConnection, row: Row) -> Sequence[Row]:
    return conn.all(FETCH_ATTACHMENTS, (row[0], row[1])) if row[_ATTACHMENT_COUNT] else ()
