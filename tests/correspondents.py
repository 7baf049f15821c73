"""Two small companies in a real store, with everything that receives and sends, on a clock that stands still.

Account 1 has Ann (101, admin), Bob (102, two numbers), Dan (103, disabled), Eve (104, whose number can't send MMS), and
a main number without a mailbox. Account 2 has Zoe (101). Work runs when `settle` is called.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.clocks import ManualClock
from tests.storing import open_test_store
from tocsin.carriers.contract import Carrier
from tocsin.carriers.dispatcher import Dispatcher
from tocsin.carriers.loopback import Loopback
from tocsin.directory.cache import Directory
from tocsin.domain.directory import (
    Account,
    Extension,
    ExtensionStatus,
    NumberFeature,
    Permission,
    PhoneNumber,
    Role,
)
from tocsin.domain.entry import Entry, MessageChange
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ExtensionId, MessageId, PhoneNumberId
from tocsin.domain.message import Message
from tocsin.log.tail import LocalTail
from tocsin.log.work import WorkLoop
from tocsin.messaging.pager import Pager
from tocsin.messaging.receipts import Receipts
from tocsin.messaging.receiving import InboundSms, ReceivedMessage, Receiving
from tocsin.messaging.sending import SUBMIT, Sending
from tocsin.storage.directory import (
    INSERT_ACCOUNT,
    INSERT_EXTENSION,
    INSERT_NUMBER,
    NUMBER_CLAIM,
    account_row,
    extension_row,
    number_row,
)
from tocsin.storage.messages import fetch_by_id
from tocsin.storage.store import Store
from tocsin.storage.unit import Claim, Unit

ONE, TWO = AccountId(400_000_001), AccountId(400_000_002)
ANN, BOB, DAN, EVE, ZOE = (ExtensionId(400_000_100 + number) for number in (1, 2, 3, 4, 9))
MAIN = "+16505550100"
ANN_NUMBER, BOB_NUMBER, BOB_SECOND = "+16505550101", "+16505550102", "+12125550152"
DAN_NUMBER, EVE_NUMBER, ZOE_NUMBER = "+16505550103", "+16505550104", "+13125550109"
OUTSIDE = "+14157809227"
BASE_URL = "https://tocsin.example"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20

_SMS = frozenset({NumberFeature.SMS_SENDER, NumberFeature.CALLER_ID})
_MMS = _SMS | {NumberFeature.MMS_SENDER}


class Heard:
    """All entries committed, by account, in order."""

    def __init__(self) -> None:
        self.all: dict[AccountId, list[Entry]] = {}

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        self.all.setdefault(account_id, []).extend(entries)

    def messages(self, account_id: AccountId = ONE) -> list[MessageChange]:
        return [one for one in self.all.get(account_id, []) if isinstance(one, MessageChange)]


@dataclass
class Correspondents:
    store: Store
    clock: ManualClock
    directory: Directory
    heard: Heard
    receiving: Receiving
    sending: Sending
    pager: Pager
    receipts: Receipts
    tail: LocalTail
    work: WorkLoop = field(init=False)

    def __post_init__(self) -> None:
        self.use(Loopback(self.receiving, self.clock))

    def use(self, carrier: Carrier) -> None:
        """Send through `carrier` from now on, as a new process."""
        dispatcher = Dispatcher(self.receipts, carrier, self.clock)
        self.work = WorkLoop(self.store.readers, self.store.writer, self.clock, {SUBMIT: dispatcher}, "test")
        self.tail.follow(self.work)

    async def receive(self, *recipients: str, sender: str = OUTSIDE, text: str = "Hi there") -> list[ReceivedMessage]:
        return await self.receiving.receive_sms(InboundSms(sender, recipients, text))

    async def message(self, message_id: MessageId, account_id: AccountId = ONE) -> Message:
        found = await self.store.readers.run(fetch_by_id, account_id, message_id)
        assert found is not None
        return found

    async def settle(self) -> None:
        """Step through all that falls due, in order, for as long as anything waits."""
        while True:
            await self.work.run_due()
            due_ms = self.work.next_due_ms()
            if due_ms is None:
                return
            self.clock.jump_to(due_ms)


@asynccontextmanager
async def open_correspondents(folder: Path) -> AsyncGenerator[Correspondents]:
    clock, tail, heard = ManualClock(), LocalTail(), Heard()
    async with open_test_store(folder, tail, clock) as store:
        tail.follow(heard)
        for account in _accounts():
            await _store(store, account)
        directory = Directory(store.readers, clock)
        tail.follow(directory)
        yield Correspondents(
            store,
            clock,
            directory,
            heard,
            Receiving(store, directory, clock, lambda: BASE_URL),
            Sending(store, directory, clock),
            Pager(store, directory, clock),
            Receipts(store.readers, store.writer, clock, "test"),
            tail,
        )


def _accounts() -> list[Account]:
    one = [
        _extension(ONE, ANN, "101", "Ann Admin", (ANN_NUMBER,), role=Role.ADMIN),
        _extension(ONE, BOB, "102", "Bob User", (BOB_NUMBER, BOB_SECOND)),
        _extension(ONE, DAN, "103", "Dan Disabled", (DAN_NUMBER,), status=ExtensionStatus.DISABLED),
        _extension(ONE, EVE, "104", "Eve", (EVE_NUMBER,), features=_SMS),
    ]
    main = PhoneNumber(ONE, PhoneNumberId(900), MAIN, None, "MainCompanyNumber", frozenset(), True)
    two = [_extension(TWO, ZOE, "101", "Zoe", (ZOE_NUMBER,))]
    return [
        Account(ONE, "One", MAIN, True, 0, {ext.extension_id: ext for ext in one}, (main,)),
        Account(TWO, "Two", ZOE_NUMBER, True, 0, {ext.extension_id: ext for ext in two}),
    ]


def _extension(
    account_id: AccountId,
    extension_id: ExtensionId,
    number: str,
    name: str,
    phone_numbers: Sequence[str],
    role: Role = Role.USER,
    status: ExtensionStatus = ExtensionStatus.ENABLED,
    features: frozenset[NumberFeature] = _MMS,
) -> Extension:
    numbers = tuple(
        PhoneNumber(account_id, PhoneNumberId(extension_id * 10 + place), one, extension_id, "DirectNumber", features)
        for place, one in enumerate(phone_numbers)
    )
    return Extension(account_id, extension_id, number, name, None, role, status, frozenset(Permission), numbers)


async def _store(store: Store, account: Account) -> None:
    unit, claims = Unit(account.account_id), Unit(SYSTEM_ACCOUNT)
    unit.add(INSERT_ACCOUNT, account_row(account))
    numbers = list(account.company_numbers)
    for extension in account.extensions.values():
        unit.add(INSERT_EXTENSION, extension_row(extension, None))
        numbers += extension.numbers
    for number in numbers:
        unit.add(INSERT_NUMBER, number_row(number))
        claims.claims.append(Claim(NUMBER_CLAIM, number.number, account.account_id))
    await store.writer.apply(unit)
    await store.writer.apply(claims)
