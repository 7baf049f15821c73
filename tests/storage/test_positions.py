from pathlib import Path

import pytest

from tests.storing import open_test_store
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.ids import AccountId, ExtensionId, Seq, SubscriptionId
from tocsin.domain.subscription import Gap, Outage, TransportType
from tocsin.storage.positions import (
    FailedBatch,
    LaneKey,
    LanePosition,
    StoredPositions,
    SubscriptionPosition,
    fetch_accounts_behind,
    fetch_gaps,
    fetch_positions,
    put_gap,
    put_lane_position,
    put_subscription_position,
    put_watermark,
)
from tocsin.storage.unit import Draft, Unit

pytestmark = pytest.mark.anyio

ACCOUNT, SUB = AccountId(3), SubscriptionId("sub")
PLAIN, FAILED = LaneKey(SUB, 1, ExtensionId(101)), LaneKey(SUB, 2, ExtensionId(102))
OUTAGE = Outage(1_000, 4, 2_000, "503")


async def test_positions_are_read_as_they_were_put_and_replaced(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        unit = Unit(ACCOUNT)
        put_watermark(unit, 40)
        put_subscription_position(unit, SUB, SubscriptionPosition(Seq(40), OUTAGE))
        put_lane_position(unit, PLAIN, LanePosition(7, None))
        put_lane_position(unit, FAILED, LanePosition(8, FailedBatch(9, 12, 3, 500, 700)))
        put_gap(unit, Gap(SUB, 1, Seq(2), Seq(3), "why", 5))
        await store.writer.apply(unit)
        assert await store.readers.run(fetch_positions, ACCOUNT) == StoredPositions(
            Seq(40),
            {SUB: SubscriptionPosition(Seq(40), OUTAGE)},
            {PLAIN: LanePosition(7, None), FAILED: LanePosition(8, FailedBatch(9, 12, 3, 500, 700))},
            {SUB: 1},
        )
        unit = Unit(ACCOUNT)
        put_watermark(unit, 50)
        put_subscription_position(unit, SUB, None)
        put_lane_position(unit, PLAIN, LanePosition(9, None))
        put_lane_position(unit, FAILED, None)
        put_gap(unit, Gap(SUB, 1, Seq(2), Seq(6), "why", 9))
        await store.writer.apply(unit)
        assert await store.readers.run(fetch_positions, ACCOUNT) == StoredPositions(
            Seq(50), {}, {PLAIN: LanePosition(9, None)}, {SUB: 1}
        )
        assert await store.readers.run(fetch_gaps, ACCOUNT, SUB) == [Gap(SUB, 1, Seq(2), Seq(6), "why", 9)]


async def test_an_account_without_subscriptions_or_rows_is_not_behind(tmp_path: Path) -> None:

    async with open_test_store(tmp_path) as store:
        for account_id in (AccountId(1), AccountId(2)):
            await store.writer.apply(Unit(account_id, drafts=[Draft(SubscriptionChange, (SUB,))]))
        unit = Unit(AccountId(2))
        put_lane_position(unit, PLAIN, LanePosition(0, None))
        await store.writer.apply(unit)
        found = await store.readers.run(fetch_accounts_behind, TransportType.WEBHOOK, AccountId(-1), 10)
        assert found == [(AccountId(2), Seq(1))]
        assert await store.readers.run(fetch_accounts_behind, TransportType.WEBHOOK, AccountId(2), 10) == []
