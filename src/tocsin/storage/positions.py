"""How far the notifier has come, as rows: an account's watermark, and what is behind it (outages, lanes), and gaps.

A row is replaced by deleting and inserting it in one unit, which both databases understand alike. Decides nothing about
when a row is due: notify/ does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, func, literal_column, or_, select

from tocsin.domain.ids import AccountId, ExtensionId, Seq, SubscriptionId
from tocsin.domain.subscription import Gap, Outage, TransportType
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import counter, gap, lane_position, subscription, subscription_position, watermark
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.unit import Unit

EPOCH = 1
"""Of every row: one process holds all accounts."""
NOTICES = -1
"""The filter id of a subscription's lane of notices: stored filters count from 0 up."""

DELETE_WATERMARK = Statement(
    "delete_watermark", delete(watermark).where(watermark.c.account_id == bindparam("k_account")), ("k_account",), 60
)
INSERT_WATERMARK = insert_into(watermark, order=61)

DELETE_SUBSCRIPTION_POSITION = Statement(
    "delete_subscription_position",
    delete(subscription_position).where(
        subscription_position.c.account_id == bindparam("k_account"),
        subscription_position.c.subscription_id == bindparam("k_subscription"),
    ),
    ("k_account", "k_subscription"),
    60,
)
INSERT_SUBSCRIPTION_POSITION = insert_into(subscription_position, order=61)

DELETE_LANE_POSITION = Statement(
    "delete_lane_position",
    delete(lane_position).where(
        lane_position.c.account_id == bindparam("k_account"),
        lane_position.c.subscription_id == bindparam("k_subscription"),
        lane_position.c.filter_id == bindparam("k_filter"),
        lane_position.c.extension_id == bindparam("k_extension"),
    ),
    ("k_account", "k_subscription", "k_filter", "k_extension"),
    60,
)
INSERT_LANE_POSITION = insert_into(lane_position, order=61)

DELETE_GAP = Statement(
    "delete_gap",
    delete(gap).where(
        gap.c.account_id == bindparam("k_account"),
        gap.c.subscription_id == bindparam("k_subscription"),
        gap.c.gap_id == bindparam("k_gap"),
    ),
    ("k_account", "k_subscription", "k_gap"),
    60,
)
INSERT_GAP = insert_into(gap, order=61)

_FETCH_WATERMARK = Statement(
    "fetch_watermark", select(watermark.c.seq).where(watermark.c.account_id == bindparam("k_account")), ("k_account",)
)
_FETCH_SUBSCRIPTION_POSITIONS = Statement(
    "fetch_subscription_positions",
    select(subscription_position).where(subscription_position.c.account_id == bindparam("k_account")),
    ("k_account",),
)
_FETCH_SUBSCRIPTION_POSITION = Statement(
    "fetch_subscription_position",
    select(subscription_position).where(
        subscription_position.c.account_id == bindparam("k_account"),
        subscription_position.c.subscription_id == bindparam("k_subscription"),
    ),
    ("k_account", "k_subscription"),
)
_FETCH_LANE_POSITIONS = Statement(
    "fetch_lane_positions",
    select(lane_position).where(lane_position.c.account_id == bindparam("k_account")),
    ("k_account",),
)
_FETCH_LAST_GAPS = Statement(
    "fetch_last_gaps",
    select(gap.c.subscription_id, func.max(gap.c.gap_id))
    .where(gap.c.account_id == bindparam("k_account"), gap.c.gap_id > 0)
    .group_by(gap.c.subscription_id),
    ("k_account",),
)
_FETCH_GAPS = Statement(
    "fetch_gaps",
    select(gap)
    .where(gap.c.account_id == bindparam("k_account"), gap.c.subscription_id == bindparam("k_subscription"))
    .order_by(gap.c.first_seq, gap.c.gap_id),
    ("k_account", "k_subscription"),
)
_subscribed = exists().where(
    subscription.c.account_id == counter.c.account_id,
    subscription.c.transport == bindparam("k_transport"),
    subscription.c.ended_seq.is_(None),
)
_held = exists().where(subscription_position.c.account_id == counter.c.account_id)
_lagging = exists().where(lane_position.c.account_id == counter.c.account_id)
_FETCH_BEHIND = Statement(
    "fetch_accounts_behind",
    select(counter.c.account_id, counter.c.seq)
    .outerjoin_from(counter, watermark, watermark.c.account_id == counter.c.account_id)
    .where(
        counter.c.account_id > bindparam("k_after"),
        or_(func.coalesce(watermark.c.seq, 0) < counter.c.seq, _held, _lagging),
        or_(_subscribed, _held, _lagging),
    )
    .order_by(counter.c.account_id)
    .limit(bindparam("k_limit"))
    .offset(literal_column("0")),  # SQLite's compiler would add an offset of its own as one more, nameless, parameter
    ("k_after", "k_transport", "k_limit"),
)


class LaneKey(NamedTuple):
    """Which lane of an account: one filter of one subscription, for one mailbox."""

    subscription_id: SubscriptionId
    filter_id: int
    extension_id: ExtensionId


class FailedBatch(NamedTuple):
    """A batch that failed: its bounds, which never change again, and its own clock. Times in wall milliseconds."""

    first_seq: int
    last_seq: int
    attempts: int
    failing_since_ms: int
    next_attempt_ms: int


class LanePosition(NamedTuple):
    """Where a lane behind the watermark stands: everything up to `seq` is done; `failed` is the batch that follows."""

    seq: int
    failed: FailedBatch | None


@dataclass(frozen=True, slots=True)
class SubscriptionPosition:
    """A subscription in an outage: up to `seq` everything was done when the row was written, lanes with rows apart."""

    seq: Seq
    outage: Outage


@dataclass(frozen=True, slots=True)
class StoredPositions:
    """All that is stored about one account's deliveries. `last_gaps` are the highest ids of its own gaps so far."""

    watermark: Seq | None
    subscriptions: dict[SubscriptionId, SubscriptionPosition]
    lanes: dict[LaneKey, LanePosition]
    last_gaps: dict[SubscriptionId, int]


def put_watermark(unit: Unit, seq: int) -> None:
    """Add the account's new watermark to `unit`."""
    unit.add(DELETE_WATERMARK, (unit.account_id,))
    unit.add(INSERT_WATERMARK, (unit.account_id, seq, EPOCH))


def put_subscription_position(
    unit: Unit, subscription_id: SubscriptionId, position: SubscriptionPosition | None
) -> None:
    """Add a subscription's position and outage to `unit`; None removes the row."""
    unit.add(DELETE_SUBSCRIPTION_POSITION, (unit.account_id, subscription_id))
    if position is not None:
        outage = position.outage
        unit.add(
            INSERT_SUBSCRIPTION_POSITION,
            (
                unit.account_id,
                subscription_id,
                position.seq,
                EPOCH,
                outage.failing_since_ms,
                outage.attempts,
                outage.next_probe_ms,
                outage.last_error,
            ),
        )


def put_lane_position(unit: Unit, key: LaneKey, position: LanePosition | None) -> None:
    """Add a lane's position to `unit`; None removes the row."""
    unit.add(DELETE_LANE_POSITION, (unit.account_id, *key))
    if position is not None:
        failed = position.failed
        first, last, attempts, since, following = failed if failed is not None else (None, None, 0, None, None)
        unit.add(
            INSERT_LANE_POSITION,
            (unit.account_id, *key, position.seq, EPOCH, first, last, attempts, since, following),
        )


def put_gap(unit: Unit, record: Gap) -> None:
    """Add a gap to `unit`, in place of an earlier one of the same id that it extends.

    The notifier counts its gaps of a subscription from 1 up; one that trimming leaves has its first seq, negative, for
    an id. So neither needs to know of the other's.
    """
    unit.add(DELETE_GAP, (unit.account_id, record.subscription_id, record.gap_id))
    unit.add(
        INSERT_GAP,
        (
            unit.account_id,
            record.subscription_id,
            record.gap_id,
            record.first_seq,
            record.last_seq,
            record.reason,
            record.at_ms,
        ),
    )


def fetch_positions(conn: ReadConnection, account_id: AccountId) -> StoredPositions:
    """Return the watermark of the account and every row behind it."""
    mark = conn.one(_FETCH_WATERMARK, (account_id,))
    return StoredPositions(
        None if mark is None else Seq(mark[0]),
        _outages(conn.all(_FETCH_SUBSCRIPTION_POSITIONS, (account_id,))),
        {
            LaneKey(row[1], row[2], row[3]): LanePosition(row[4], _failed(row))
            for row in conn.all(_FETCH_LANE_POSITIONS, (account_id,))
        },
        {SubscriptionId(row[0]): row[1] for row in conn.all(_FETCH_LAST_GAPS, (account_id,))},
    )


def fetch_gaps(conn: ReadConnection, account_id: AccountId, subscription_id: SubscriptionId) -> list[Gap]:
    """Return what the subscription will not get by itself, oldest first."""
    return [
        Gap(row[1], row[2], Seq(row[3]), Seq(row[4]), row[5], row[6])
        for row in conn.all(_FETCH_GAPS, (account_id, subscription_id))
    ]


def fetch_accounts_behind(
    conn: ReadConnection, transport: TransportType, after: AccountId, limit: int
) -> list[tuple[AccountId, Seq]]:
    """Return (account, last seq) of accounts with a live subscription of `transport` and something left to do.

    That is: a counter ahead of the watermark, or rows behind it. In order of account id, those above `after`.
    """
    rows = conn.all(_FETCH_BEHIND, (after, transport.value, limit))
    return [(AccountId(row[0]), Seq(row[1])) for row in rows]


def _outages(rows: Iterable[Row]) -> dict[SubscriptionId, SubscriptionPosition]:
    return {
        SubscriptionId(row[1]): SubscriptionPosition(
            Seq(row[2]), Outage(row[4] or 0, row[5], row[6] or 0, row[7] or "")
        )
        for row in rows
    }


def _failed(row: Row) -> FailedBatch | None:
    if row[6] is None:
        return None
    return FailedBatch(row[6], row[7], row[8], row[9], row[10])
