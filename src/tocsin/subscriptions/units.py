"""The writes that change subscriptions, each one unit: the rows and the SubscriptionChange that tells of them.

A unit that changes a stored subscription names the version that was read: a change made meanwhile gives it back.
Pure: makes units, applies none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.event_filter import EventFilter
from tocsin.domain.ids import Seq
from tocsin.domain.subscription import StoredFilter, Subscription
from tocsin.storage.subscriptions import (
    END_SEQ_COLUMNS,
    END_SUBSCRIPTION,
    EXPECT_TABLE,
    FILTER_SEQ_COLUMNS,
    INSERT_FILTER,
    INSERT_SUBSCRIPTION,
    RENEW_SEQ_COLUMNS,
    RENEW_SUBSCRIPTION,
    REPLACE_FILTER,
    REPLACE_SEQ_COLUMNS,
    STATUS_SEQ_COLUMNS,
    SUBSCRIPTION_SEQ_COLUMNS,
    UPDATE_SUBSCRIPTION_STATUS,
    filter_row,
    subscription_row,
)
from tocsin.storage.unit import Draft, Expect, Unit


def creation_unit(subscription: Subscription, replaced: Sequence[Subscription] = ()) -> Unit:
    """Return the unit that stores `subscription` and ends `replaced`; its own entry is the unit's last.

    Its filters count from that entry on, whatever seqs they carry here.
    """
    unit = Unit(subscription.account_id)
    for one in replaced:
        _end(unit, one)
    draft = _draft(unit, subscription)
    unit.add(INSERT_SUBSCRIPTION, subscription_row(replace(subscription, modified_seq=draft)), SUBSCRIPTION_SEQ_COLUMNS)
    for stored in subscription.filters:
        row = filter_row(
            subscription.account_id, subscription.subscription_id, replace(stored, from_seq=draft, until_seq=None)
        )
        unit.add(INSERT_FILTER, row, FILTER_SEQ_COLUMNS)
    return unit


def update_unit(current: Subscription, following: Subscription) -> Unit:
    """Return the unit that brings the stored `current` to the lifetime and the filters of `following`."""
    unit = Unit(current.account_id)
    draft = _expected_draft(unit, current)
    key = (current.account_id, current.subscription_id)
    unit.add(RENEW_SUBSCRIPTION, (*key, following.expires_ms, following.lifetime_s, draft), RENEW_SEQ_COLUMNS)
    kept = {stored.filter_id for stored in following.current_filters}
    known = {stored.filter_id for stored in current.filters}
    for stored in current.current_filters:
        if stored.filter_id not in kept:
            unit.add(REPLACE_FILTER, (*key, stored.filter_id, draft), REPLACE_SEQ_COLUMNS)
    for stored in following.current_filters:
        if stored.filter_id not in known:
            unit.add(INSERT_FILTER, filter_row(*key, replace(stored, from_seq=draft)), FILTER_SEQ_COLUMNS)
    return unit


def ending_unit(current: Subscription) -> Unit:
    """Return the unit that ends `current`: by cancellation, by expiry, or with its session."""
    unit = Unit(current.account_id)
    _end(unit, current)
    return unit


def status_unit(current: Subscription, following: Subscription) -> Unit:
    """Return the unit that brings the stored `current` to the status, and its reason, of `following`."""
    unit = Unit(current.account_id)
    draft = _expected_draft(unit, current)
    unit.add(
        UPDATE_SUBSCRIPTION_STATUS,
        (
            current.account_id,
            current.subscription_id,
            following.status.value,
            following.blacklisted_ms,
            following.blacklist_reason,
            draft,
        ),
        STATUS_SEQ_COLUMNS,
    )
    return unit


def with_filters(current: Subscription, wanted: Sequence[EventFilter], seq: Seq) -> Subscription:
    """Return `current` with `wanted` for its filters from `seq` on.

    A filter that stays in the same words keeps its row, and with it its lane; one that comes in other words is
    replaced even where it matches the same, since the words are what `event` will say. Ids are never used twice.
    """
    texts = {one.text for one in wanted}
    stored = [
        one if one.until_seq is not None or one.filter.text in texts else replace(one, until_seq=seq)
        for one in current.filters
    ]
    kept = {one.filter.text for one in stored if one.until_seq is None}
    next_id = max((one.filter_id for one in stored), default=0) + 1
    new = [one for one in wanted if one.text not in kept]
    stored += [StoredFilter(next_id + place, one, seq, None) for place, one in enumerate(new)]
    return replace(current, filters=tuple(stored))


def _end(unit: Unit, current: Subscription) -> None:
    draft = _expected_draft(unit, current)
    unit.add(END_SUBSCRIPTION, (current.account_id, current.subscription_id, draft, draft), END_SEQ_COLUMNS)


def _expected_draft(unit: Unit, current: Subscription) -> Seq:
    unit.expects.append(Expect(EXPECT_TABLE, (current.subscription_id,), current.modified_seq))
    return _draft(unit, current)


def _draft(unit: Unit, subscription: Subscription) -> Seq:
    """Add the entry; its index stands for the seq that the writer will give it."""
    unit.drafts.append(Draft(SubscriptionChange, (subscription.subscription_id,)))
    return Seq(len(unit.drafts) - 1)
