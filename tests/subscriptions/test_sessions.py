from __future__ import annotations

import pytest

from tests.subscribing import ACCOUNT, INSTANT, SESSION, World, identity, webhook, websocket
from tocsin.domain.ids import AccountId, SessionId, SubscriptionId
from tocsin.subscriptions.manage import SubscriptionUpdate
from tocsin.subscriptions.sessions import SessionSubscriptions

pytestmark = pytest.mark.anyio

OTHER = SessionId("websocket-2")


def sessions(world: World) -> SessionSubscriptions:
    return SessionSubscriptions(world.store.writer, world.store.readers)


async def test_a_session_has_the_subscription_that_was_made_through_it_last(world: World) -> None:
    assert await sessions(world).of_session(ACCOUNT, SESSION) is None
    await world.subscriptions.create(identity(), websocket(), SESSION)
    await world.subscriptions.create(identity(), webhook(), SESSION)
    assert await sessions(world).of_session(ACCOUNT, SESSION) == "sub-1"
    await world.subscriptions.create(identity(), websocket(), SESSION)
    assert await sessions(world).of_session(ACCOUNT, SESSION) == "sub-3"
    assert await sessions(world).of_session(ACCOUNT, OTHER) is None
    assert await sessions(world).of_session(AccountId(1), SESSION) is None


async def test_it_is_loaded_as_it_is_now_with_replaced_filters(world: World) -> None:
    await world.subscriptions.create(identity(), websocket(), SESSION)
    updated = await world.subscriptions.update(
        identity(), SubscriptionId("sub-1"), SubscriptionUpdate((INSTANT,)), SESSION
    )
    loaded = await sessions(world).load(ACCOUNT, SESSION)
    assert loaded == updated.subscription
    assert loaded is not None
    assert len(loaded.filters) == 2


async def test_it_ends_with_its_session_and_no_other_does(world: World) -> None:
    await world.subscriptions.create(identity(), websocket(), SESSION)
    await world.subscriptions.create(identity(), websocket(), OTHER)
    await world.subscriptions.create(identity(), webhook(), SESSION)
    await sessions(world).end_of_session(ACCOUNT, SESSION)
    assert [(await world.stored(f"sub-{number}")).ended_seq for number in (1, 2, 3)] == [4, None, None]
    assert await sessions(world).of_session(ACCOUNT, SESSION) is None
    await sessions(world).end_of_session(ACCOUNT, SESSION)
    assert (await world.stored("sub-1")).ended_seq == 4
