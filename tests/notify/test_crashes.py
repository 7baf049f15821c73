"""Any stream of writes, filters that come and go, receivers that fail, and crashes anywhere in it."""

import asyncio
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.notify.stage import (
    ALICE,
    BOB,
    INSTANT,
    REFUSED,
    STORE,
    TAKEN,
    Stage,
    body,
    changed,
    changes,
    new_ids,
    open_stage,
)
from tocsin.domain.attempt import Outcome
from tocsin.domain.delivery import Delivery
from tocsin.domain.entry import Entry, Happened, MessageChange
from tocsin.domain.event_filter import EventFilter, parse_event_filter
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.notify.notifier import NotifierSettings
from tocsin.storage.entries import fetch_entries

ACCOUNT = AccountId(7)
STREAM = [STORE.format(ALICE), INSTANT.format(ALICE), STORE.format(BOB) + "?type=SMS&direction=Inbound"]
Step = tuple[Literal["new", "touch", "pair", "crash", "flush", "fail", "land", "advance"], int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["new", "new", "new", "touch", "pair", "crash", "flush", "fail", "land", "advance"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)


@dataclass
class Play:
    """Plays steps on a stage, whose receivers hold every second send and fail when told to."""

    stage: Stage
    known: list[tuple[int, ExtensionId]] = field(default_factory=list)
    failing: int = 0
    count: int = 0
    holding: bool = True

    def answer(self, _: Delivery) -> Outcome | None:
        self.count += 1
        if self.failing:
            self.failing -= 1
            return REFUSED
        return None if self.holding and self.count % 2 == 0 else TAKEN

    async def step(self, what: str, number: int) -> None:
        mailbox = (ALICE, BOB)[number % 2]
        match what:
            case "new":
                self.known.append((await self.stage.receive(mailbox), mailbox))
            case "touch" if self.known:
                message_id, of = self.known[number % len(self.known)]
                await self.stage.touch(message_id, of)
            case "pair":
                message_id, draft = self.stage.message(mailbox)
                await self.stage.write(draft, changed(message_id, mailbox))
                self.known.append((message_id, mailbox))
            case "crash":
                await self.stage.restart()
            case "flush":
                await self.stage.notifier.flush()
            case "fail":
                self.failing = number
            case "land" if self.stage.receivers.held:
                self.stage.receivers.land()
            case "advance":
                # Time passes only once what it starts has ended: nothing may be held meanwhile.
                self.holding = False
                while self.stage.receivers.held:
                    self.stage.receivers.land()
                await self.stage.advance(number)
                self.holding = True

    async def end(self) -> None:
        """Let everything through, with a last message in each mailbox."""
        receivers = self.stage.receivers
        self.failing = 0
        receivers.answer = lambda _: TAKEN
        last = [await self.stage.receive(mailbox) for mailbox in (ALICE, BOB)]
        for _ in range(200):
            told = {message_id for sent in receivers.taken for message_id in new_ids(sent)}
            if told.issuperset(last) and not self.stage.notifier.lanes:
                return
            while receivers.held:
                receivers.land()
            await self.stage.advance(1)
        raise AssertionError("something waits for ever")


def matched(entries: list[Entry], wanted: EventFilter) -> list[MessageChange]:
    return [
        one
        for one in entries
        if isinstance(one, MessageChange) and one.extension_id == wanted.extension_id and wanted.matches(one)
    ]


def brute_force(batch: list[MessageChange]) -> list[dict[str, object]]:
    created = [one.message_id for one in batch if one.happened is Happened.CREATED]
    updated = {one.message_id for one in batch} - set(created)
    told: dict[str, object] = {"type": "SMS", "newCount": len(created), "updatedCount": len(updated)}
    return [told | {"newMessageIds": created} if created else told]


def check(sent: list[Delivery], taken: list[Delivery], entries: list[Entry], filters: list[str]) -> None:
    """Each filter was told everything that matches it, in order; each batch counts right; equal uuid, equal body."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for delivery in sent:
        bodies[delivery.uuid].add(msgspec.json.encode(body(delivery)))
    assert all(len(seen) == 1 for seen in bodies.values())
    for text in filters:
        wanted = parse_event_filter(text, ACCOUNT, ALICE)
        due = matched(entries, wanted)
        mine = [one for one in taken if one.event == wanted.text]
        for one in mine:
            batch = [change for change in due if one.first_seq <= change.seq <= one.last_seq]
            assert (batch[0].seq, batch[-1].seq) == (one.first_seq, one.last_seq)
            if wanted.coalesces:
                assert changes(one) == brute_force(batch)
            else:
                assert new_ids(one) == [batch[0].message_id]
        in_order(mine, [change.seq for change in due])
        if not wanted.coalesces:
            uuid_of = {one.first_seq: one.uuid for one in sent if one.event == wanted.text}
            assert all(uuid_of[one.first_seq] == one.uuid for one in sent if one.event == wanted.text)


def in_order(mine: list[Delivery], due: list[int]) -> None:
    """Every due seq is told; what goes back goes back to something already told, never past something untold."""
    told_to = 0
    for delivery in mine:
        untold = [seq for seq in due if told_to < seq < delivery.first_seq]
        assert not untold, f"{untold} were passed over"
        told_to = max(told_to, delivery.last_seq)
    assert told_to == due[-1]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps, st.sampled_from([2, 200_000]))
def test_nothing_is_lost_and_order_holds_whatever_crashes(played: list[Step], memory: int) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with open_stage(Path(folder), settings=NotifierSettings(memory_entries=memory)) as stage:
                await stage.subscribe(*STREAM)
                play = Play(stage)
                stage.receivers.answer = play.answer
                for what, number in played:
                    await play.step(what, number)
                await play.end()
                entries = await stage.store.readers.run(fetch_entries, ACCOUNT, 0, 10_000)
                check(stage.receivers.sent, stage.receivers.taken, entries, STREAM)

    asyncio.run(run())


lives = st.lists(
    st.sampled_from(["new", "new", "new", "touch", "create", "change", "change", "cancel", "restart"]),
    min_size=3,
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(lives)
def test_a_subscription_is_told_exactly_the_entries_of_its_filters_times(played: list[str]) -> None:
    """Created, changed and cancelled anywhere in a stream of writes, with a receiver that takes everything at once."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with open_stage(Path(folder)) as stage:
                await stage.subscribe(STORE.format(BOB), name="witness")
                told, due = await live(stage, played)
                assert told == due

    asyncio.run(run())


async def live(stage: Stage, played: list[str]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return (event, message id) of new messages as told and as due, each sorted by message."""
    store, instant = STORE.format(ALICE), INSTANT.format(ALICE)
    filters: list[str] | None = None
    due: list[tuple[str, int]] = []
    last, number = 0, 0
    for what in played:
        match what:
            case "new":
                last = await stage.receive()
                due += [(parse_event_filter(text, ACCOUNT, ALICE).text, last) for text in filters or ()]
            case "touch" if last:
                await stage.touch(last)
            case "create" if filters is None:
                number, filters = number + 1, [store]
                await stage.subscribe(*filters, name=f"s{number}")
            case "change" if filters is not None:
                filters = [instant] if filters == [store] else [store]
                await stage.change_filters(*filters, name=f"s{number}")
            case "cancel" if filters is not None:
                await settle(stage, due)
                filters = None
                await stage.cancel(f"s{number}")
            case "restart":
                await stage.stop()
                stage.start()
    await settle(stage, due)
    return sorted(told_of(stage)), sorted(due)


async def settle(stage: Stage, due: list[tuple[str, int]]) -> None:
    """Return once everything written so far has been matched, and what is due has been told."""
    await stage.receivers.until_told(await stage.receive(BOB))
    await stage.receivers.until(lambda: set(due) <= set(told_of(stage)))


def told_of(stage: Stage) -> list[tuple[str, int]]:
    return [
        (one.event, message_id)
        for one in stage.receivers.taken
        if one.subscription.subscription_id != "witness"
        for message_id in new_ids(one)
    ]
