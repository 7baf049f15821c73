"""Subscriptions and their filters as rows: the inserts, the updates, and the way back from rows to values.

A filter that was replaced keeps its row, with the seq up to which it counts, until everyone has passed it; so what is
read here always has every stored filter, replaced ones included. No rules: subscriptions/ decides what may change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, func, literal_column, select, update

from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, Seq, SessionId, SubscriptionId
from tocsin.domain.subscription import StoredFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import subscription as subscription_table
from tocsin.storage.schema import subscription_filter as filter_table
from tocsin.storage.statement import Row, Statement, insert_into

EXPECT_TABLE = "subscription"
"""The `table` of an Expect on a subscription; its key is (subscription_id,), its version modified_seq."""

INSERT_SUBSCRIPTION = insert_into(subscription_table, order=10)
SUBSCRIPTION_SEQ_COLUMNS = (INSERT_SUBSCRIPTION.columns.index("modified_seq"),)
"""Where INSERT_SUBSCRIPTION takes the index of the unit's draft that creates the subscription."""

INSERT_FILTER = insert_into(filter_table, order=20)
FILTER_SEQ_COLUMNS = (INSERT_FILTER.columns.index("from_seq"),)
"""Where INSERT_FILTER takes the index of the draft from which on (exclusive) the filter counts."""

_key = (
    subscription_table.c.account_id == bindparam("k_account"),
    subscription_table.c.subscription_id == bindparam("k_subscription"),
)

RENEW_SUBSCRIPTION = Statement(
    "renew_subscription",
    update(subscription_table)
    .where(*_key)
    .values(
        expires_ms=bindparam("v_expires_ms"), lifetime_s=bindparam("v_lifetime_s"), modified_seq=bindparam("v_seq")
    ),
    ("k_account", "k_subscription", "v_expires_ms", "v_lifetime_s", "v_seq"),
)
RENEW_SEQ_COLUMNS = (RENEW_SUBSCRIPTION.columns.index("v_seq"),)

END_SUBSCRIPTION = Statement(
    "end_subscription",
    update(subscription_table).where(*_key).values(ended_seq=bindparam("v_ended_seq"), modified_seq=bindparam("v_seq")),
    ("k_account", "k_subscription", "v_ended_seq", "v_seq"),
)
END_SEQ_COLUMNS = (END_SUBSCRIPTION.columns.index("v_ended_seq"), END_SUBSCRIPTION.columns.index("v_seq"))

UPDATE_SUBSCRIPTION_STATUS = Statement(
    "update_subscription_status",
    update(subscription_table)
    .where(*_key)
    .values(
        status=bindparam("v_status"),
        blacklisted_ms=bindparam("v_blacklisted_ms"),
        blacklist_reason=bindparam("v_reason"),
        modified_seq=bindparam("v_seq"),
    ),
    ("k_account", "k_subscription", "v_status", "v_blacklisted_ms", "v_reason", "v_seq"),
)
STATUS_SEQ_COLUMNS = (UPDATE_SUBSCRIPTION_STATUS.columns.index("v_seq"),)

REPLACE_FILTER = Statement(
    "replace_subscription_filter",
    update(filter_table)
    .where(
        filter_table.c.account_id == bindparam("k_account"),
        filter_table.c.subscription_id == bindparam("k_subscription"),
        filter_table.c.filter_id == bindparam("k_filter"),
    )
    .values(until_seq=bindparam("v_until_seq")),
    ("k_account", "k_subscription", "k_filter", "v_until_seq"),
)
REPLACE_SEQ_COLUMNS = (REPLACE_FILTER.columns.index("v_until_seq"),)

_same = (
    filter_table.c.account_id == subscription_table.c.account_id,
    filter_table.c.subscription_id == subscription_table.c.subscription_id,
)
_of_account = (
    subscription_table.c.account_id == bindparam("k_account"),
    subscription_table.c.ended_seq.is_(None),
)
_of_client = (
    subscription_table.c.account_id == bindparam("k_account"),
    subscription_table.c.owner == bindparam("k_owner"),
    subscription_table.c.client_id == bindparam("k_client"),
    subscription_table.c.ended_seq.is_(None),
)
_of_session = (
    subscription_table.c.account_id == bindparam("k_account"),
    subscription_table.c.session_id == bindparam("k_session"),
    subscription_table.c.ended_seq.is_(None),
)
_by_age = (subscription_table.c.created_ms, subscription_table.c.subscription_id)
_by_filter = (filter_table.c.subscription_id, filter_table.c.filter_id)

_FETCH_ONE = Statement("fetch_subscription", select(subscription_table).where(*_key), ("k_account", "k_subscription"))
_FETCH_ONE_FILTERS = Statement(
    "fetch_subscription_filters",
    select(filter_table)
    .where(
        filter_table.c.account_id == bindparam("k_account"),
        filter_table.c.subscription_id == bindparam("k_subscription"),
    )
    .order_by(filter_table.c.filter_id),
    ("k_account", "k_subscription"),
)
_FETCH_ACCOUNT = Statement(
    "fetch_account_subscriptions",
    select(subscription_table).where(*_of_account).order_by(*_by_age),
    ("k_account",),
)
_FETCH_ACCOUNT_FILTERS = Statement(
    "fetch_account_subscription_filters",
    select(filter_table).where(*_of_account, *_same).order_by(*_by_filter),
    ("k_account",),
)
_FETCH_CLIENT = Statement(
    "fetch_client_subscriptions",
    select(subscription_table).where(*_of_client).order_by(*_by_age),
    ("k_account", "k_owner", "k_client"),
)
_FETCH_CLIENT_FILTERS = Statement(
    "fetch_client_subscription_filters",
    select(filter_table).where(*_of_client, *_same).order_by(*_by_filter),
    ("k_account", "k_owner", "k_client"),
)
_FETCH_SESSION = Statement(
    "fetch_session_subscriptions",
    select(subscription_table).where(*_of_session).order_by(*_by_age),
    ("k_account", "k_session"),
)
_FETCH_SESSION_FILTERS = Statement(
    "fetch_session_subscription_filters",
    select(filter_table).where(*_of_session, *_same).order_by(*_by_filter),
    ("k_account", "k_session"),
)
_FETCH_EXPIRED = Statement(
    "fetch_expired_subscriptions",
    select(subscription_table.c.account_id, subscription_table.c.subscription_id)
    .where(subscription_table.c.ended_seq.is_(None), subscription_table.c.expires_ms <= bindparam("k_until_ms"))
    .order_by(subscription_table.c.expires_ms)
    .limit(bindparam("k_limit"))
    .offset(literal_column("0")),  # SQLite's compiler would add an offset of its own as one more, nameless, parameter
    ("k_until_ms", "k_limit"),
)
_FETCH_NEXT_EXPIRY = Statement(
    "fetch_next_subscription_expiry",
    select(func.min(subscription_table.c.expires_ms)).where(subscription_table.c.ended_seq.is_(None)),
    (),
)


class SubscriptionKey(NamedTuple):
    """Which subscription, across accounts."""

    account_id: AccountId
    subscription_id: SubscriptionId


def subscription_row(subscription: Subscription) -> Row:
    """Return the row for INSERT_SUBSCRIPTION.

    `modified_seq` goes in as it is: for an insert give the subscription the index of its draft, and name
    SUBSCRIPTION_SEQ_COLUMNS in the unit.
    """
    return (
        subscription.account_id,
        subscription.subscription_id,
        subscription.owner,
        subscription.client_id,
        subscription.transport.value,
        subscription.status.value,
        subscription.created_ms,
        subscription.expires_ms,
        subscription.lifetime_s,
        subscription.modified_seq,
        subscription.address,
        subscription.verification_token,
        subscription.session_id,
        int(subscription.paused),
        subscription.ended_seq,
        subscription.blacklisted_ms,
        subscription.blacklist_reason,
    )


def filter_row(account_id: AccountId, subscription_id: SubscriptionId, stored: StoredFilter) -> Row:
    """Return the row for INSERT_FILTER; `from_seq` is the index of a draft, named by FILTER_SEQ_COLUMNS."""
    return (
        account_id,
        subscription_id,
        stored.filter_id,
        stored.filter.text,
        stored.from_seq,
        stored.until_seq,
    )


def subscription_from_row(row: Row, filter_rows: Iterable[Row] = ()) -> Subscription:
    """Return the subscription of a row of its table and the rows of its filters."""
    account_id, owner = AccountId(row[0]), ExtensionId(row[2])
    return Subscription(
        account_id=account_id,
        subscription_id=SubscriptionId(row[1]),
        owner=owner,
        client_id=ClientId(row[3]),
        transport=TransportType(row[4]),
        status=SubscriptionStatus(row[5]),
        created_ms=row[6],
        expires_ms=row[7],
        lifetime_s=row[8],
        modified_seq=Seq(row[9]),
        filters=tuple(
            StoredFilter(one[2], parse_event_filter(one[3], account_id, owner), Seq(one[4]), one[5])
            for one in filter_rows
        ),
        address=row[10],
        verification_token=row[11],
        session_id=None if row[12] is None else SessionId(row[12]),
        paused=bool(row[13]),
        ended_seq=row[14],
        blacklisted_ms=row[15],
        blacklist_reason=row[16],
    )


def fetch_subscription(
    conn: ReadConnection, account_id: AccountId, subscription_id: SubscriptionId
) -> Subscription | None:
    """Return the subscription, also when it has ended (`ended_seq`), or None when there never was one."""
    row = conn.one(_FETCH_ONE, (account_id, subscription_id))
    if row is None:
        return None
    return subscription_from_row(row, conn.all(_FETCH_ONE_FILTERS, (account_id, subscription_id)))


def fetch_account_subscriptions(conn: ReadConnection, account_id: AccountId) -> list[Subscription]:
    """Return those of the account that have not ended, oldest first."""
    return _joined(conn.all(_FETCH_ACCOUNT, (account_id,)), conn.all(_FETCH_ACCOUNT_FILTERS, (account_id,)))


def fetch_client_subscriptions(
    conn: ReadConnection, account_id: AccountId, owner: ExtensionId, client_id: ClientId
) -> list[Subscription]:
    """Return those that `owner` made through the app `client_id` and that have not ended, oldest first."""
    key = (account_id, owner, client_id)
    return _joined(conn.all(_FETCH_CLIENT, key), conn.all(_FETCH_CLIENT_FILTERS, key))


def fetch_session_subscriptions(
    conn: ReadConnection, account_id: AccountId, session_id: SessionId
) -> list[Subscription]:
    """Return those that live by the WebSocket session and have not ended: one, in the ordinary case, or none."""
    key = (account_id, session_id)
    return _joined(conn.all(_FETCH_SESSION, key), conn.all(_FETCH_SESSION_FILTERS, key))


def fetch_expired_subscriptions(conn: ReadConnection, until_ms: int, limit: int) -> list[SubscriptionKey]:
    """Return up to `limit` subscriptions of any account that are due to end at or before `until_ms`, earliest first."""
    rows = conn.all(_FETCH_EXPIRED, (until_ms, limit))
    return [SubscriptionKey(AccountId(row[0]), SubscriptionId(row[1])) for row in rows]


def fetch_next_expiry_ms(conn: ReadConnection) -> int | None:
    """Return when the next subscription of any account expires, in wall milliseconds."""
    row = conn.one(_FETCH_NEXT_EXPIRY)
    return None if row is None or row[0] is None else int(row[0])


def _joined(rows: Iterable[Row], filter_rows: Iterable[Row]) -> list[Subscription]:
    of: dict[str, list[Row]] = {}
    for one in filter_rows:
        of.setdefault(one[1], []).append(one)
    return [subscription_from_row(row, of.get(row[1], ())) for row in rows]
