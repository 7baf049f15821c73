"""Subscriptions that have ended and filters that were replaced: which nobody needs any more, and how they are deleted.

Nobody does once the part of the log that they covered is trimmed: only what every reader has passed is. The newest
filter of a subscription that lives is kept in any case: the next one's id is counted from it.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, exists, func, select

from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import (
    attempt,
    counter,
    gap,
    lane_position,
    log_entry,
    subscription,
    subscription_filter,
    subscription_position,
)
from tocsin.storage.statement import Row, Statement, delete_from
from tocsin.storage.subscriptions import SubscriptionKey
from tocsin.storage.unit import Unit

_OF_SUBSCRIPTION = (attempt, gap, lane_position, subscription_filter, subscription_position)
"""Tables whose rows go with their subscription."""

_FETCH_ROWS = {
    table: Statement(
        f"fetch_{table.name}_keys",
        select(*table.primary_key.columns)
        .where(table.c.account_id == bindparam("k_account"), table.c.subscription_id == bindparam("k_subscription"))
        .limit(bindparam("at_most")),
        ("k_account", "k_subscription", "at_most"),
    )
    for table in _OF_SUBSCRIPTION
}
_DELETE_ROW = {table: delete_from(table) for table in _OF_SUBSCRIPTION}
_DELETE_SUBSCRIPTION = delete_from(subscription, order=60)
_DELETE_LANES = Statement(
    "delete_filter_lanes",
    delete(lane_position).where(
        lane_position.c.account_id == bindparam("k_account"),
        lane_position.c.subscription_id == bindparam("k_subscription"),
        lane_position.c.filter_id == bindparam("k_filter"),
    ),
    ("k_account", "k_subscription", "k_filter"),
)

# The newest entry of a log is never trimmed; it needs nothing that it ended itself once it is old.
_newest = select(counter.c.seq).where(counter.c.account_id == log_entry.c.account_id).scalar_subquery()
_needing = (log_entry.c.at_ms >= bindparam("before_ms")) | (log_entry.c.seq < _newest)
_FETCH_PAST = Statement(
    "fetch_past_subscriptions",
    select(subscription.c.account_id, subscription.c.subscription_id)
    .where(
        subscription.c.ended_seq.is_not(None),
        ~exists().where(
            log_entry.c.account_id == subscription.c.account_id, log_entry.c.seq <= subscription.c.ended_seq, _needing
        ),
    )
    .order_by(subscription.c.account_id, subscription.c.subscription_id)
    .limit(bindparam("at_most")),
    ("before_ms", "at_most"),
)
_other = subscription_filter.alias("other")
_FETCH_PAST_FILTERS = Statement(
    "fetch_past_filters",
    select(*subscription_filter.primary_key.columns)
    .where(
        subscription_filter.c.until_seq.is_not(None),
        subscription_filter.c.filter_id
        < select(func.max(_other.c.filter_id))
        .where(
            _other.c.account_id == subscription_filter.c.account_id,
            _other.c.subscription_id == subscription_filter.c.subscription_id,
        )
        .scalar_subquery(),
        ~exists().where(
            log_entry.c.account_id == subscription_filter.c.account_id,
            log_entry.c.seq <= subscription_filter.c.until_seq,
            _needing,
        ),
    )
    .order_by(*subscription_filter.primary_key.columns)
    .limit(bindparam("at_most")),
    ("before_ms", "at_most"),
)


def fetch_past_subscriptions(conn: ReadConnection, before_ms: int, limit: int) -> list[SubscriptionKey]:
    """Return at most `limit` subscriptions that ended, with no entry left before their end that is wanted.

    An account's newest entry is still wanted when it is not older than `before_ms`, every other entry in any case.
    """
    rows = conn.all(_FETCH_PAST, (before_ms, limit))
    return [SubscriptionKey(AccountId(row[0]), SubscriptionId(row[1])) for row in rows]


def fetch_past_filters(conn: ReadConnection, before_ms: int, limit: int) -> list[Row]:
    """Return the keys (account, subscription, filter) of at most `limit` replaced filters, judged in the same way."""
    return conn.all(_FETCH_PAST_FILTERS, (before_ms, limit))


def fetch_rows_of(conn: ReadConnection, key: SubscriptionKey, limit: int) -> list[tuple[Statement, Row]]:
    """Return the deletes of at most `limit` rows that go with a subscription: statement and its values."""
    found: list[tuple[Statement, Row]] = []
    for table in _OF_SUBSCRIPTION:
        rows = conn.all(_FETCH_ROWS[table], (*key, limit - len(found)))
        found += [(_DELETE_ROW[table], row) for row in rows]
    return found


def delete_subscription(unit: Unit, subscription_id: SubscriptionId) -> None:
    """Add the end of a subscription's row to `unit`; what goes with it is deleted before or in the same unit."""
    unit.add(_DELETE_SUBSCRIPTION, (unit.account_id, subscription_id))


def delete_filter(unit: Unit, subscription_id: SubscriptionId, filter_id: int) -> None:
    """Add the end of a replaced filter, and of the positions of its lanes, to `unit`."""
    unit.add(_DELETE_LANES, (unit.account_id, subscription_id, filter_id))
    unit.add(_DELETE_ROW[subscription_filter], (unit.account_id, subscription_id, filter_id))
