"""Attempts as rows: how one is kept, how old ones go, how a list of them is read. Never the bodies that were sent.

Ids of attempts rise with time within a process; lists are ordered by start, so that several processes mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, delete, func, select

from tocsin.domain.attempt import AttemptRecord, Delivered, Failed, FailureKind
from tocsin.domain.ids import AccountId, ExtensionId, SubscriptionId
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import attempt, counter
from tocsin.storage.statement import Row, Statement, delete_from, insert_into

DELIVERED = "delivered"
"""The outcome of a success; a failure's is its kind's name in lower case."""

_KINDS = {kind.name.lower(): kind for kind in FailureKind}

INSERT_ATTEMPT = insert_into(attempt)
DELETE_ATTEMPT = delete_from(attempt)


def _trim(name: str, which: ColumnElement[bool]) -> Statement:
    of_subscription = (
        attempt.c.account_id == bindparam("of_account"),
        attempt.c.subscription_id == bindparam("of_subscription"),
        which,
    )
    first_to_go = (
        select(attempt.c.attempt_id)
        .where(*of_subscription)
        .order_by(attempt.c.attempt_id.desc())
        .limit(1)
        .offset(bindparam("keep", type_=BigInteger))
        .scalar_subquery()
    )
    return Statement(
        name,
        delete(attempt).where(*of_subscription, attempt.c.attempt_id <= first_to_go),
        ("of_account", "of_subscription", "keep"),
        order=60,
    )


TRIM_SUCCESSES = _trim("trim_delivered_attempts", attempt.c.outcome == DELIVERED)
TRIM_FAILURES = _trim("trim_failed_attempts", attempt.c.outcome != DELIVERED)
"""Both delete a subscription's attempts but the newest `keep`."""

# By way of the accounts: the index of attempts by time begins with the account.
_FETCH_OLD = Statement(
    "fetch_old_attempts",
    select(attempt.c.account_id, attempt.c.attempt_id)
    .where(attempt.c.account_id == counter.c.account_id, attempt.c.started_ms < bindparam("before_ms"))
    .order_by(counter.c.account_id)
    .limit(bindparam("at_most")),
    ("before_ms", "at_most"),
)


@dataclass(frozen=True, slots=True)
class AttemptQuery:
    """Which attempts, newest first; None: any. `delivered` tells successes from failures, `kind` one kind of these."""

    subscription_id: SubscriptionId | None = None
    delivered: bool | None = None
    kind: FailureKind | None = None
    http_status: int | None = None
    from_ms: int | None = None
    page: int = 1
    per_page: int = 100


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """One page, and how many there are in all."""

    records: Sequence[AttemptRecord]
    total: int


def outcome_name(outcome: Delivered | Failed) -> str:
    """The outcome as a column or a client's parameter spells it."""
    return DELIVERED if isinstance(outcome, Delivered) else outcome.kind.name.lower()


def outcome_kind(name: str) -> FailureKind | None:
    """The failure that is spelt so, or None."""
    return _KINDS.get(name)


def attempt_row(record: AttemptRecord, attempt_id: int) -> Row:
    """Return the row for INSERT_ATTEMPT."""
    outcome = record.outcome
    failed = outcome if isinstance(outcome, Failed) else None
    return (
        record.account_id,
        attempt_id,
        record.subscription_id,
        record.notification_uuid,
        record.event,
        record.extension_id,
        record.first_seq,
        record.last_seq,
        record.number,
        record.started_ms,
        outcome.duration_ms,
        outcome_name(outcome),
        outcome.http_status,
        failed.detail if failed else None,
        record.next_attempt_ms,
        failed.response_head if failed else "",
        failed.response_body if failed else "",
    )


def fetch_attempts(conn: ReadConnection, query: AttemptQuery) -> AttemptPage:
    """Return one page of what `query` asks for, newest first."""
    conditions = _conditions(query)
    total = conn.select(select(func.count()).select_from(attempt).where(*conditions))[0][0]
    rows = conn.select(
        select(attempt)
        .where(*conditions)
        .order_by(attempt.c.started_ms.desc(), attempt.c.attempt_id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return AttemptPage([_record(*row) for row in rows], total)


def fetch_old_attempts(conn: ReadConnection, before_ms: int, limit: int) -> list[Row]:
    """Return the keys, for DELETE_ATTEMPT, of at most `limit` attempts of any account that began before that time."""
    return conn.all(_FETCH_OLD, (before_ms, limit))


def _conditions(query: AttemptQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.subscription_id is not None:
        conditions.append(attempt.c.subscription_id == str(query.subscription_id))
    if query.delivered is not None:
        conditions.append(attempt.c.outcome == DELIVERED if query.delivered else attempt.c.outcome != DELIVERED)
    if query.kind is not None:
        conditions.append(attempt.c.outcome == query.kind.name.lower())
    if query.http_status is not None:
        conditions.append(attempt.c.http_status == query.http_status)
    if query.from_ms is not None:
        conditions.append(attempt.c.started_ms >= query.from_ms)
    return conditions


def _record(
    account_id: int,
    _attempt_id: int,
    subscription_id: str,
    notification_uuid: str,
    event: str,
    extension_id: int,
    first_seq: int,
    last_seq: int,
    number: int,
    started_ms: int,
    duration_ms: int,
    outcome: str,
    http_status: int | None,
    error: str | None,
    next_attempt_ms: int | None,
    *response: Any,
) -> AttemptRecord:
    ended: Delivered | Failed
    if outcome == DELIVERED:
        ended = Delivered(http_status or 0, duration_ms)
    else:
        head, body = response
        ended = Failed(_KINDS[outcome], error or "", duration_ms, http_status, None, head, body)
    return AttemptRecord(
        AccountId(account_id),
        SubscriptionId(subscription_id),
        notification_uuid,
        event,
        ExtensionId(extension_id),
        first_seq,
        last_seq,
        number,
        started_ms,
        ended,
        next_attempt_ms,
    )
