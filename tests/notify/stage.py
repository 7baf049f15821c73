"""A real store, a real notifier and a transport that a test directs: what the notifier's tests play on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from sqlalchemy import bindparam, update

from tests.clocks import ManualClock
from tests.earplugs import Earplugs
from tocsin.domain.attempt import AttemptRecord, Delivered, Failed, FailureKind, Outcome
from tocsin.domain.delivery import Delivery
from tocsin.domain.entry import Happened, MessageChange, Notice, SubscriptionChange
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, MessageId, Seq, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.domain.retry import RetrySchedule
from tocsin.domain.subscription import StoredFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.log.tail import LocalTail
from tocsin.notify.envelopes import Renderer
from tocsin.notify.loading import StoreLoads
from tocsin.notify.notifier import Notifier, NotifierSettings
from tocsin.notify.outages import RetryRules
from tocsin.notify.outside import Outside
from tocsin.storage.entries import fetch_counter
from tocsin.storage.schema import log_entry
from tocsin.storage.schema import subscription as subscription_table
from tocsin.storage.statement import Statement
from tocsin.storage.store import Store, open_store
from tocsin.storage.subscriptions import fetch_subscription
from tocsin.storage.unit import Draft, Unit
from tocsin.subscriptions.blacklisting import Blacklisting
from tocsin.subscriptions.units import creation_unit, ending_unit, update_unit, with_filters

ACCOUNT = AccountId(7)
OWNER = ExtensionId(101)
ALICE, BOB = ExtensionId(101), ExtensionId(102)
STORE = "/restapi/v1.0/account/~/extension/{}/message-store"
INSTANT = "/restapi/v1.0/account/~/extension/{}/message-store/instant?type=SMS"
SET_PAUSED = Statement(
    "set_paused",
    update(subscription_table)
    .where(subscription_table.c.account_id == bindparam("a"), subscription_table.c.subscription_id == bindparam("s"))
    .values(paused=bindparam("p")),
    ("a", "s", "p"),
)
BLANK = Statement(
    "blank",
    update(log_entry)
    .where(log_entry.c.account_id == bindparam("a"), log_entry.c.message_id == bindparam("m"))
    .values(body=None),
    ("a", "m"),
)
REFUSED = Failed(FailureKind.STATUS, "status is not 2xx: 503", 1, 503)
TAKEN = Delivered(200, 1)


class Receivers:
    """The Transport: keeps what was sent; `answer` decides each outcome, None holds it until `land`."""

    def __init__(self) -> None:
        self.sent: list[Delivery] = []
        self.handshakes: list[Subscription] = []
        self.handshake: Outcome = TAKEN
        self.held: list[tuple[Delivery, Callable[[Outcome], None]]] = []
        self.answer: Callable[[Delivery], Outcome | None] = lambda _: TAKEN
        self.taken: list[Delivery] = []
        self._moved = asyncio.Event()

    def send(self, delivery: Delivery, done: Callable[[Outcome], None]) -> None:
        self.sent.append(delivery)
        outcome = self.answer(delivery)
        if outcome is None:
            self.held.append((delivery, done))
        else:
            if isinstance(outcome, Delivered):
                self.taken.append(delivery)
            done(outcome)
        self._moved.set()

    async def probe(self, subscription: Subscription) -> Outcome:
        self.handshakes.append(subscription)
        self._moved.set()
        return self.handshake

    def land(self, outcome: Outcome = TAKEN, index: int = 0) -> Delivery:
        delivery, done = self.held.pop(index)
        if isinstance(outcome, Delivered):
            self.taken.append(delivery)
        done(outcome)
        return delivery

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._moved.clear()
                await self._moved.wait()

    async def until_sent(self, count: int) -> None:
        await self.until(lambda: len(self.sent) >= count)

    async def until_told(self, message_id: int, *, times: int = 1) -> None:
        """Wait until a new message has been taken by so many filters."""
        await self.until(lambda: sum(message_id in new_ids(one) for one in self.taken) >= times)


class Everyone:
    """Rights: all but the mailboxes in `lost`."""

    def __init__(self) -> None:
        self.lost: set[ExtensionId] = set()

    def may_receive(self, subscription: Subscription, mailbox: ExtensionId) -> bool:
        return mailbox not in self.lost


class Attempts:
    def __init__(self) -> None:
        self.records: list[AttemptRecord] = []

    def record(self, attempt: AttemptRecord) -> None:
        self.records.append(attempt)


@dataclass
class Stage:
    store: Store
    tail: LocalTail
    clock: ManualClock
    settings: NotifierSettings
    receivers: Receivers = field(default_factory=Receivers)
    rights: Everyone = field(default_factory=Everyone)
    attempts: Attempts = field(default_factory=Attempts)
    next_id: int = 1_000
    _notifier: Notifier | None = None
    _running: asyncio.Task[None] | None = None

    @property
    def notifier(self) -> Notifier:
        assert self._notifier is not None
        return self._notifier

    def start(self) -> None:
        outside = Outside(
            self.receivers, self.rights, self.attempts, Blacklisting(self.store.writer, self.store.readers, self.clock)
        )
        self._notifier = Notifier(
            StoreLoads(self.store.readers, TransportType.WEBHOOK),
            self.store.writer,
            outside,
            Renderer(b"k" * 32, self.clock),
            self.clock,
            asyncio.get_running_loop().call_later,
            self.settings,
        )
        self._ears = Earplugs(self._notifier)
        self.tail.follow(self._ears)
        self._running = asyncio.create_task(self._notifier.run())

    def deafen(self, deaf: bool) -> None:
        """Let the notifier hear nothing of the tail, or hear it again."""
        self._ears.deaf = deaf

    async def crash(self) -> None:
        """Drop the notifier where it stands: nothing is finished, nothing written."""
        assert self._running is not None
        self._ears.deaf = True
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        self._notifier = None
        self.receivers.held.clear()

    async def restart(self) -> None:
        await self.crash()
        self.start()

    async def stop(self) -> None:
        await self.notifier.stop()
        await self.crash()

    async def close(self) -> None:
        if self._notifier is not None:
            await self.crash()
        await self.store.close()

    async def subscribe(
        self,
        *filters: str,
        name: str = "sub",
        owner: ExtensionId = OWNER,
        lifetime_s: int = 10**9,
        account_id: AccountId = ACCOUNT,
    ) -> Subscription:
        stored = tuple(
            StoredFilter(number, parse_event_filter(text, account_id, owner), Seq(0), None)
            for number, text in enumerate(filters, start=1)
        )
        subscription = Subscription(
            account_id=account_id,
            subscription_id=SubscriptionId(name),
            owner=owner,
            client_id=ClientId("app"),
            transport=TransportType.WEBHOOK,
            status=SubscriptionStatus.ACTIVE,
            created_ms=self.clock.now_ms(),
            expires_ms=self.clock.now_ms() + lifetime_s * 1000,
            lifetime_s=lifetime_s,
            modified_seq=Seq(0),
            filters=stored,
            address="http://127.0.0.1/hook",
        )
        await self.store.writer.apply(creation_unit(subscription))
        return await self.stored(name, account_id)

    async def stored(self, name: str = "sub", account_id: AccountId = ACCOUNT) -> Subscription:
        found = await self.store.readers.run(fetch_subscription, account_id, SubscriptionId(name))
        assert found is not None
        return found

    async def cancel(self, name: str = "sub") -> None:
        await self.store.writer.apply(ending_unit(await self.stored(name)))

    async def change_filters(self, *filters: str, name: str = "sub") -> None:
        current = await self.stored(name)
        wanted = [parse_event_filter(text, ACCOUNT, current.owner) for text in filters]
        await self.store.writer.apply(update_unit(current, with_filters(current, wanted, current.modified_seq)))

    async def pause(self, paused: bool, name: str = "sub") -> None:
        unit = Unit(ACCOUNT, drafts=[Draft(SubscriptionChange, (SubscriptionId(name),))])
        unit.add(SET_PAUSED, (ACCOUNT, name, int(paused)))
        await self.store.writer.apply(unit)

    async def purge(self, message_id: int, mailbox: ExtensionId = ALICE) -> None:
        """Blank the message's announcement and tell of the change, as a purge does."""
        unit = Unit(ACCOUNT, drafts=[changed(message_id, mailbox)])
        unit.add(BLANK, (ACCOUNT, message_id))
        await self.store.writer.apply(unit)

    async def write(self, *drafts: Draft, account_id: AccountId = ACCOUNT) -> int:
        """Append entries in one transaction; return the first seq."""
        return (await self.store.writer.apply(Unit(account_id, drafts=list(drafts)))).first_seq

    def message(
        self,
        mailbox: ExtensionId = ALICE,
        kind: MessageType = MessageType.SMS,
        direction: Direction = Direction.INBOUND,
    ) -> tuple[int, Draft]:
        """A new message's id and entry."""
        self.next_id += 1
        announced = kind is MessageType.SMS and direction is Direction.INBOUND
        body = msgspec.json.encode({"id": str(self.next_id)}) if announced else None
        return self.next_id, Draft(
            MessageChange, (mailbox, MessageId(self.next_id), Happened.CREATED, kind, direction, body)
        )

    async def receive(self, mailbox: ExtensionId = ALICE, account_id: AccountId = ACCOUNT) -> int:
        """An inbound SMS arrives; return its id."""
        message_id, draft = self.message(mailbox)
        await self.write(draft, account_id=account_id)
        return message_id

    async def touch(self, message_id: int, mailbox: ExtensionId = ALICE) -> int:
        """A message is changed; return the seq."""
        return await self.write(changed(message_id, mailbox))

    async def notice(self, name: str = "sub", body: bytes = b'{"a":1}') -> int:
        return await self.write(Draft(Notice, (SubscriptionId(name), "/tocsin/notice", body)))

    async def advance(self, seconds: float) -> None:
        """Let time pass and do everything that falls due, in order."""
        until_ms = self.clock.now_ms() + round(seconds * 1000)
        while (due_ms := self.notifier.next_due_ms()) is not None and due_ms <= until_ms:
            self.clock.jump_to(due_ms)
            await self.notifier.run_due()
        self.clock.jump_to(until_ms)
        # A round trip through a reader thread: what was ready on the loop has run by then.
        await self.store.readers.run(fetch_counter, ACCOUNT)


def changed(
    message_id: int,
    mailbox: ExtensionId = ALICE,
    kind: MessageType = MessageType.SMS,
    direction: Direction = Direction.INBOUND,
) -> Draft:
    return Draft(MessageChange, (mailbox, MessageId(message_id), Happened.UPDATED, kind, direction, None))


@contextlib.asynccontextmanager
async def open_stage(
    folder: Path, *, settings: NotifierSettings | None = None, started: bool = True
) -> AsyncIterator[Stage]:
    clock, tail = ManualClock(), LocalTail()
    store = await open_store(folder, clock=clock, listener=tail)
    rules = RetryRules(RetrySchedule(jitter=0.0), lambda: 0.5)
    stage = Stage(store, tail, clock, replace(settings or NotifierSettings(grace_s=1.0), retry=rules))
    if started:
        stage.start()
    try:
        yield stage
    finally:
        await stage.close()


def document(delivery: Delivery) -> dict[str, object]:
    decoded: dict[str, object] = msgspec.json.decode(delivery.envelope)
    return decoded


def body(delivery: Delivery) -> dict[str, object]:
    found = document(delivery)["body"]
    assert isinstance(found, dict)
    return found


def changes(delivery: Delivery) -> list[dict[str, object]]:
    found = body(delivery).get("changes", [])
    assert isinstance(found, list)
    return found


def new_ids(delivery: Delivery) -> list[int]:
    """Ids of new messages that a notification tells of, of either kind."""
    if "id" in body(delivery):
        return [int(str(body(delivery)["id"]))]
    ids: list[int] = []
    for change in changes(delivery):
        listed = change.get("newMessageIds", [])
        assert isinstance(listed, list)
        ids += listed
    return ids


def new_ids_of(deliveries: Iterable[Delivery]) -> list[int]:
    return [message_id for delivery in deliveries for message_id in new_ids(delivery)]


def uuids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.uuid for delivery in deliveries]
