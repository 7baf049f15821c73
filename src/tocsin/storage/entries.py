"""Log entries as rows, both ways, and the reads of the log and its counters.

The writer inserts them; the tail, the sweep and the catch-up readers read them. Knows no reader, and not when an entry
is old enough to be trimmed.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from sqlalchemy import bindparam, delete, func, select, update

from tocsin.domain.entry import (
    DirectoryChange,
    DirectoryScope,
    Entry,
    EntryKind,
    Happened,
    MessageChange,
    Notice,
    SubscriptionChange,
)
from tocsin.domain.ids import AccountId, ExtensionId, Seq
from tocsin.domain.message import Direction, MessageType
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import counter, log_entry
from tocsin.storage.statement import Row, Statement, insert_into

INSERT_ENTRY = insert_into(log_entry, order=90)
INSERT_COUNTER = insert_into(counter, order=0)
UPDATE_COUNTER = Statement(
    "update_counter",
    update(counter)
    .where(counter.c.account_id == bindparam("of_account"))
    .values(seq=bindparam("to_seq"), touched_ms=bindparam("at_ms")),
    ("of_account", "to_seq", "at_ms"),
    order=0,
)
TRIM_LOG = Statement(
    "trim_log",
    delete(log_entry).where(log_entry.c.account_id == bindparam("of_account"), log_entry.c.seq <= bindparam("to_seq")),
    ("of_account", "to_seq"),
    order=95,
)
"""Delete an account's entries up to a seq. Whoever uses it sees to it that they are few."""

FETCH_ENTRIES = Statement(
    "fetch_entries",
    select(log_entry)
    .where(log_entry.c.account_id == bindparam("of_account"), log_entry.c.seq > bindparam("after_seq"))
    .order_by(log_entry.c.seq)
    .limit(bindparam("at_most")),
    ("of_account", "after_seq", "at_most"),
)
FETCH_MAILBOX_ENTRIES = Statement(
    "fetch_mailbox_entries",
    select(log_entry)
    .where(
        log_entry.c.account_id == bindparam("of_account"),
        log_entry.c.extension_id == bindparam("of_extension"),
        log_entry.c.seq > bindparam("after_seq"),
        log_entry.c.seq <= bindparam("until_seq"),
    )
    .order_by(log_entry.c.seq)
    .limit(bindparam("at_most")),
    ("of_account", "of_extension", "after_seq", "until_seq", "at_most"),
)
FETCH_COUNTER = Statement(
    "fetch_counter", select(counter.c.seq).where(counter.c.account_id == bindparam("of_account")), ("of_account",)
)
FETCH_COUNTERS_TOUCHED = Statement(
    "fetch_counters_touched",
    select(counter.c.account_id, counter.c.seq, counter.c.touched_ms).where(
        counter.c.touched_ms >= bindparam("since_ms")
    ),
    ("since_ms",),
)
FETCH_LOG_START = Statement(
    "fetch_log_start",
    select(func.min(log_entry.c.seq)).where(log_entry.c.account_id == bindparam("of_account")),
    ("of_account",),
)
_earlier = log_entry.alias("earlier")
FETCH_LOG_STARTS = Statement(
    "fetch_log_starts",
    select(counter.c.account_id, log_entry.c.seq, log_entry.c.at_ms, counter.c.seq)
    .where(
        counter.c.account_id > bindparam("after_account"),
        log_entry.c.account_id == counter.c.account_id,
        log_entry.c.seq
        == select(func.min(_earlier.c.seq)).where(_earlier.c.account_id == counter.c.account_id).scalar_subquery(),
    )
    .order_by(counter.c.account_id)
    .limit(bindparam("at_most")),
    ("after_account", "at_most"),
)

_KINDS = {int(kind): kind for kind in EntryKind}
_HAPPENED = {int(happened): happened for happened in Happened}
_TYPES = {kind.value: kind for kind in MessageType}
_DIRECTIONS = {direction.value: direction for direction in Direction}
_SCOPES = {int(scope): scope for scope in DirectoryScope}


def entry_row(entry: Entry) -> Row:
    """Return `entry` as a row for INSERT_ENTRY, of plain ints and strings."""
    # Not a match over class patterns: those cost six times as much, and every write of a message comes by here.
    if isinstance(entry, MessageChange):
        account_id, seq, at_ms, extension_id, message_id, happened, kind, direction, announcement = entry
        change = (happened._value_, kind._value_, direction._value_)
        return (account_id, seq, at_ms, 1, extension_id, message_id, *change, "", "", announcement)
    if isinstance(entry, SubscriptionChange):
        return (*entry[:3], 2, 0, 0, 0, "", "", entry.subscription_id, "", None)
    if isinstance(entry, DirectoryChange):
        return (*entry[:3], 3, entry.extension_id, 0, entry.scope._value_, "", "", entry.subject, "", None)
    if isinstance(entry, Notice):
        return (*entry[:3], 4, 0, 0, 0, "", "", entry.subscription_id, entry.event, entry.body)
    assert_never(entry)


def entry_from_row(row: Row) -> Entry:
    """Return the entry of a whole log_entry row."""
    account_id, seq, at_ms, number, extension_id, message_id, happened, kind, direction, subject, event, body = row
    match _KINDS[number]:
        case EntryKind.MESSAGE:
            return MessageChange(
                account_id,
                seq,
                at_ms,
                extension_id,
                message_id,
                _HAPPENED[happened],
                _TYPES[kind],
                _DIRECTIONS[direction],
                body,
            )
        case EntryKind.SUBSCRIPTION:
            return SubscriptionChange(account_id, seq, at_ms, subject)
        case EntryKind.DIRECTORY:
            return DirectoryChange(account_id, seq, at_ms, _SCOPES[happened], extension_id, subject)
        case EntryKind.NOTICE:
            return Notice(account_id, seq, at_ms, subject, event, body)


def fetch_entries(conn: ReadConnection, account_id: AccountId, after_seq: int, limit: int) -> list[Entry]:
    """Return at most `limit` entries of the account that follow `after_seq`, in order."""
    return [entry_from_row(row) for row in conn.all(FETCH_ENTRIES, (account_id, after_seq, limit))]


def fetch_mailbox_entries(
    conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId, after_seq: int, until_seq: int, limit: int
) -> list[Entry]:
    """Return at most `limit` entries of one mailbox with after_seq < seq ≤ until_seq, in order."""
    rows = conn.all(FETCH_MAILBOX_ENTRIES, (account_id, extension_id, after_seq, until_seq, limit))
    return [entry_from_row(row) for row in rows]


def fetch_counter(conn: ReadConnection, account_id: AccountId) -> Seq:
    """Return the last seq that the account's log gave; 0 before the first."""
    row = conn.one(FETCH_COUNTER, (account_id,))
    return Seq(row[0] if row else 0)


def fetch_counters_touched(conn: ReadConnection, since_ms: int) -> list[tuple[AccountId, Seq, int]]:
    """Return (account, last seq, touched_ms) of the accounts whose log grew at `since_ms` or later."""
    return [(AccountId(row[0]), Seq(row[1]), row[2]) for row in conn.all(FETCH_COUNTERS_TOUCHED, (since_ms,))]


class LogStart(NamedTuple):
    """Where an account's log begins: seq and commit time of its oldest entry; and its newest seq."""

    account_id: AccountId
    first_seq: Seq
    first_ms: int
    last_seq: Seq


def fetch_trimmed_to(conn: ReadConnection, account_id: AccountId) -> Seq:
    """Return the seq up to which the account's entries are gone; 0 where all are there.

    The newest entry is never trimmed, so that this can always be read off the log itself.
    """
    row = conn.one(FETCH_LOG_START, (account_id,))
    return Seq(row[0] - 1 if row and row[0] is not None else 0)


def fetch_log_starts(conn: ReadConnection, after: AccountId, limit: int) -> list[LogStart]:
    """Return where the logs of at most `limit` accounts begin, those above `after`, by account id."""
    rows = conn.all(FETCH_LOG_STARTS, (after, limit))
    return [LogStart(AccountId(row[0]), Seq(row[1]), row[2], Seq(row[3])) for row in rows]
