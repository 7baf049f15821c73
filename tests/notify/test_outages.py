import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.notify.stage import (
    ACCOUNT,
    ALICE,
    BOB,
    INSTANT,
    REFUSED,
    STORE,
    TAKEN,
    Stage,
    new_ids,
    new_ids_of,
    open_stage,
    uuids,
)
from tocsin.domain.attempt import Delivered, Failed, FailureKind, Outcome
from tocsin.domain.delivery import Delivery
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.ids import SubscriptionId
from tocsin.domain.subscription import Outage, SubscriptionStatus
from tocsin.storage.positions import fetch_gaps, fetch_positions
from tocsin.storage.schema import subscription_filter
from tocsin.storage.statement import delete_from
from tocsin.storage.unit import Draft, Unit
from tocsin.subscriptions.units import update_unit

pytestmark = pytest.mark.anyio

SUB = SubscriptionId("sub")
DELETE_FILTER = delete_from(subscription_filter)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as opened:
        yield opened


async def test_a_failed_batch_is_tried_again_with_the_same_uuid_and_growing_waits(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: REFUSED
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    second = await stage.receive()
    await stage.advance(16)
    assert [(one.number, new_ids(one)) for one in stage.receivers.sent] == [(n, [first]) for n in (1, 2, 3, 4, 5)]
    assert len(set(uuids(stage.receivers.sent))) == 1
    start = stage.attempts.records[0].started_ms
    assert [(one.started_ms - start) // 1000 for one in stage.attempts.records] == [0, 1, 3, 7, 15]
    assert [one.next_attempt_ms for one in stage.attempts.records[:4]] == [
        one.started_ms for one in stage.attempts.records[1:]
    ]
    stage.receivers.answer = lambda _: TAKEN
    await stage.advance(16)
    await stage.receivers.until_told(second)
    assert [new_ids(one) for one in stage.receivers.taken] == [[first], [second]]
    assert stage.notifier.next_due_ms() is None


async def test_retry_after_moves_the_next_attempt_but_not_past_the_longest_wait(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    wishes = iter([5.0, 1e9])
    stage.receivers.answer = lambda _: Failed(FailureKind.STATUS, "busy", 1, 503, retry_after_s=next(wishes, None))
    await stage.receive()
    await stage.receivers.until_sent(1)
    await stage.advance(70)
    start = stage.attempts.records[0].started_ms
    assert [(one.started_ms - start) // 1000 for one in stage.attempts.records] == [0, 5, 65, 69]


async def test_while_an_outage_lasts_lanes_probe_in_turn_and_a_success_frees_all(stage: Stage) -> None:
    await stage.subscribe(STORE.format(ALICE), STORE.format(BOB), INSTANT.format(BOB))
    stage.receivers.answer = lambda _: REFUSED
    first = await stage.receive(ALICE)
    await stage.receivers.until_sent(1)
    second = await stage.receive(BOB)
    await stage.subscribe(STORE.format(BOB), name="witness")
    stage.receivers.answer = lambda delivery: REFUSED if delivery.subscription.subscription_id == "sub" else TAKEN
    marker = await stage.receive(BOB)
    await stage.receivers.until_told(marker)
    mine = [one for one in stage.receivers.sent if one.subscription.subscription_id == "sub"]
    assert [new_ids(one) for one in mine] == [[first]]
    await stage.advance(7)
    mine = [one for one in stage.receivers.sent if one.subscription.subscription_id == "sub"]
    lanes = [(one.event.rpartition("/")[2], one.extension_id) for one in mine]
    assert sorted(lanes[1:4]) == [("instant?type=SMS", BOB), ("message-store", ALICE), ("message-store", BOB)]
    stage.receivers.answer = lambda _: TAKEN
    await stage.advance(60)
    await stage.receivers.until_told(first)
    await stage.receivers.until_told(marker, times=3)
    told = [one for one in stage.receivers.taken if one.subscription.subscription_id == "sub"]
    assert new_ids_of(one for one in told if "instant" in one.event) == [second, marker]
    assert new_ids_of(one for one in told if one.event.endswith("102/message-store")) == [second, marker]


async def test_ten_minutes_of_failure_blacklist_and_a_handshake_brings_everything_back(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: REFUSED
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    await stage.advance(599)
    assert (await stage.stored()).status is SubscriptionStatus.ACTIVE
    await stage.advance(62)
    blacklisted = await stage.stored()
    assert blacklisted.status is SubscriptionStatus.BLACKLISTED
    assert blacklisted.blacklist_reason is not None
    assert "503" in blacklisted.blacklist_reason
    assert "10 minutes" in blacklisted.blacklist_reason
    sent = len(stage.receivers.sent)
    later = await stage.receive()
    stage.receivers.handshake = REFUSED
    await stage.advance(901)
    assert len(stage.receivers.handshakes) == 1
    await stage.notifier.flush()
    await stage.restart()
    await stage.subscribe(STORE.format(BOB), name="other")
    stage.receivers.answer = lambda _: TAKEN
    marker = await stage.receive(BOB)
    await stage.receivers.until_told(marker)
    assert len(stage.receivers.sent) == sent + 1
    await stage.advance(600)
    assert len(stage.receivers.handshakes) == 1
    stage.receivers.handshake = Delivered(200, 1)
    await stage.advance(301)
    assert len(stage.receivers.handshakes) == 2
    await stage.receivers.until_told(later)
    assert (await stage.stored()).status is SubscriptionStatus.ACTIVE
    assert new_ids_of(stage.receivers.taken) == [marker, first, later]


async def outage_of(stage: Stage) -> Outage | None:
    """The outage as it is stored."""
    row = (await stage.store.readers.run(fetch_positions, ACCOUNT)).subscriptions.get(SUB)
    return None if row is None else row.outage


async def test_restarts_do_not_reset_the_outage_clock(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    await stage.subscribe(STORE.format(BOB), name="witness")
    stage.receivers.answer = lambda delivery: REFUSED if delivery.subscription.subscription_id == "sub" else TAKEN
    await stage.receive()
    await stage.receivers.until_sent(1)
    await stage.notifier.flush()
    began = await outage_of(stage)
    assert began is not None
    for _ in range(11):
        await stage.restart()
        await stage.receivers.until_told(await stage.receive(BOB))  # the account has been loaded
        outage = await outage_of(stage)
        assert outage is not None
        assert outage.failing_since_ms == began.failing_since_ms
        await stage.advance(60)
        await stage.notifier.flush()
    assert (await stage.stored()).status is SubscriptionStatus.BLACKLISTED


async def test_a_poisonous_batch_is_set_aside_as_a_gap_and_its_lane_goes_on(stage: Stage) -> None:
    await stage.subscribe(INSTANT.format(ALICE), STORE.format(BOB))
    poison = await stage.receive()

    def answer(delivery: Delivery) -> Outcome:
        return REFUSED if new_ids(delivery) == [poison] else TAKEN

    stage.receivers.answer = answer
    await stage.restart()
    await stage.receive(BOB)
    behind = await stage.receive()
    for _ in range(12):
        await stage.advance(58)
        marker = await stage.receive(BOB)
        while marker not in new_ids_of(stage.receivers.taken):
            await stage.advance(1)
    while behind not in new_ids_of(stage.receivers.taken):
        await stage.advance(1)
    await stage.notifier.flush()
    assert (await stage.stored()).status is SubscriptionStatus.ACTIVE
    gaps = await stage.store.readers.run(fetch_gaps, ACCOUNT, SUB)
    assert [gap.first_seq for gap in gaps] == [gap.last_seq for gap in gaps] == [stage.receivers.sent[0].first_seq]
    assert "503" in gaps[0].reason
    positions = await stage.store.readers.run(fetch_positions, ACCOUNT)
    assert positions.lanes == {}
    assert positions.watermark is not None
    assert positions.watermark > gaps[0].last_seq
    poisoned = [one for one in stage.attempts.records if one.first_seq == gaps[0].first_seq]
    assert poisoned[-1].next_attempt_ms is None
    assert poisoned[-1].started_ms - poisoned[0].started_ms >= 600_000


async def test_a_failed_batch_keeps_its_bounds_over_a_restart(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: None
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    stage.receivers.land(REFUSED)
    await stage.notifier.flush()
    later = await stage.receive()
    await stage.restart()
    stage.receivers.answer = lambda _: TAKEN
    await stage.subscribe(STORE.format(BOB), name="other")
    marker = await stage.receive(BOB)
    await stage.receivers.until_told(marker)
    await stage.advance(2)
    await stage.receivers.until_told(later)
    mine = [one for one in stage.receivers.sent if one.subscription.subscription_id == "sub"]
    assert [new_ids(one) for one in mine] == [[first], [first], [later]]
    assert mine[0].uuid == mine[1].uuid
    assert mine[1].number == 2


async def test_regression_a_filter_that_goes_while_its_lane_probes_leaves_the_others_their_turn(stage: Stage) -> None:
    await stage.subscribe(STORE.format(ALICE), INSTANT.format(BOB))
    stage.receivers.answer = lambda _: REFUSED
    await stage.receive()
    await stage.receivers.until_sent(1)
    waits = await stage.receive(BOB)
    stage.receivers.answer = lambda _: None
    stage.clock.jump_to(stage.clock.now_ms() + 2_000)
    probe = asyncio.create_task(stage.notifier.run_due())
    await stage.receivers.until(lambda: stage.receivers.held)
    unit = Unit(ACCOUNT, drafts=[Draft(SubscriptionChange, (SUB,))])
    unit.add(DELETE_FILTER, (ACCOUNT, SUB, 1))
    await stage.store.writer.apply(unit)
    await stage.subscribe(INSTANT.format(BOB), name="other")
    marker = await stage.receive(BOB)
    # Once the other is told, the first filter's end has been read.
    await stage.receivers.until(lambda: stage.receivers.sent[-1].subscription.subscription_id == "other")
    stage.receivers.answer = lambda _: TAKEN
    stage.receivers.land(REFUSED)
    while stage.receivers.held:
        stage.receivers.land()
    await probe
    await stage.advance(120)
    await stage.receivers.until_told(waits)
    await stage.receivers.until_told(marker, times=2)


async def test_regression_a_renewal_has_a_blacklisted_receiver_asked_at_once(stage: Stage) -> None:
    subscription = await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: REFUSED
    stage.receivers.handshake = REFUSED
    pending = await stage.receive()
    while (await stage.stored()).status is not SubscriptionStatus.BLACKLISTED:
        await stage.advance(60)
    stage.receivers.answer = lambda _: TAKEN
    stage.receivers.handshake = TAKEN
    blacklisted = await stage.stored()
    assert not stage.receivers.handshakes
    longer = replace(blacklisted, expires_ms=subscription.expires_ms + 60_000)
    await stage.store.writer.apply(update_unit(blacklisted, longer))
    await stage.receivers.until(lambda: stage.receivers.handshakes)
    await stage.advance(60)
    await stage.receivers.until_told(pending)
