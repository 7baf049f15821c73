"""What has ended goes once its log has; what lives keeps what it needs."""

from __future__ import annotations

from itertools import count

import pytest

from tests.storage.writing import fetch_rows
from tests.subscribing import (
    ACCOUNT,
    INSTANT,
    SESSION,
    STORE,
    USER_STORE,
    World,
    identity,
    webhook,
    websocket,
)
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.ids import AccountId, ExtensionId, Seq, SubscriptionId
from tocsin.domain.subscription import Gap, Outage
from tocsin.log.trim import LogTrimmer
from tocsin.storage.attempts import INSERT_ATTEMPT
from tocsin.storage.positions import (
    LaneKey,
    LanePosition,
    SubscriptionPosition,
    put_gap,
    put_lane_position,
    put_subscription_position,
    put_watermark,
)
from tocsin.storage.unit import MAX_ROWS, Applied, Unit
from tocsin.subscriptions.manage import SubscriptionUpdate
from tocsin.subscriptions.past import PastSubscriptions

pytestmark = pytest.mark.anyio

WEEK_S = 7 * 86_400
NUMBERS = count(1)
OF_SUBSCRIPTION = (
    "subscription",
    "subscription_filter",
    "gap",
    "lane_position",
    "subscription_position",
    "attempt",
)


class NobodyReads:
    async def flush(self) -> None:
        return

    def read_to(self, account_id: AccountId) -> int | None:
        return None


async def age(world: World, seconds: float = WEEK_S + 1) -> None:
    """Let time pass, everything be delivered, and the log be trimmed."""
    unit = Unit(ACCOUNT)
    put_watermark(unit, 10_000)
    await world.store.writer.apply(unit)
    world.clock.advance(seconds)
    trimmer = LogTrimmer(world.store.readers, world.store.writer, world.clock, NobodyReads())
    await trimmer.trim(world.clock.now_ms() - WEEK_S * 1000)


async def remove(world: World, past: PastSubscriptions | None = None) -> int:
    past = past or PastSubscriptions(world.store.writer, world.store.readers)
    return await past.remove(world.clock.now_ms() - WEEK_S * 1000)


async def create(world: World, *filters: str) -> SubscriptionId:
    made = await world.subscriptions.create(identity(), webhook(*filters, expires_in_s=10**8))
    return made.subscription.subscription_id


async def give_rows(world: World, subscription_id: SubscriptionId, attempts: int = 1) -> None:
    """Let it have a row of everything that goes with a subscription."""
    unit = Unit(ACCOUNT)
    put_gap(unit, Gap(subscription_id, 1, Seq(1), Seq(2), "why", 5))
    put_lane_position(unit, LaneKey(subscription_id, 1, ExtensionId(1)), LanePosition(3, None))
    put_subscription_position(unit, subscription_id, SubscriptionPosition(Seq(1), Outage(1, 2, 3, "no")))
    await world.store.writer.apply(unit)
    for start in range(0, attempts, MAX_ROWS):
        unit = Unit(ACCOUNT)
        for _ in range(start, min(attempts, start + MAX_ROWS)):
            key = (ACCOUNT, next(NUMBERS), subscription_id)
            unit.add(INSERT_ATTEMPT, (*key, "u", "e", 1, 1, 1, 1, 1, 1, "timeout", None, None, None, "", ""))
        await world.store.writer.apply(unit)


async def rows(world: World) -> dict[str, set[str]]:
    """Of each table the subscriptions that have rows in it."""
    found: dict[str, set[str]] = {}
    for name in OF_SUBSCRIPTION:
        place = 2 if name == "attempt" else 1
        found[name] = {row[place] for row in await fetch_rows(world.store, name)}
    return found


async def test_one_that_ended_goes_with_everything_of_it_once_its_log_is_trimmed(world: World) -> None:
    past, alive = await create(world), await create(world)
    await give_rows(world, past)
    await give_rows(world, alive)
    await world.subscriptions.cancel(identity(), past)
    await world.change_message()
    assert await remove(world) == 0
    assert await rows(world) == {key: {past, alive} for key in OF_SUBSCRIPTION}
    await age(world)
    assert await remove(world) == 1
    assert await rows(world) == {key: {alive} for key in OF_SUBSCRIPTION}
    assert await remove(world) == 0


async def test_the_end_of_a_quiet_account_is_past_although_its_entry_is_the_newest(world: World) -> None:
    past = await create(world)
    await world.subscriptions.cancel(identity(), past)
    await age(world, WEEK_S - 1)
    assert await remove(world) == 0
    await age(world, 2)
    assert await remove(world) == 1
    assert await fetch_rows(world.store, "subscription") == []


async def test_one_whose_end_is_not_trimmed_stays(world: World) -> None:
    past = await create(world)
    await world.change_message()
    await age(world)
    await world.subscriptions.cancel(identity(), past)
    await world.change_message()
    assert await remove(world) == 0
    assert (await world.stored(past)).ended_seq == 3


async def test_a_websocket_subscription_goes_likewise(world: World) -> None:
    await world.open_session()
    await world.subscriptions.create(identity(), websocket(), SESSION)
    alive = (await world.subscriptions.create(identity(), websocket(), SESSION)).subscription.subscription_id
    await world.change_message()
    await age(world)
    assert await remove(world) == 1
    assert {row[1] for row in await fetch_rows(world.store, "subscription")} == {alive}


async def test_a_replaced_filter_goes_with_its_lane_and_ids_are_never_used_twice(world: World) -> None:
    one = await create(world, STORE, INSTANT)

    async def update(*filters: str) -> None:
        await world.subscriptions.update(identity(), one, SubscriptionUpdate(filters))
        await world.change_message()

    await give_rows(world, one)
    await update(INSTANT, USER_STORE + "?type=Fax")
    assert await remove(world) == 0
    await age(world)
    assert await remove(world) == 1
    assert [stored.filter_id for stored in (await world.stored(one)).filters] == [2, 3]
    assert await fetch_rows(world.store, "lane_position") == []
    assert {row[1] for row in await fetch_rows(world.store, "gap")} == {one}
    # The newest is replaced too: it stays, so that the next one counts on from it.
    await update(INSTANT)
    await age(world)
    assert await remove(world) == 0
    await update(INSTANT, USER_STORE + "?type=Fax")
    assert [stored.filter_id for stored in (await world.stored(one)).filters] == [2, 3, 4]
    await age(world)
    assert await remove(world) == 1
    assert [stored.filter_id for stored in (await world.stored(one)).filters] == [2, 4]


async def test_units_are_bounded_and_a_run_that_was_cut_off_goes_on(world: World) -> None:
    past = await create(world)
    await give_rows(world, past, attempts=2 * MAX_ROWS + 10)
    await world.subscriptions.cancel(identity(), past)
    await world.change_message()
    await age(world)
    sizes: list[int] = []

    class Breaking:
        async def apply(self, unit: Unit) -> Applied:
            if len(sizes) == 1:
                sizes.append(0)
                raise StoreUnavailable
            sizes.append(sum(len(write.rows) for write in unit.writes))
            return await world.store.writer.apply(unit)

    deleting = PastSubscriptions(Breaking(), world.store.readers)
    with pytest.raises(StoreUnavailable):
        await remove(world, deleting)
    assert (await world.stored(past)).ended_seq is not None
    assert await remove(world, deleting) == 1
    assert await rows(world) == {key: set[str]() for key in OF_SUBSCRIPTION}
    assert max(sizes) <= MAX_ROWS
