"""A WebSocket session's feed: gapless, in a fixed order, and recovered exactly behind the last frame that was seen."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.clocks import ManualClock
from tests.earplugs import Earplugs
from tests.storing import open_test_store
from tocsin.domain.entry import (
    DirectoryChange,
    DirectoryScope,
    Entry,
    Happened,
    MessageChange,
    Notice,
    SubscriptionChange,
)
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, MessageId, Seq, SessionId, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.domain.subscription import StoredFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.log.tail import LocalTail
from tocsin.notify.envelopes import Renderer
from tocsin.notify.session_feed import FeedParts, SessionFeeds, cut_range
from tocsin.storage.entries import TRIM_LOG, fetch_entries
from tocsin.storage.message_changes import BLANK_ANNOUNCEMENT
from tocsin.storage.store import Store
from tocsin.storage.unit import Draft, Unit
from tocsin.telemetry.tasks import Tasks

pytestmark = pytest.mark.anyio

ACCOUNT, MAILBOX, OTHER = AccountId(400_000_001), ExtensionId(400_000_101), ExtensionId(400_000_102)
SESSION = SessionId("session")
STORE_FILTER = "/restapi/v1.0/account/~/extension/~/message-store"


def subscription(*filters: str) -> Subscription:
    stored = tuple(
        StoredFilter(number, parse_event_filter(text, ACCOUNT, MAILBOX), Seq(0), None)
        for number, text in enumerate(filters)
    )
    return Subscription(
        ACCOUNT,
        SubscriptionId("subscription-1"),
        MAILBOX,
        ClientId("app"),
        TransportType.WEBSOCKET,
        SubscriptionStatus.ACTIVE,
        0,
        2**40,
        86_400,
        Seq(1),
        stored,
        session_id=SESSION,
    )


@dataclass
class Socket:
    """Keeps what a client saw: (uuid, body, the position that its wsc says)."""

    account_id: AccountId = ACCOUNT
    session_id: SessionId = SESSION
    writable: bool = True
    seen: list[tuple[str, str, Place]] = field(default_factory=list)
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True
        self.writable = False

    def notify(self, uuid: str, envelope: bytes, before: int, last: int, done: int) -> None:
        document = json.loads(envelope)
        assert document["uuid"] == uuid
        self.seen.append((uuid, json.dumps([document["event"], document["body"]]), Place(before, last, done)))


@dataclass(frozen=True)
class Place:
    before: int
    last: int
    done: int


class Subscribed:
    """The session's subscription, as the test has it."""

    def __init__(self, one: Subscription | None) -> None:
        self.one = one
        self.loads = 0
        self.failure: Exception | None = None

    async def load(self, account_id: AccountId, session_id: SessionId) -> Subscription | None:
        self.loads += 1
        if self.failure is not None:
            raise self.failure
        return self.one


class Everything:
    """Rights that never lack."""

    def may_receive(self, subscription: Subscription, mailbox: ExtensionId) -> bool:
        return True


def change(number: int, mailbox: ExtensionId, happened: Happened) -> Draft:
    announcement = b'{"id":"%d"}' % number if happened is Happened.CREATED else None
    return Draft(
        MessageChange,
        (mailbox, MessageId(number), happened, MessageType.SMS, Direction.INBOUND, announcement),
    )


class World:
    """A store whose log the feeds follow."""

    def __init__(self, store: Store, tail: LocalTail, subscribed: Subscribed) -> None:
        self.store, self.tail, self.subscribed = store, tail, subscribed
        self.tasks = Tasks()
        renderer = Renderer(b"k" * 32, ManualClock())
        self.feeds = SessionFeeds(
            FeedParts(store.readers, subscribed, Everything(), renderer.of_stored, renderer.of_notice, self.tasks)
        )
        self.ears = Earplugs(self.feeds)
        tail.follow(self.ears)

    async def write(self, *drafts: Draft) -> None:
        await self.store.writer.apply(Unit(ACCOUNT, drafts=list(drafts)))

    async def settle(self) -> None:
        """Wait until nothing runs in the background."""
        assert await self.tasks.settle(within_s=10)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    tail = LocalTail()
    async with open_test_store(tmp_path, listener=tail) as store:
        yield World(store, tail, Subscribed(subscription(f"{STORE_FILTER}/instant?type=SMS", STORE_FILTER)))


async def test_writes_nothing_before_the_first_release(world: World) -> None:
    socket = Socket()
    feed, position = await world.feeds.open(socket, None)
    await world.write(change(1, MAILBOX, Happened.CREATED))
    assert (position, socket.seen) == (0, [])
    await feed.release()
    assert [place for _, _, place in socket.seen] == [Place(0, 1, 1), Place(0, 1, 2)]


async def test_other_mailboxes_are_passed_over(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    await world.write(change(1, OTHER, Happened.CREATED))
    await world.write(change(2, MAILBOX, Happened.UPDATED))
    assert [place for _, _, place in socket.seen] == [Place(1, 2, 1)]


async def test_a_full_socket_is_waited_for_and_then_told_of_everything_at_once(world: World) -> None:
    socket = Socket(writable=False)
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    for number in range(3):
        await world.write(change(number, MAILBOX, Happened.UPDATED))
    assert socket.seen == []
    socket.writable = True
    feed.resume()
    [(_, body, place)] = socket.seen
    assert json.loads(body)[1]["changes"][0]["updatedCount"] == 3
    assert place == Place(0, 3, 1)


async def test_more_than_memory_takes_is_read_from_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.notify.session_feed.PENDING_ENTRIES", 5)
    socket = Socket(writable=False)
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    for number in range(20):
        await world.write(change(number, MAILBOX, Happened.UPDATED))
    socket.writable = True
    feed.resume()
    await world.settle()
    assert sum(json.loads(body)[1]["changes"][0]["updatedCount"] for _, body, _ in socket.seen) == 20


async def test_recovery_goes_on_exactly_behind_the_last_frame_seen(world: World) -> None:
    dice = random.Random(7)
    whole = Socket()
    feed, _ = await world.feeds.open(whole, None)
    await feed.release()
    number = 0
    for _ in range(40):
        drafts = []
        for _ in range(dice.randint(1, 4)):
            number += 1
            happened = dice.choice([Happened.CREATED, Happened.UPDATED])
            drafts.append(change(number, dice.choice([MAILBOX, OTHER]), happened))
        await world.write(*drafts)
    expected = [(uuid, body) for uuid, body, _ in whole.seen]
    assert len(expected) > 40
    for cut in range(1, len(expected), 3):
        socket = Socket()
        resumed, position = await world.feeds.open(socket, whole.seen[cut - 1][2])
        assert position == whole.seen[cut - 1][2].before
        await resumed.release()
        await world.settle()
        instants = [one for one in expected[cut:] if "instant" in one[1]]
        assert [(uuid, body) for uuid, body, _ in socket.seen if "instant" in body] == instants
        # The interrupted range is cut as it was; later ranges may be cut wider, their counts adding up to the same.
        assert told(socket.seen) == told(whole.seen[cut:])
        resumed.close()


async def purge(world: World, number: int) -> None:
    """Blank the announcement of message `number`, whose entry has that seq, and tell of the change."""
    unit = Unit(ACCOUNT, drafts=[change(number, MAILBOX, Happened.UPDATED)])
    unit.add(BLANK_ANNOUNCEMENT, (ACCOUNT, number))
    await world.store.writer.apply(unit)


async def test_regression_recovery_loses_nothing_behind_a_purged_announcement(world: World) -> None:
    world.subscribed.one = subscription(f"{STORE_FILTER}/instant?type=SMS")
    first = Socket()
    feed, _ = await world.feeds.open(first, None)
    await feed.release()
    await world.write(*(change(number, MAILBOX, Happened.CREATED) for number in (1, 2, 3)))
    feed.close()
    await purge(world, 1)
    second = Socket()
    resumed, _ = await world.feeds.open(second, first.seen[1][2])
    await resumed.release()
    await world.settle()
    assert second.seen == [first.seen[2]]


async def test_regression_a_purge_takes_back_what_waits_for_the_socket(world: World) -> None:
    world.subscribed.one = subscription(f"{STORE_FILTER}/instant?type=SMS")
    socket = Socket(writable=False)
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    await world.write(*(change(number, MAILBOX, Happened.CREATED) for number in (1, 2)))
    await purge(world, 1)
    socket.writable = True
    feed.resume()
    await world.settle()
    assert [json.loads(body)[1]["id"] for _, body, _ in socket.seen] == ["2"]


def told(seen: Sequence[tuple[str, str, Place]]) -> int:
    """How many changes the notifications tell of."""
    summaries = [json.loads(body)[1].get("changes", []) for _, body, _ in seen]
    return sum(one["newCount"] + one["updatedCount"] for changes in summaries for one in changes)


async def test_what_was_trimmed_meanwhile_is_not_passed_over(world: World) -> None:
    await world.write(*(change(number, MAILBOX, Happened.CREATED) for number in range(1, 4)))
    trim = Unit(ACCOUNT)
    trim.add(TRIM_LOG, (ACCOUNT, 1))
    await world.store.writer.apply(trim)
    whole, short = Socket(), Socket()
    for socket, before in ((whole, 1), (short, 0)):
        feed, _ = await world.feeds.open(socket, Place(before, before, 0))
        await feed.release()
        await world.settle()
    assert (len(whole.seen), whole.given_up) == (3, False)
    assert (short.seen, short.given_up) == ([], True)


async def test_a_sweep_reveals_what_no_tail_brought(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    world.ears.deaf = True
    await world.write(change(1, MAILBOX, Happened.CREATED))
    assert socket.seen == []
    world.feeds.swept(ACCOUNT, 1)
    await world.settle()
    assert len(socket.seen) == 2


async def test_a_gap_in_the_tail_is_read_from_the_log(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    world.ears.deaf = True
    await world.write(change(1, MAILBOX, Happened.CREATED))
    world.ears.deaf = False
    await world.write(change(2, MAILBOX, Happened.CREATED))
    await world.settle()
    ids = [json.loads(body)[1]["id"] for _, body, _ in socket.seen if "instant" in body]
    assert ids == ["1", "2"]


async def test_an_entry_read_before_the_tail_tells_of_it_is_written_once(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    world.ears.deaf = True
    await world.write(change(1, MAILBOX, Happened.UPDATED))
    await world.write(change(2, MAILBOX, Happened.UPDATED))
    world.feeds.swept(ACCOUNT, 1)  # the log has both; only the first is known of
    await world.settle()
    assert [place for _, _, place in socket.seen] == [Place(0, 1, 1)]
    world.feeds.entries(ACCOUNT, await world.store.readers.run(fetch_entries, ACCOUNT, 1, 10))
    await world.settle()
    assert [place for _, _, place in socket.seen] == [Place(0, 1, 1), Place(1, 2, 1)]


async def test_a_change_of_the_subscription_found_in_the_log_is_looked_at(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    world.ears.deaf = True
    await world.write(
        Draft(SubscriptionChange, (SubscriptionId("subscription-1"),)), change(1, MAILBOX, Happened.CREATED)
    )
    world.subscribed.one = None
    world.feeds.swept(ACCOUNT, 2)
    await world.settle()
    assert (world.subscribed.loads, socket.seen, feed.position) == (2, [], 2)


async def test_a_change_of_rights_is_looked_at_before_what_follows_it(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    session_changed = Draft(DirectoryChange, (DirectoryScope.SESSION, MAILBOX, "a refreshed login"))
    await world.write(session_changed, change(1, MAILBOX, Happened.CREATED))
    assert (world.subscribed.loads, len(socket.seen)) == (1, 2)
    rights_changed = Draft(DirectoryChange, (DirectoryScope.EXTENSION, MAILBOX, ""))
    world.subscribed.one = None
    await world.write(rights_changed, change(2, MAILBOX, Happened.CREATED))
    await world.settle()
    assert (world.subscribed.loads, len(socket.seen)) == (2, 2)


async def test_a_feed_that_fails_closes_its_own_socket_and_no_other(world: World) -> None:
    failing, well = Socket(), Socket()
    first, _ = await world.feeds.open(failing, None)
    second, _ = await world.feeds.open(well, None)
    await first.release()
    await second.release()
    failing.notify = Mock(side_effect=RuntimeError("no"))  # type: ignore[method-assign]
    await world.write(change(1, MAILBOX, Happened.CREATED))
    assert (failing.given_up, well.given_up, len(well.seen)) == (True, False, 2)


async def test_a_subscription_that_cannot_be_read_closes_the_socket(world: World) -> None:
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    world.subscribed.failure = StoreUnavailable()
    await feed.release()
    assert socket.given_up
    await world.write(change(1, MAILBOX, Happened.CREATED))
    assert socket.seen == []


async def test_a_closed_feed_writes_nothing_more(world: World) -> None:
    closed, open_one = Socket(), Socket()
    first, _ = await world.feeds.open(closed, None)
    second, _ = await world.feeds.open(open_one, None)
    await first.release()
    await second.release()
    first.close()
    await world.write(change(1, MAILBOX, Happened.CREATED))
    assert (len(open_one.seen), closed.seen) == (2, [])


async def test_without_a_subscription_the_position_moves_on(world: World) -> None:
    world.subscribed.one = None
    socket = Socket()
    feed, _ = await world.feeds.open(socket, None)
    await feed.release()
    await world.write(change(1, MAILBOX, Happened.CREATED))
    assert feed.position == 1
    assert socket.seen == []


def test_a_range_is_cut_filter_by_filter() -> None:
    entries: list[Entry] = [
        MessageChange(
            ACCOUNT, Seq(seq), 0, MAILBOX, MessageId(seq), Happened.CREATED, MessageType.SMS, Direction.INBOUND, b"{}"
        )
        for seq in (1, 2)
    ]
    cut = cut_range(subscription(f"{STORE_FILTER}/instant?type=SMS", STORE_FILTER), entries)
    assert [batch[0].filter_id for batch in cut if not isinstance(batch, Notice)] == [0, 0, 1]
