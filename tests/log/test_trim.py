"""What is old leaves the log and nothing else does; who still needed it gets a gap of exactly that."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clocks import ManualClock
from tests.storing import open_test_store
from tocsin.domain.entry import Entry, Happened, MessageChange, Notice
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, MessageId, Seq, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.domain.subscription import Gap, StoredFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.log.trim import ENTRIES, GAPS, TRIMMED, LogTrimmer
from tocsin.storage.entries import TRIM_LOG, fetch_counter, fetch_entries, fetch_trimmed_to
from tocsin.storage.positions import (
    NOTICES,
    FailedBatch,
    LaneKey,
    LanePosition,
    fetch_gaps,
    fetch_positions,
    put_lane_position,
    put_watermark,
)
from tocsin.storage.store import Store
from tocsin.storage.subscriptions import fetch_subscription
from tocsin.storage.unit import MAX_ROWS, Applied, Draft, Unit
from tocsin.subscriptions.units import creation_unit, ending_unit

pytestmark = pytest.mark.anyio

ACCOUNT, OTHER = AccountId(7), AccountId(8)
ALICE, BOB = ExtensionId(101), ExtensionId(102)
STORE = "/restapi/v1.0/account/~/extension/{}/message-store"
INSTANT = "/restapi/v1.0/account/~/extension/{}/message-store/instant?type=SMS"
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


class Reader:
    """The notifier, as far as trimming knows it."""

    def __init__(self) -> None:
        self.flushes = 0
        self.positions: dict[AccountId, int] = {}

    async def flush(self) -> None:
        self.flushes += 1

    def read_to(self, account_id: AccountId) -> int | None:
        return self.positions.get(account_id)


class Watched:
    """The store's writer, which keeps what trimming gave it and may break after so many units."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.units: list[Unit] = []
        self.breaks_after: int | None = None

    async def apply(self, unit: Unit) -> Applied:
        if self.breaks_after is not None and len(self.units) >= self.breaks_after:
            raise StoreUnavailable
        self.units.append(unit)
        return await self._store.writer.apply(unit)


@dataclass
class World:
    store: Store
    clock: ManualClock
    reader: Reader = field(default_factory=Reader)

    def __post_init__(self) -> None:
        self.writer = Watched(self.store)
        self.trimmer = LogTrimmer(self.store.readers, self.writer, self.clock, self.reader)

    async def write(self, *drafts: Draft, account_id: AccountId = ACCOUNT) -> int:
        return (await self.store.writer.apply(Unit(account_id, drafts=list(drafts)))).last_seq

    async def fill(self, count: int, mailbox: ExtensionId = ALICE) -> int:
        last = 0
        for start in range(0, count, MAX_ROWS):
            last = await self.write(*[message(mailbox)] * min(MAX_ROWS, count - start))
        return last

    async def subscribe(
        self,
        name: str,
        *filters: str,
        transport: TransportType = TransportType.WEBHOOK,
        account_id: AccountId = ACCOUNT,
    ) -> Subscription:
        made = subscription(name, filters, transport, account_id)
        await self.store.writer.apply(creation_unit(made))
        return made

    async def stand(self, mark: int, lanes: dict[LaneKey, LanePosition] | None = None) -> None:
        """Store positions as the notifier would."""
        unit = Unit(ACCOUNT)
        put_watermark(unit, mark)
        for key, row in (lanes or {}).items():
            put_lane_position(unit, key, row)
        await self.store.writer.apply(unit)

    async def trim(self) -> int:
        return await self.trimmer.trim(self.clock.now_ms() - WEEK_MS)

    async def entries(self, account_id: AccountId = ACCOUNT) -> list[Entry]:
        return await self.store.readers.run(fetch_entries, account_id, 0, 10_000)

    async def seqs(self, account_id: AccountId = ACCOUNT) -> list[int]:
        return [entry.seq for entry in await self.entries(account_id)]

    async def gaps(self, name: str) -> list[Gap]:
        return await self.store.readers.run(fetch_gaps, ACCOUNT, SubscriptionId(name))

    async def ranges(self, name: str) -> list[tuple[int, int]]:
        return [(gap.first_seq, gap.last_seq) for gap in await self.gaps(name)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        yield World(store, clock)


def message(mailbox: ExtensionId = ALICE, announced: bool = True) -> Draft:
    body = b"{}" if announced else None
    fields = (mailbox, MessageId(1), Happened.CREATED, MessageType.SMS, Direction.INBOUND, body)
    return Draft(MessageChange, fields)


def notice(name: str) -> Draft:
    return Draft(Notice, (SubscriptionId(name), "/tocsin/notice", b"{}"))


def subscription(
    name: str, filters: Sequence[str], transport: TransportType = TransportType.WEBHOOK, account_id: AccountId = ACCOUNT
) -> Subscription:
    parsed = [parse_event_filter(text, account_id, ALICE) for text in filters]
    return Subscription(
        account_id=account_id,
        subscription_id=SubscriptionId(name),
        owner=ALICE,
        client_id=ClientId("app"),
        transport=transport,
        status=SubscriptionStatus.ACTIVE,
        created_ms=0,
        expires_ms=2**50,
        lifetime_s=60,
        modified_seq=Seq(0),
        filters=tuple(StoredFilter(number, one, Seq(0), None) for number, one in enumerate(parsed, start=1)),
        address="http://127.0.0.1/hook",
    )


def lane(name: str, filter_id: int = 1, mailbox: ExtensionId = ALICE) -> LaneKey:
    return LaneKey(SubscriptionId(name), filter_id, mailbox)


async def test_exactly_the_old_goes_and_no_seq_is_taken(world: World) -> None:
    for _ in range(3):
        await world.write(message())
        await world.write(message(), account_id=OTHER)
        world.clock.advance(3 * DAY_MS / 1000)
    assert await world.trim() == 2
    assert (await world.seqs(), await world.seqs(OTHER)) == ([2, 3], [2, 3])
    world.clock.advance(DAY_MS / 1000)
    assert await world.trim() == 0  # what is exactly a week old is not older
    world.clock.advance(0.001)
    assert await world.trim() == 2
    assert await world.seqs() == [3]
    assert await world.store.readers.run(fetch_counter, ACCOUNT) == 3
    assert all(not unit.drafts for unit in world.writer.units)


async def test_the_newest_entry_stays_so_that_the_log_says_where_it_begins(world: World) -> None:
    await world.fill(3)
    assert await world.store.readers.run(fetch_trimmed_to, ACCOUNT) == 0
    world.clock.advance(100 * DAY_MS / 1000)
    assert await world.trim() == 2
    assert await world.trim() == 0
    assert await world.store.readers.run(fetch_trimmed_to, ACCOUNT) == 2
    assert await world.store.readers.run(fetch_trimmed_to, OTHER) == 0


async def test_every_unit_is_bounded_and_many_accounts_are_reached(world: World) -> None:
    await world.fill(2 * ENTRIES + 10)
    for number in range(300):
        await world.write(message(), message(), account_id=AccountId(1_000 + number))
    world.clock.advance(8 * DAY_MS / 1000)
    assert await world.trim() == 2 * ENTRIES + 9 + 300
    bounds = [write.rows[0] for unit in world.writer.units for write in unit.writes if unit.account_id == ACCOUNT]
    assert bounds == [(ACCOUNT, ENTRIES), (ACCOUNT, 2 * ENTRIES), (ACCOUNT, 2 * ENTRIES + 9)]


async def test_what_the_reader_has_not_matched_stays(world: World) -> None:
    await world.fill(10)
    world.clock.advance(8 * DAY_MS / 1000)
    world.reader.positions[ACCOUNT] = 4
    assert await world.trim() == 4
    assert world.reader.flushes == 1
    world.reader.positions[ACCOUNT] = 10
    assert await world.trim() == 5


async def test_who_is_done_gets_no_gap(world: World) -> None:
    await world.subscribe("done", STORE.format("~"), INSTANT.format("~"))
    await world.subscribe("other-mailbox", STORE.format(BOB))
    await world.subscribe("socket", STORE.format("~"), transport=TransportType.WEBSOCKET)
    await world.subscribe("ended", STORE.format("~"))
    last = await world.fill(5)
    ended = await world.store.readers.run(fetch_subscription, ACCOUNT, SubscriptionId("ended"))
    assert ended is not None
    await world.store.writer.apply(ending_unit(ended))
    await world.stand(last, {lane("done", 2): LanePosition(last, None), lane("gone"): LanePosition(0, None)})
    world.clock.advance(8 * DAY_MS / 1000)
    assert await world.trim() == last
    assert [await world.gaps(name) for name in ("done", "other-mailbox", "socket", "ended")] == [[], [], [], []]


async def test_a_lagging_subscription_gets_one_gap_of_what_it_missed_however_many_units_trim(world: World) -> None:
    await world.subscribe("lags", STORE.format("~"), STORE.format(BOB))
    await world.fill(2)
    first = await world.fill(1, BOB)
    await world.fill(ENTRIES)
    last = await world.fill(1, BOB)
    end = await world.fill(5)
    failed = FailedBatch(first, last, 3, 5, 6)
    await world.stand(end, {lane("lags", 2, BOB): LanePosition(first - 1, failed)})
    world.clock.advance(8 * DAY_MS / 1000)
    assert await world.trim() == end - 1
    assert await world.ranges("lags") == [(first, last)]
    assert (await world.gaps("lags"))[0].reason == TRIMMED
    assert (await world.gaps("lags"))[0].at_ms == world.clock.now_ms()
    # It stands still, and the next to go belongs to the same gap; the notifier's count of its own is not touched.
    further = await world.fill(1, BOB)
    await world.fill(1)
    world.clock.advance(8 * DAY_MS / 1000)
    await world.trim()
    assert await world.ranges("lags") == [(first, further)]
    assert (await world.store.readers.run(fetch_positions, ACCOUNT)).last_gaps == {}


async def test_a_lane_that_moved_meanwhile_begins_another_gap(world: World) -> None:
    await world.subscribe("lags", STORE.format("~"))
    missed = await world.fill(3)
    await world.stand(0)
    world.clock.advance(8 * DAY_MS / 1000)
    await world.write(notice("nobody"))
    await world.trim()
    told = await world.fill(2)
    await world.stand(told)
    again = await world.fill(2)
    await world.fill(1)
    world.clock.advance(8 * DAY_MS / 1000)
    await world.trim()
    assert await world.ranges("lags") == [(2, missed), (told + 1, again)]


async def test_notices_are_missed_too(world: World) -> None:
    await world.subscribe("lags", STORE.format(BOB))
    at = await world.write(notice("lags"))
    end = await world.fill(3)
    key = lane("lags", NOTICES, ExtensionId(0))
    await world.stand(end, {key: LanePosition(at - 1, None)})
    world.clock.advance(8 * DAY_MS / 1000)
    await world.trim()
    assert await world.ranges("lags") == [(at, at)]


async def test_gap_and_entries_go_in_one_transaction(world: World) -> None:
    await world.subscribe("lags", STORE.format("~"))
    await world.fill(3)
    world.clock.advance(8 * DAY_MS / 1000)
    world.writer.breaks_after = 0
    with pytest.raises(StoreUnavailable):
        await world.trim()
    assert (await world.ranges("lags"), await world.seqs()) == ([], [1, 2, 3, 4])
    world.writer.breaks_after = None
    await world.trim()
    assert (await world.ranges("lags"), await world.seqs()) == ([(2, 3)], [4])
    assert len(world.writer.units) == 1


async def test_more_overtaken_subscriptions_than_fit_a_unit_get_their_gaps_first(world: World) -> None:
    names = [f"lags-{number}" for number in range(GAPS + 1)]
    for name in names:
        await world.subscribe(name, STORE.format("~"))
    before = await world.fill(ENTRIES) - ENTRIES
    end = await world.fill(ENTRIES)
    world.clock.advance(8 * DAY_MS / 1000)
    await world.stand(before)
    # Cut off between the gaps and the entries that they tell of: run again, it says the same.
    world.writer.breaks_after = 1
    with pytest.raises(StoreUnavailable):
        await world.trim()
    assert len(await world.seqs()) == end
    world.writer.breaks_after = None
    await world.trim()
    assert {tuple(await world.ranges(name)) for name in names} == {((before + 1, end - 1),)}
    assert max(_rows(unit) for unit in world.writer.units) <= MAX_ROWS


async def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        world = World(store, clock)
        await world.subscribe("lags", STORE.format("~"))
        end = await world.fill(3 * ENTRIES)
        clock.advance(8 * DAY_MS / 1000)
        world.writer.breaks_after = 1
        with pytest.raises(StoreUnavailable):
            await world.trim()
        assert await world.ranges("lags") == [(2, ENTRIES)]
    async with open_test_store(tmp_path, clock=clock) as store:
        world = World(store, clock)
        await world.trim()
        assert (await world.ranges("lags"), await world.seqs()) == ([(2, end - 1)], [end])


kinds = st.sampled_from(["alice", "bob", "silent", "notice"])
stream = st.lists(st.tuples(kinds, st.integers(0, 4)), min_size=2, max_size=40)
positions = st.lists(st.one_of(st.none(), st.integers(0, 45)), min_size=6, max_size=6)
FILTERS = (STORE.format(ALICE), INSTANT.format(ALICE))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(stream, positions, st.integers(0, 20))
def test_nothing_that_is_needed_is_lost_without_a_gap(
    played: list[tuple[str, int]], places: list[int | None], hours: int
) -> None:
    """Any stream, any positions, any age: what is young stays; a gap begins and ends with something missed."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            clock = ManualClock()
            async with open_test_store(Path(folder), clock=clock) as store:
                await check_trim(World(store, clock), played, places, hours)

    asyncio.run(run())


async def check_trim(world: World, played: list[tuple[str, int]], places: list[int | None], hours: int) -> None:
    made = [
        await world.subscribe("one", *FILTERS),
        await world.subscribe("two", STORE.format(BOB), INSTANT.format(BOB)),
    ]
    drafts = {"alice": message(ALICE), "bob": message(BOB), "silent": message(BOB, False), "notice": notice("one")}
    for kind, pause in played:
        await world.write(drafts[kind])
        world.clock.advance(pause * 3_600)
    before = await world.entries()
    keys = [lane("one", 1), lane("one", 2), lane("two", 1, BOB), lane("two", 2, BOB)]
    keys.append(lane("one", NOTICES, ExtensionId(0)))
    mark = places[-1] or 0
    lanes = {key: place for key, place in zip(keys, places, strict=False) if place is not None}
    await world.stand(mark, {key: LanePosition(place, None) for key, place in lanes.items()})
    limit_ms = world.clock.now_ms() - hours * 3_600_000
    await world.trimmer.trim(limit_ms)
    kept = await world.entries()
    assert kept == [entry for entry in before if entry.at_ms >= limit_ms or entry is before[-1]]
    gone = before[: len(before) - len(kept)]
    for one in made:
        missed = [entry.seq for entry in gone if needs(one, entry, lanes, mark)]
        assert await world.ranges(one.subscription_id) == ([(missed[0], missed[-1])] if missed else [])


def needs(one: Subscription, entry: Entry, lanes: dict[LaneKey, int], mark: int) -> bool:
    """Whether any lane of the subscription is still to tell of the entry."""
    if isinstance(entry, Notice):
        at = lanes.get(lane(one.subscription_id, NOTICES, ExtensionId(0)), mark)
        return entry.subscription_id == one.subscription_id and entry.seq > at
    return any(
        isinstance(entry, MessageChange)
        and stored.filter.matches(entry)
        and stored.filter.extension_id == entry.extension_id
        and entry.seq > lanes.get(lane(one.subscription_id, stored.filter_id, entry.extension_id), mark)
        for stored in one.filters
    )


def _rows(unit: Unit) -> int:
    """Rows that it changes: those of its writes, and the entries that it trims."""
    return sum(ENTRIES if write.statement is TRIM_LOG else len(write.rows) for write in unit.writes)
