from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.subscribing import START_MS, World, identity, webhook
from tocsin.domain.ids import Seq, SubscriptionId
from tocsin.domain.subscription import SubscriptionStatus
from tocsin.subscriptions.blacklisting import Blacklisting

pytestmark = pytest.mark.anyio

REASON = "Webhook responses with code: [503], reason: [Service Unavailable]"


def blacklisting(world: World) -> Blacklisting:
    return Blacklisting(world.store.writer, world.store.readers, world.clock)


async def test_it_becomes_blacklisted_for_a_reason_and_active_again(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    world.clock.advance(600)
    await blacklisting(world).blacklist(made, REASON)
    listed = await world.stored("sub-1")
    assert listed == replace(
        made,
        status=SubscriptionStatus.BLACKLISTED,
        blacklisted_ms=START_MS + 600_000,
        blacklist_reason=REASON,
        modified_seq=Seq(2),
    )
    await blacklisting(world).recover(listed)
    assert await world.stored("sub-1") == replace(made, modified_seq=Seq(3))


async def test_what_changes_nothing_appends_nothing(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    await blacklisting(world).recover(made)
    await blacklisting(world).blacklist(made, REASON)
    world.clock.advance(60)
    await blacklisting(world).blacklist(made, "another")
    stored = await world.stored("sub-1")
    assert (stored.modified_seq, stored.blacklist_reason, stored.blacklisted_ms) == (2, REASON, START_MS)


async def test_one_that_has_ended_stays_as_it_was(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    await world.subscriptions.cancel(identity(), SubscriptionId("sub-1"))
    await blacklisting(world).blacklist(made, REASON)
    assert (await world.stored("sub-1")).status is SubscriptionStatus.ACTIVE


async def test_an_update_at_the_same_time_loses_neither(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook(expires_in_s=10))).subscription
    world.clock.advance(5)
    await asyncio.gather(
        world.subscriptions.renew(identity(), SubscriptionId("sub-1")), blacklisting(world).blacklist(made, REASON)
    )
    stored = await world.stored("sub-1")
    assert (stored.status, stored.expires_ms) == (SubscriptionStatus.BLACKLISTED, START_MS + 15_000)
    assert stored.modified_seq == 3
