"""The notifier and the trimming of the log agree: what is neither told nor pending is in a gap, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.notify.stage import ACCOUNT, ALICE, BOB, INSTANT, REFUSED, STORE, TAKEN, Stage, new_ids_of, open_stage
from tocsin.domain.ids import SubscriptionId
from tocsin.log.trim import TRIMMED, LogTrimmer
from tocsin.notify.dispatch import LOG_TRIMMED
from tocsin.storage.positions import fetch_gaps

pytestmark = pytest.mark.anyio

DAY_S = 86_400


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as opened:
        yield opened


async def trim(stage: Stage, days: int = 7) -> int:
    """Trim what is older than so many days, everything written so far having been matched."""
    await stage.receivers.until_told(await stage.receive(BOB))
    trimmer = LogTrimmer(stage.store.readers, stage.store.writer, stage.clock, stage.notifier)
    return await trimmer.trim(stage.clock.now_ms() - days * DAY_S * 1000)


async def gaps(stage: Stage, name: str = "sub") -> list[tuple[int, int, str]]:
    await stage.notifier.flush()
    found = await stage.store.readers.run(fetch_gaps, ACCOUNT, SubscriptionId(name))
    return [(gap.first_seq, gap.last_seq, gap.reason) for gap in found]


def told(stage: Stage, name: str = "sub") -> list[int]:
    return new_ids_of(one for one in stage.receivers.taken if one.subscription.subscription_id == name)


@pytest.mark.parametrize("text", [STORE, INSTANT])
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_paused_subscription_gets_a_gap_and_then_only_what_is_left(
    stage: Stage, text: str, restarts: bool
) -> None:
    await stage.subscribe(STORE.format(BOB), name="witness")
    await stage.subscribe(text.format("~"))
    await stage.pause(True)
    seqs = [await stage.write(stage.message()[1]) for _ in range(3)]
    stage.clock.advance(5 * DAY_S)
    kept = [await stage.receive() for _ in range(2)]
    stage.clock.advance(3 * DAY_S)
    assert await trim(stage) == seqs[-1]
    assert await gaps(stage) == [(seqs[0], seqs[-1], TRIMMED)]
    if restarts:
        await stage.restart()
    await stage.pause(False)
    await stage.receivers.until(lambda: told(stage) == kept)
    after = await stage.receive()
    await stage.receivers.until(lambda: told(stage) == [*kept, after])
    assert await gaps(stage) == [(seqs[0], seqs[-1], TRIMMED)]
    assert await gaps(stage, "witness") == []


async def test_a_failed_batch_that_was_trimmed_in_part_leaves_two_gaps_side_by_side(stage: Stage) -> None:
    await stage.subscribe(STORE.format(BOB), name="witness")
    await stage.subscribe(STORE.format("~"))
    await stage.pause(True)
    first = await stage.write(stage.message()[1])
    stage.clock.advance(5 * DAY_S)
    last = await stage.write(stage.message()[1])
    refuses = True
    stage.receivers.answer = lambda one: REFUSED if refuses and one.subscription.subscription_id == "sub" else TAKEN
    await stage.pause(False)
    await stage.receivers.until(
        lambda: any(one.first_seq == first and one.last_seq == last for one in stage.receivers.sent)
    )
    stage.clock.jump_to(stage.clock.now_ms() + 3 * DAY_S * 1000)
    await trim(stage)
    assert await gaps(stage) == [(first, first, TRIMMED)]
    refuses = False
    after = await stage.receive()
    await stage.notifier.run_due()
    await stage.receivers.until(lambda: told(stage) == [after])
    assert await gaps(stage) == [(first, first, TRIMMED), (last, last, LOG_TRIMMED)]


async def test_a_failed_batch_that_is_gone_leaves_no_second_gap(stage: Stage) -> None:
    await stage.subscribe(STORE.format(BOB), name="witness")
    await stage.subscribe(STORE.format("~"), INSTANT.format("~"))
    refuses = True
    stage.receivers.answer = lambda one: REFUSED if refuses and one.subscription.subscription_id == "sub" else TAKEN
    lost = await stage.write(stage.message()[1])
    await stage.receivers.until(lambda: any(one.first_seq == lost for one in stage.receivers.sent))
    stage.clock.jump_to(stage.clock.now_ms() + 8 * DAY_S * 1000)
    await trim(stage)
    assert await gaps(stage) == [(lost, lost, TRIMMED)]
    await stage.restart()
    refuses = False
    after = await stage.receive()
    await stage.advance(3600)
    await stage.receivers.until(lambda: told(stage) == [after, after])
    assert await gaps(stage) == [(lost, lost, TRIMMED)]


async def test_who_took_everything_has_no_gap_whatever_its_watermark_said(stage: Stage) -> None:
    await stage.subscribe(STORE.format(BOB), name="witness")
    await stage.subscribe(STORE.format("~"), INSTANT.format("~"))
    for _ in range(5):
        await stage.receivers.until_told(await stage.receive(ALICE), times=2)
    stage.clock.advance(8 * DAY_S)
    assert await trim(stage) == 7
    assert await gaps(stage) == []
    # An account that is read from its beginning again, which is gone, goes on where the log begins.
    await stage.restart()
    await stage.receivers.until_told(await stage.receive(ALICE), times=2)


async def test_how_far_an_account_has_been_matched(stage: Stage) -> None:
    assert stage.notifier.read_to(ACCOUNT) is None
    await stage.subscribe(STORE.format("~"))
    await stage.receivers.until_told(await stage.receive())
    assert stage.notifier.read_to(ACCOUNT) == 2
