from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storing import open_test_store
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, Seq, SessionId, SubscriptionId
from tocsin.domain.subscription import StoredFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.storage.store import Store
from tocsin.storage.subscriptions import (
    END_SEQ_COLUMNS,
    END_SUBSCRIPTION,
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
    fetch_account_subscriptions,
    fetch_client_subscriptions,
    fetch_expired_subscriptions,
    fetch_next_expiry_ms,
    fetch_session_subscriptions,
    fetch_subscription,
    filter_row,
    subscription_row,
)
from tocsin.storage.unit import Draft, Unit

pytestmark = pytest.mark.anyio

ACCOUNT, OTHER_ACCOUNT = AccountId(1001), AccountId(1002)
OWNER, APP, SESSION = ExtensionId(2001), ClientId("app"), SessionId("websocket-1")
STORE = parse_event_filter("/account/~/extension/~/message-store?direction=Inbound&type=SMS", ACCOUNT, OWNER)
INSTANT = parse_event_filter("/account/~/extension/~/message-store/instant?type=SMS", ACCOUNT, OWNER)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_test_store(tmp_path) as opened:
        yield opened


def make(subscription_id: str, account_id: AccountId = ACCOUNT, **changes: object) -> Subscription:
    made = Subscription(
        account_id=account_id,
        subscription_id=SubscriptionId(subscription_id),
        owner=OWNER,
        client_id=APP,
        transport=TransportType.WEBHOOK,
        status=SubscriptionStatus.ACTIVE,
        created_ms=5_000,
        expires_ms=65_000,
        lifetime_s=60,
        modified_seq=Seq(0),
        filters=(StoredFilter(1, STORE, Seq(0), None), StoredFilter(2, INSTANT, Seq(0), None)),
        address="https://receiver.example/",
        verification_token="token",
        paused=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


def tell(unit: Unit, subscription_id: str) -> None:
    unit.drafts.append(Draft(SubscriptionChange, (SubscriptionId(subscription_id),)))


async def insert(store: Store, subscription: Subscription) -> Subscription:
    """Store it as its own unit and return it with the seqs that it was given."""
    unit = Unit(subscription.account_id)
    tell(unit, subscription.subscription_id)
    unit.add(INSERT_SUBSCRIPTION, subscription_row(subscription), SUBSCRIPTION_SEQ_COLUMNS)
    for one in subscription.filters:
        unit.add(
            INSERT_FILTER, filter_row(subscription.account_id, subscription.subscription_id, one), FILTER_SEQ_COLUMNS
        )
    seq = (await store.writer.apply(unit)).last_seq
    return replace(
        subscription, modified_seq=seq, filters=tuple(replace(one, from_seq=seq) for one in subscription.filters)
    )


async def test_every_field_comes_back(store: Store) -> None:
    for one in (
        make("plain"),
        make(
            "blacklisted",
            status=SubscriptionStatus.BLACKLISTED,
            blacklisted_ms=9_000,
            blacklist_reason="no answer",
            verification_token=None,
            paused=False,
        ),
        make("websocket", transport=TransportType.WEBSOCKET, address=None, session_id=SESSION),
    ):
        stored = await insert(store, one)
        assert await store.readers.run(fetch_subscription, ACCOUNT, one.subscription_id) == stored


async def test_what_never_was_is_none(store: Store) -> None:
    await insert(store, make("one"))
    assert await store.readers.run(fetch_subscription, ACCOUNT, SubscriptionId("two")) is None
    assert await store.readers.run(fetch_subscription, OTHER_ACCOUNT, SubscriptionId("one")) is None


async def test_they_are_found_by_account_by_client_and_by_session_oldest_first(store: Store) -> None:
    young = await insert(store, make("young", created_ms=9_000))
    old = await insert(store, make("old", session_id=SESSION))
    other_app = await insert(store, make("other-app", created_ms=7_000, client_id=ClientId("other")))
    other_owner = await insert(store, make("other-owner", created_ms=8_000, owner=ExtensionId(2002)))
    foreign = await insert(store, make("foreign", OTHER_ACCOUNT, session_id=SESSION))
    run = store.readers.run
    assert await run(fetch_account_subscriptions, ACCOUNT) == [old, other_app, other_owner, young]
    assert await run(fetch_account_subscriptions, OTHER_ACCOUNT) == [foreign]
    assert await run(fetch_client_subscriptions, ACCOUNT, OWNER, APP) == [old, young]
    assert await run(fetch_session_subscriptions, ACCOUNT, SESSION) == [old]


async def test_updates_take_their_seq_from_the_unit(store: Store) -> None:
    stored = await insert(store, make("one"))
    unit = Unit(ACCOUNT)
    tell(unit, "another")
    tell(unit, "one")
    unit.add(RENEW_SUBSCRIPTION, (ACCOUNT, "one", 99_000, 94, 1), RENEW_SEQ_COLUMNS)
    unit.add(REPLACE_FILTER, (ACCOUNT, "one", 1, 1), REPLACE_SEQ_COLUMNS)
    unit.add(
        INSERT_FILTER,
        filter_row(ACCOUNT, stored.subscription_id, StoredFilter(3, STORE, Seq(1), None)),
        FILTER_SEQ_COLUMNS,
    )
    await store.writer.apply(unit)
    unit = Unit(ACCOUNT)
    tell(unit, "one")
    unit.add(UPDATE_SUBSCRIPTION_STATUS, (ACCOUNT, "one", "Blacklisted", 70_000, "why", 0), STATUS_SEQ_COLUMNS)
    await store.writer.apply(unit)
    assert await store.readers.run(fetch_subscription, ACCOUNT, stored.subscription_id) == replace(
        stored,
        expires_ms=99_000,
        lifetime_s=94,
        modified_seq=Seq(4),
        status=SubscriptionStatus.BLACKLISTED,
        blacklisted_ms=70_000,
        blacklist_reason="why",
        filters=(
            StoredFilter(1, STORE, Seq(1), Seq(3)),
            StoredFilter(2, INSTANT, Seq(1), None),
            StoredFilter(3, STORE, Seq(3), None),
        ),
    )


async def test_one_that_has_ended_is_found_by_its_id_alone(store: Store) -> None:
    stored = await insert(store, make("one", session_id=SESSION))
    unit = Unit(ACCOUNT)
    tell(unit, "one")
    unit.add(END_SUBSCRIPTION, (ACCOUNT, "one", 0, 0), END_SEQ_COLUMNS)
    await store.writer.apply(unit)
    run = store.readers.run
    ended = await run(fetch_subscription, ACCOUNT, stored.subscription_id)
    assert ended == replace(stored, ended_seq=Seq(2), modified_seq=Seq(2))
    assert await run(fetch_account_subscriptions, ACCOUNT) == []
    assert await run(fetch_client_subscriptions, ACCOUNT, OWNER, APP) == []
    assert await run(fetch_session_subscriptions, ACCOUNT, SESSION) == []
    assert await run(fetch_expired_subscriptions, 99_000, 10) == []
    assert await run(fetch_next_expiry_ms) is None


async def test_expired_ones_come_earliest_first_and_no_more_than_asked_for(store: Store) -> None:
    for name, account, expires_ms in [("c", ACCOUNT, 30), ("a", OTHER_ACCOUNT, 10), ("b", ACCOUNT, 20)]:
        await insert(store, make(name, account, expires_ms=expires_ms))
    run = store.readers.run
    assert await run(fetch_next_expiry_ms) == 10
    assert await run(fetch_expired_subscriptions, 9, 10) == []
    assert await run(fetch_expired_subscriptions, 20, 10) == [(OTHER_ACCOUNT, "a"), (ACCOUNT, "b")]
    assert await run(fetch_expired_subscriptions, 99, 1) == [(OTHER_ACCOUNT, "a")]
