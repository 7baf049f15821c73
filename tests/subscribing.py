"""A company, its apps, and the use cases of subscriptions over a real store: for every test that subscribes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from tests.clocks import ManualClock
from tests.storing import RecordingListener, open_test_store
from tocsin.domain.directory import Account, Extension, ExtensionStatus, Identity, Permission, Role, Scope
from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.handshake import HandshakePassed, HandshakeResult
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, MessageId, SessionId, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.domain.subscription import Subscription
from tocsin.storage.store import Store
from tocsin.storage.subscriptions import fetch_subscription
from tocsin.storage.unit import Applied, Draft, Unit
from tocsin.storage.websocket_sessions import INSERT_SESSION, SessionRow
from tocsin.subscriptions.expiry import Expiry
from tocsin.subscriptions.manage import NewSubscription, SubscriptionParts, SubscriptionRules, Subscriptions

ACCOUNT, FOREIGN_ACCOUNT = AccountId(400_100_001), AccountId(400_100_002)
ADMIN, USER = ExtensionId(400_200_101), ExtensionId(400_200_102)
START_MS = 1_800_000_000_000
SESSION = SessionId("websocket-1")

STORE = "/restapi/v1.0/account/~/extension/~/message-store"
INSTANT = f"{STORE}/instant?type=SMS"
ADMIN_STORE = f"/restapi/v1.0/account/{ACCOUNT}/extension/{ADMIN}/message-store"
USER_STORE = f"/restapi/v1.0/account/{ACCOUNT}/extension/{USER}/message-store"
ADDRESS = "https://receiver.example/hook"

ALL_SCOPES = frozenset({Scope.READ_MESSAGES, Scope.SUBSCRIPTION_WEBHOOK, Scope.WEBSOCKET})


def extension(extension_id: ExtensionId, role: Role, *permissions: Permission) -> Extension:
    return Extension(
        ACCOUNT,
        extension_id,
        str(extension_id)[-3:],
        "Someone",
        None,
        role,
        ExtensionStatus.ENABLED,
        frozenset(permissions),
    )


def company() -> Account:
    people = (extension(ADMIN, Role.ADMIN), extension(USER, Role.USER, Permission.READ_MESSAGES))
    return Account(ACCOUNT, "Acme", "+16505550100", True, START_MS, {one.extension_id: one for one in people})


def identity(
    extension_id: ExtensionId = USER, client_id: str = "app", scopes: frozenset[Scope] = ALL_SCOPES
) -> Identity:
    return Identity(ACCOUNT, extension_id, ClientId(client_id), SessionId("login"), scopes, START_MS + 3_600_000)


def webhook(*filters: str, expires_in_s: int | None = None, token: str | None = None) -> NewSubscription:
    return NewSubscription(filters or (STORE,), "WebHook", ADDRESS, token, expires_in_s)


def websocket(*filters: str) -> NewSubscription:
    return NewSubscription(filters or (STORE,), "WebSocket")


@dataclass(slots=True)
class People:
    """Answers the directory's part from values that a test may change."""

    accounts: dict[AccountId, Account] = field(default_factory=lambda: {ACCOUNT: company()})

    async def account(self, account_id: AccountId) -> Account | None:
        return self.accounts.get(account_id)

    def change(self, changed: Extension) -> None:
        """Let `changed` be what the directory knows of that extension."""
        known = self.accounts[ACCOUNT]
        self.accounts[ACCOUNT] = replace(known, extensions=known.extensions | {changed.extension_id: changed})


@dataclass(slots=True)
class Handshakes:
    """Answers the handshake as told, and keeps what was asked."""

    result: HandshakeResult = HandshakePassed(12)  # noqa: RUF009  # frozen
    asked: list[tuple[str, str | None, AccountId]] = field(default_factory=list)

    async def handshake(self, address: str, verification_token: str | None, account_id: AccountId) -> HandshakeResult:
        self.asked.append((address, verification_token, account_id))
        return self.result


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a test of subscriptions touches."""

    store: Store
    clock: ManualClock
    listener: RecordingListener
    people: People
    handshakes: Handshakes
    expiry: Expiry
    subscriptions: Subscriptions

    async def stored(self, subscription_id: str) -> Subscription:
        """The subscription as the store has it, ended or not."""
        found = await self.store.readers.run(fetch_subscription, ACCOUNT, SubscriptionId(subscription_id))
        assert found is not None
        return found

    async def change_message(
        self, message_id: int = 1, mailbox: ExtensionId = USER, kind: MessageType = MessageType.SMS
    ) -> Applied:
        """Append a message change to the log."""
        fields = (mailbox, MessageId(message_id), Happened.CREATED, kind, Direction.INBOUND, b"{}")
        return await self.store.writer.apply(Unit(ACCOUNT, drafts=[Draft(MessageChange, fields)]))

    async def open_session(self, session_id: SessionId = SESSION) -> None:
        """Store a WebSocket session, as the gateway does when a socket opens."""
        row = SessionRow(
            ACCOUNT, session_id, SessionId("login"), USER, ClientId("app"), "local", 1, self.clock.now_ms(), 0, None
        )
        unit = Unit(ACCOUNT)
        unit.add(INSERT_SESSION, row.as_row())
        await self.store.writer.apply(unit)


@asynccontextmanager
async def open_world(folder: Path, rules: SubscriptionRules | None = None) -> AsyncGenerator[World]:
    """Open a store in `folder` and the use cases over it; ids of subscriptions count from sub-1."""
    clock, listener, people, handshakes = ManualClock(START_MS), RecordingListener(), People(), Handshakes()
    async with open_test_store(folder, listener, clock) as store:
        expiry = Expiry(store.writer, store.readers, clock)
        numbers = count(1)
        parts = SubscriptionParts(
            store.writer,
            store.readers,
            clock,
            people,
            handshakes,
            expiry,
            rules or SubscriptionRules(),
            lambda: f"sub-{next(numbers)}",
        )
        yield World(store, clock, listener, people, handshakes, expiry, Subscriptions(parts))
