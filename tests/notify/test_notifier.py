import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.notify.stage import (
    ACCOUNT,
    ALICE,
    BOB,
    INSTANT,
    OWNER,
    REFUSED,
    STORE,
    TAKEN,
    Stage,
    body,
    changed,
    changes,
    document,
    new_ids,
    new_ids_of,
    open_stage,
    uuids,
)
from tocsin.domain.attempt import Withheld
from tocsin.domain.delivery import Delivery
from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId
from tocsin.domain.message import Direction, MessageType
from tocsin.notify.loading import StoreLoads
from tocsin.notify.notifier import NotifierSettings
from tocsin.storage.positions import fetch_gaps, fetch_positions
from tocsin.subscriptions.units import update_unit

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as opened:
        yield opened


async def test_an_idle_subscriber_is_told_of_one_change_at_once(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    message_id = await stage.receive()
    await stage.receivers.until_sent(1)
    told = document(stage.receivers.sent[0])
    assert list(told) == ["uuid", "event", "timestamp", "subscriptionId", "ownerId", "body"]
    assert told["uuid"] == stage.receivers.sent[0].uuid
    assert told["event"] == f"/restapi/v1.0/account/7/extension/{OWNER}/message-store"
    assert told["timestamp"] == "2027-01-15T08:00:00.000Z"
    assert (told["subscriptionId"], told["ownerId"]) == ("sub", "101")
    assert told["body"] == {
        "accountId": "7",
        "extensionId": "101",
        "lastUpdated": "2027-01-15T08:00:00.000Z",
        "changes": [{"type": "SMS", "newCount": 1, "updatedCount": 0, "newMessageIds": [message_id]}],
    }


async def test_what_happens_while_one_is_in_flight_goes_out_together(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: None
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    second = await stage.receive()
    _, fax = stage.message(kind=MessageType.FAX, direction=Direction.OUTBOUND)
    await stage.write(changed(first), changed(second), fax)
    await stage.touch(first)
    stage.receivers.land()
    await stage.receivers.until_sent(2)
    assert changes(stage.receivers.sent[1]) == [
        {"type": "SMS", "newCount": 1, "updatedCount": 1, "newMessageIds": [second]},
        {"type": "Fax", "newCount": 1, "updatedCount": 0, "newMessageIds": [stage.next_id]},
    ]


async def test_instant_events_are_one_per_message_in_order(stage: Stage) -> None:
    await stage.subscribe(INSTANT.format("~"))
    stage.receivers.answer = lambda _: None
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    others = [await stage.receive() for _ in range(3)]
    stage.receivers.answer = lambda _: TAKEN
    stage.receivers.land()
    await stage.receivers.until_sent(4)
    assert [body(one) for one in stage.receivers.sent] == [{"id": str(one)} for one in [first, *others]]


async def test_each_matching_filter_tells_and_others_do_not(stage: Stage) -> None:
    await stage.subscribe(
        STORE.format("~"), INSTANT.format("~"), STORE.format("~") + "?type=Fax", STORE.format(BOB), name="many"
    )
    message_id = await stage.receive()
    await stage.receivers.until_told(message_id, times=2)
    last = await stage.receive(BOB)
    await stage.receivers.until_told(last)
    assert [one.event.rpartition("/")[2] for one in stage.receivers.sent] == [
        "message-store",
        "instant?type=SMS",
        "message-store",
    ]
    assert len(set(uuids(stage.receivers.sent))) == 3


async def test_a_cancelled_subscription_hears_no_more_not_even_what_is_pending(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"), name="gone")
    stage.receivers.answer = lambda delivery: None if delivery.subscription.subscription_id == "gone" else TAKEN
    await stage.receive()
    await stage.receivers.until_sent(1)
    pending = await stage.receive()
    await stage.cancel("gone")
    await stage.subscribe(STORE.format("~"), name="stays")
    last = await stage.receive()
    await stage.receivers.until_told(last)
    stage.receivers.land()
    assert pending not in new_ids_of(stage.receivers.sent)
    assert stage.notifier.lanes == 0


async def test_what_is_pending_at_expiry_is_dropped(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"), lifetime_s=60)
    stage.receivers.answer = lambda _: REFUSED
    await stage.receive()
    await stage.receivers.until_sent(1)
    await stage.advance(61)
    sent = len(stage.receivers.sent)
    await stage.subscribe(STORE.format("~"), name="other")
    stage.receivers.answer = lambda _: TAKEN
    last = await stage.receive()
    await stage.receivers.until_told(last)
    assert [one.subscription.subscription_id for one in stage.receivers.sent[sent:]] == ["other"]


async def test_replaced_filters_still_tell_what_came_before(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: None
    await stage.receive()
    await stage.receivers.until_sent(1)
    before = await stage.receive()
    await stage.change_filters(INSTANT.format("~"))
    after = await stage.receive()
    await stage.receivers.until_sent(2)
    stage.receivers.answer = lambda _: TAKEN
    stage.receivers.land(index=1)
    stage.receivers.land()
    await stage.receivers.until_told(before)
    told = {one.event.rpartition("/")[2]: new_ids(one) for one in stage.receivers.sent[1:]}
    assert told == {"instant?type=SMS": [after], "message-store": [before]}


async def test_a_pause_keeps_everything_until_it_ends(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"), INSTANT.format(BOB))
    await stage.pause(True)
    kept = [await stage.receive() for _ in range(3)] + [await stage.receive(BOB)]
    await stage.subscribe(STORE.format("~"), name="other")
    marker = await stage.receive()
    await stage.receivers.until_told(marker)
    assert {one.subscription.subscription_id for one in stage.receivers.sent} == {"other"}
    assert stage.notifier.lagging_lanes == 2
    await stage.restart()
    await stage.pause(False)
    await stage.receivers.until_told(kept[3])

    def mine() -> list[Delivery]:
        return [one for one in stage.receivers.sent if one.subscription.subscription_id == "sub"]

    while marker not in new_ids_of(mine()):  # the other one may be told again after the restart
        await stage.receivers.until_sent(len(stage.receivers.sent) + 1)
    assert sorted(new_ids_of(mine())) == sorted([*kept, marker])


async def test_lost_rights_skip_what_is_pending_as_one_gap_until_they_return(stage: Stage) -> None:
    subscription = await stage.subscribe(INSTANT.format(BOB), STORE.format("~"))
    stage.rights.lost.add(BOB)
    seqs = [await stage.write(stage.message(BOB)[1]) for _ in range(3)]
    marker = await stage.receive()
    await stage.receivers.until_told(marker)
    stage.rights.lost.clear()
    heard = await stage.receive(BOB)
    await stage.receivers.until_told(heard)
    await stage.notifier.flush()
    gaps = await stage.store.readers.run(fetch_gaps, subscription.account_id, subscription.subscription_id)
    assert [(gap.first_seq, gap.last_seq) for gap in gaps] == [(seqs[0], seqs[-1])]
    assert "102" in gaps[0].reason
    assert new_ids_of(stage.receivers.sent) == [marker, heard]


async def test_a_purged_announcement_is_skipped_and_counted(stage: Stage) -> None:
    await stage.subscribe(INSTANT.format("~"))
    stage.receivers.answer = lambda _: None
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    purged = await stage.receive()
    last = await stage.receive()
    await stage.purge(purged)
    await stage.subscribe(STORE.format(BOB), name="other")  # once it is told, the purge has been read, too
    marker = await stage.receive(BOB)
    await stage.receivers.until_sent(2)
    stage.receivers.answer = lambda _: TAKEN
    stage.receivers.land(index=1)
    stage.receivers.land()
    await stage.receivers.until_told(last)
    assert new_ids_of(stage.receivers.sent) == [first, marker, last]
    assert stage.notifier.skipped == 1


async def test_a_notice_goes_to_its_subscription_alone_on_a_lane_of_its_own(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    await stage.subscribe(STORE.format("~"), name="other")
    stage.receivers.answer = lambda _: None
    await stage.receive()
    await stage.receivers.until_sent(2)
    await stage.notice(body=b'{"hello":"there"}')
    await stage.receivers.until_sent(3)
    told = document(stage.receivers.sent[2])
    assert (told["event"], told["body"], told["subscriptionId"]) == ("/tocsin/notice", {"hello": "there"}, "sub")


async def test_a_dead_or_slow_receiver_delays_nobody_else(stage: Stage) -> None:
    for name in ("dead", "slow", "well"):
        await stage.subscribe(STORE.format("~"), INSTANT.format(BOB), name=name)
    answers = {"dead": REFUSED, "slow": None, "well": TAKEN}
    stage.receivers.answer = lambda delivery: answers[delivery.subscription.subscription_id]
    ids = [await stage.receive(mailbox) for mailbox in [ALICE, BOB] * 20]
    await stage.receivers.until_told(ids[-2])
    await stage.receivers.until_told(ids[-1])
    by_name = [str(one.subscription.subscription_id) for one in stage.receivers.sent]
    assert by_name.count("slow") == 2  # one in flight for each of its lanes
    assert by_name.count("dead") <= 2  # its other lane may have been in flight when the first failed
    assert len(new_ids_of(stage.receivers.taken)) == 40


async def test_a_lane_that_lags_far_behind_reads_the_log_and_keeps_order(tmp_path: Path) -> None:
    async with open_stage(tmp_path, settings=NotifierSettings(memory_entries=10)) as stage:
        await stage.subscribe(INSTANT.format("~"), STORE.format("~") + "?direction=Inbound")
        stage.receivers.answer = lambda _: None
        ids = [await stage.receive()]
        await stage.receivers.until_sent(2)
        for _ in range(30):
            drafts = [stage.message() for _ in range(50)]
            ids += [message_id for message_id, _ in drafts]
            await stage.write(*(draft for _, draft in drafts))
        await stage.touch(ids[0])
        stage.receivers.answer = lambda _: TAKEN
        stage.receivers.land()
        stage.receivers.land()
        await stage.receivers.until_told(ids[-1], times=2)
        instant = [one for one in stage.receivers.sent if "instant" in one.event]
        assert new_ids_of(instant) == ids
        others = [one for one in stage.receivers.sent if "instant" not in one.event]
        assert new_ids_of(others) == ids
        assert max(len(new_ids(one)) for one in others) == 500


async def test_stopping_waits_for_what_is_in_flight_and_keeps_the_rest_due(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: None
    first = await stage.receive()
    await stage.receivers.until_sent(1)
    stopping = asyncio.create_task(stage.notifier.stop())
    second = await stage.receive()
    assert not stopping.done()
    stage.receivers.land()
    await stopping
    await stage.restart()
    stage.receivers.answer = lambda _: TAKEN
    await stage.receive(BOB)
    await stage.receivers.until_told(second)
    assert new_ids_of(stage.receivers.sent) == [first, second]


async def test_stopping_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with open_stage(tmp_path, settings=NotifierSettings(grace_s=0.01)) as stage:
        await stage.subscribe(STORE.format("~"))
        stage.receivers.answer = lambda _: None
        first = await stage.receive()
        await stage.receivers.until_sent(1)
        await stage.stop()
        stage.receivers.answer = lambda _: TAKEN
        stage.start()
        await stage.receivers.until_told(first)
        assert len(set(uuids(stage.receivers.sent))) == 1


async def test_a_withheld_send_stays_due(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"))
    stage.receivers.answer = lambda _: Withheld()
    message_id = await stage.receive()
    await stage.receivers.until_sent(1)
    await stage.stop()
    stage.receivers.answer = lambda _: TAKEN
    stage.start()
    await stage.receivers.until_told(message_id)
    assert uuids(stage.receivers.sent)[0] == uuids(stage.receivers.sent)[1]
    assert [one.number for one in stage.receivers.sent] == [1, 1]


async def test_a_clean_restart_sends_nothing_twice(stage: Stage) -> None:
    await stage.subscribe(STORE.format("~"), INSTANT.format("~"))
    first = await stage.receive()
    await stage.receivers.until_told(first, times=2)
    await stage.stop()
    stage.start()
    second = await stage.receive()
    await stage.receivers.until_told(second, times=2)
    assert new_ids_of(stage.receivers.sent) == [first, first, second, second]


async def test_a_quiet_subscription_costs_no_write(stage: Stage) -> None:
    subscription = await stage.subscribe(STORE.format(BOB))
    await stage.receive(ALICE)
    marker = await stage.receive(BOB)
    await stage.receivers.until_told(marker)
    await stage.notifier.flush()
    before = await stage.store.readers.run(fetch_positions, subscription.account_id)
    for _ in range(5):
        await stage.receive(ALICE)
    await stage.notifier.flush()
    after = await stage.store.readers.run(fetch_positions, subscription.account_id)
    assert after == before
    assert after.watermark is not None


async def test_the_least_recently_used_account_is_forgotten_and_found_again(tmp_path: Path) -> None:
    async with open_stage(tmp_path, settings=NotifierSettings(accounts=1)) as stage:
        others = [AccountId(number) for number in range(20, 30)]
        for account_id in (ACCOUNT, *others):
            await stage.subscribe(STORE.format("~"), account_id=account_id)
        told = []
        for account_id in (ACCOUNT, *others, ACCOUNT, *others):
            told.append(await stage.receive(account_id=account_id))
            await stage.receivers.until_told(told[-1])
            await stage.notifier.flush()
        # Another one comes, and goes on coming: the rest make room, and are loaded again when they change.
        for account_id in (AccountId(99), AccountId(98)):
            await stage.subscribe(STORE.format("~"), account_id=account_id)
            told.append(await stage.receive(account_id=account_id))
            await stage.receivers.until_told(told[-1])
            await stage.notifier.flush()
        assert stage.notifier.accounts < len(others)
        for account_id in (ACCOUNT, *others):
            told.append(await stage.receive(account_id=account_id))
            await stage.receivers.until_told(told[-1])
        assert new_ids_of(stage.receivers.sent) == told


async def test_regression_a_purge_takes_back_a_batch_that_waits(stage: Stage) -> None:
    await stage.subscribe(INSTANT.format("~"), STORE.format(BOB))
    stage.receivers.answer = lambda _: Withheld()
    purged = await stage.receive()
    await stage.receivers.until_sent(1)
    await stage.purge(purged)
    await stage.subscribe(STORE.format(BOB), name="other")  # once it is told, the purge has been read, too
    stage.receivers.answer = lambda _: TAKEN
    marker = await stage.receive(BOB)
    await stage.receivers.until_told(marker)
    await stage.pause(False)  # a change of the subscription lets what waits go
    last = await stage.receive()
    await stage.receivers.until_told(last)
    assert purged not in new_ids_of(stage.receivers.taken)


async def test_regression_a_renewal_at_the_last_moment_keeps_what_is_pending(stage: Stage) -> None:
    subscription = await stage.subscribe(STORE.format("~"), lifetime_s=60)
    stage.receivers.answer = lambda _: None
    await stage.receive()
    await stage.receivers.until_sent(1)
    pending = await stage.receive()
    await stage.subscribe(STORE.format(BOB), name="other")
    await stage.receive(BOB)
    await stage.receivers.until_sent(2)  # so `pending` has been read
    stage.deafen(True)  # the notifier hears of the renewal late
    longer = replace(subscription, expires_ms=subscription.expires_ms + 60_000)
    await stage.store.writer.apply(update_unit(subscription, longer))
    stage.deafen(False)
    stage.clock.jump_to(subscription.expires_ms + 1)
    stage.receivers.answer = lambda _: TAKEN
    stage.receivers.land()
    await stage.receive()
    await stage.receivers.until_told(pending)


async def test_regression_a_purge_takes_back_what_is_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_it, go_on = asyncio.Event(), asyncio.Event()
    read = StoreLoads.mailbox

    async def read_slowly(*given: Any) -> Sequence[Entry]:
        found = await read(*given)
        found_it.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(StoreLoads, "mailbox", read_slowly)
    async with open_stage(tmp_path, settings=NotifierSettings(memory_entries=0, grace_s=1.0)) as stage:
        await stage.subscribe(INSTANT.format("~"))
        await stage.subscribe(STORE.format(BOB), name="other")
        stage.receivers.answer = lambda _: None
        first = await stage.receive()
        await stage.receivers.until_sent(1)
        before, purged = await stage.receive(), await stage.receive()
        stage.receivers.answer = lambda _: TAKEN
        marker = await stage.receive(BOB)
        await stage.receivers.until_told(marker)  # so `purged` waits in the log
        stage.receivers.land()
        await found_it.wait()
        await stage.purge(purged)
        marker = await stage.receive(BOB)
        await stage.receivers.until_told(marker)  # so the purge has been read
        go_on.set()
        last = await stage.receive()
        await stage.receivers.until_told(last)
        told = [one for one in stage.receivers.sent if "instant" in one.event]
        assert new_ids_of(told) == [first, before, last]
