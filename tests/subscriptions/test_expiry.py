from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.subscribing import ACCOUNT, ADMIN, SESSION, START_MS, World, identity, webhook, websocket
from tocsin.domain.clock import DueSource
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.errors import NotFound, StoreUnavailable
from tocsin.domain.ids import SubscriptionId
from tocsin.storage.subscriptions import fetch_next_expiry_ms
from tocsin.storage.unit import Unit
from tocsin.storage.websocket_sessions import DELETE_SESSION
from tocsin.subscriptions.expiry import Expiry

pytestmark = pytest.mark.anyio


def changes(world: World) -> list[str]:
    return [
        entry.subscription_id
        for commit in world.listener.commits
        for entry in commit.entries.get(ACCOUNT, [])
        if isinstance(entry, SubscriptionChange)
    ]


async def test_it_waits_for_wall_time(world: World) -> None:
    source: DueSource = world.expiry
    assert source.next_due_ms() is None
    await world.subscriptions.create(identity(), webhook(expires_in_s=100))
    await world.subscriptions.create(identity(), webhook(expires_in_s=50))
    assert source.next_due_ms() == START_MS + 50_000


async def test_what_is_due_ends_with_an_entry_and_the_rest_stays(world: World) -> None:
    for lifetime in (10, 20, 10, 30):
        await world.subscriptions.create(identity(), webhook(expires_in_s=lifetime))
    world.clock.advance(20)
    await world.expiry.run_due()
    assert [(await world.stored(f"sub-{number}")).ended_seq is not None for number in (1, 2, 3, 4)] == [
        True,
        True,
        True,
        False,
    ]
    assert sorted(changes(world)[4:]) == ["sub-1", "sub-2", "sub-3"]
    assert world.expiry.next_due_ms() == START_MS + 30_000
    world.clock.advance(10)
    await world.expiry.run_due()
    assert world.expiry.next_due_ms() is None


async def test_nothing_that_is_not_due_is_touched(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook(expires_in_s=10))).subscription
    world.clock.advance(9.999)
    await world.expiry.run_due()
    assert await world.stored("sub-1") == made
    assert world.expiry.next_due_ms() == START_MS + 10_000


async def test_a_renewal_moves_it(world: World) -> None:
    await world.subscriptions.create(identity(), webhook(expires_in_s=10))
    world.clock.advance(5)
    renewed = (await world.subscriptions.renew(identity(), SubscriptionId("sub-1"))).subscription
    world.clock.advance(5)
    await world.expiry.run_due()
    assert await world.stored("sub-1") == renewed
    assert world.expiry.next_due_ms() == START_MS + 15_000


async def test_a_cancelled_one_is_not_ended_twice(world: World) -> None:
    await world.subscriptions.create(identity(), webhook(expires_in_s=10))
    await world.subscriptions.cancel(identity(), SubscriptionId("sub-1"))
    world.clock.advance(10)
    await world.expiry.run_due()
    assert changes(world) == ["sub-1", "sub-1"]
    assert world.expiry.next_due_ms() is None


async def test_after_a_restart_it_knows_what_the_store_knows(world: World) -> None:
    await world.subscriptions.create(identity(), webhook(expires_in_s=10))
    again = Expiry(world.store.writer, world.store.readers, world.clock)
    await again.start()
    assert again.next_due_ms() == START_MS + 10_000


async def test_a_store_that_fails_meanwhile_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.subscriptions.create(identity(), webhook(expires_in_s=10))
    await world.subscriptions.create(identity(), webhook(expires_in_s=20))
    world.clock.advance(10)
    run = world.store.readers.run

    async def failing(function: Callable[..., object], *args: object) -> object:
        if function is fetch_next_expiry_ms:
            raise StoreUnavailable
        return await run(function, *args)

    monkeypatch.setattr(world.store.readers, "run", failing)
    with pytest.raises(StoreUnavailable):
        await world.expiry.run_due()
    assert world.expiry.next_due_ms() == START_MS + 10_000
    monkeypatch.undo()
    await world.expiry.run_due()
    assert world.expiry.next_due_ms() == START_MS + 20_000
    assert changes(world)[2:] == ["sub-1"]


async def test_two_that_run_at_once_end_each_one_once(world: World) -> None:
    for _ in range(20):
        await world.subscriptions.create(identity(), webhook(expires_in_s=1))
    other = Expiry(world.store.writer, world.store.readers, world.clock)
    world.clock.advance(1)
    await asyncio.gather(world.expiry.run_due(), world.expiry.run_due(), other.run_due())
    assert sorted(changes(world)[20:]) == sorted(f"sub-{number}" for number in range(1, 21))


async def test_a_renewal_and_the_expiry_at_the_same_time_leave_one_of_the_two(world: World) -> None:
    async def expire() -> None:
        world.clock.advance(0.001)
        await world.expiry.run_due()

    for number in range(1, 11):
        await world.subscriptions.create(identity(ADMIN), webhook(expires_in_s=1))
        world.clock.advance(0.999)
        renewal, _ = await asyncio.gather(
            world.subscriptions.renew(identity(ADMIN), SubscriptionId(f"sub-{number}")),
            expire(),
            return_exceptions=True,
        )
        stored = await world.stored(f"sub-{number}")
        assert (stored.ended_seq is None) is not isinstance(renewal, NotFound)
        world.clock.advance(1)
        await world.expiry.run_due()


async def test_a_websocket_one_is_renewed_while_its_session_is_there(world: World) -> None:
    await world.open_session()
    await world.subscriptions.create(identity(), websocket(), SESSION)
    world.clock.advance(86_400)
    await world.expiry.run_due()
    stored = await world.stored("sub-1")
    assert (stored.ended_seq, stored.expires_ms) == (None, START_MS + 2 * 86_400_000)
    assert world.expiry.next_due_ms() == stored.expires_ms
    gone = Unit(ACCOUNT)
    gone.add(DELETE_SESSION, (ACCOUNT, SESSION))
    await world.store.writer.apply(gone)
    world.clock.advance(86_400)
    await world.expiry.run_due()
    assert (await world.stored("sub-1")).ended_seq is not None
