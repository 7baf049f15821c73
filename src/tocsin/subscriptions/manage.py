"""The use cases of subscriptions: create, list, get, update, renew, cancel.

A subscription belongs to the extension and the app that made it, and nobody else sees it. Every write is one unit with
the SubscriptionChange that the notifier learns of it by. Never delivers, and knows no HTTP.
Source: RC createSubscription and its siblings; RC doc notifications/webhooks and notifications/websockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

from tocsin.domain.clock import Clock
from tocsin.domain.directory import Account, Extension, Identity
from tocsin.domain.errors import NotFound, Refused
from tocsin.domain.event_filter import EventFilter
from tocsin.domain.handshake import HandshakeResult
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, Seq, SessionId, SubscriptionId
from tocsin.domain.subscription import (
    DisabledFilter,
    StoredFilter,
    Subscription,
    SubscriptionStatus,
    TransportType,
)
from tocsin.storage.readers import Readers
from tocsin.storage.subscriptions import fetch_client_subscriptions, fetch_subscription
from tocsin.storage.unit import Applies
from tocsin.subscriptions.filters import (
    check_mailboxes,
    check_some_enabled,
    disabled_filters,
    enabled_owner,
    read_filters,
)
from tocsin.subscriptions.lifetimes import lifetime_s
from tocsin.subscriptions.receivers import check_address, check_handshake, check_verification_token
from tocsin.subscriptions.staleness import until_fresh
from tocsin.subscriptions.transports import check_transport, read_transport
from tocsin.subscriptions.units import creation_unit, ending_unit, update_unit, with_filters


class People(Protocol):
    """Who is in an account, and what each may do."""

    async def account(self, account_id: AccountId) -> Account | None:
        """Return the account, or None when there is none."""
        ...


class Handshaker(Protocol):
    """Asks a webhook's address whether it wants to be one."""

    async def handshake(self, address: str, verification_token: str | None, account_id: AccountId) -> HandshakeResult:
        """Send the validation request and return how it ended; never raises for what the receiver does."""
        ...


class Expiries(Protocol):
    """Whoever ends subscriptions when their time has come."""

    def note(self, expires_ms: int) -> None:
        """Take note that a subscription ends at this wall time, unless it is renewed."""
        ...


@dataclass(frozen=True, slots=True)
class SubscriptionRules:
    """What the operator decides. `limit` is the greatest number of subscriptions of one user through one app."""

    https_only: bool = True
    limit: int = 30


@dataclass(frozen=True, slots=True)
class SubscriptionParts:
    """What the use cases are made of."""

    writer: Applies
    readers: Readers
    clock: Clock
    people: People
    handshaker: Handshaker
    expiries: Expiries
    rules: SubscriptionRules = field(default_factory=SubscriptionRules)
    new_id: Callable[[], str] = lambda: str(uuid4())


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What a client asks for, as it said it. `transport` is the wire's word."""

    event_filters: tuple[str, ...]
    transport: str | None
    address: str | None = None
    verification_token: str | None = None
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionUpdate:
    """What an update asks for. None keeps the filters, or the lifetime that was asked for before."""

    event_filters: tuple[str, ...] | None = None
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class JudgedSubscription:
    """A subscription, and those of its current filters that its owner has no right to at present."""

    subscription: Subscription
    disabled: tuple[DisabledFilter, ...] = ()


class Subscriptions:
    """The use cases. `session_id` is the WebSocket session that carries the request, None over HTTP."""

    def __init__(self, parts: SubscriptionParts) -> None:
        self._parts = parts
        # One user's creations through one app take turns, or two at once could both be the thirtieth.
        self._turns: WeakValueDictionary[tuple[AccountId, ExtensionId, ClientId], asyncio.Lock] = WeakValueDictionary()

    async def create(
        self, identity: Identity, wanted: NewSubscription, session_id: SessionId | None = None
    ) -> JudgedSubscription:
        """Make a subscription after its handshake. One for WebSocket ends the session's earlier one in the same unit.

        Raises InvalidParameter, MissingScope, MissingPermission, and Refused with SUB-405, 406, 408, 505, 508, 520 to
        525 or 528; nothing is stored then.
        """
        transport = read_transport(wanted.transport)
        check_transport(transport, identity, session_id)
        filters = read_filters(wanted.event_filters, identity)
        disabled = await self._judge_wanted(filters, identity)
        lifetime = lifetime_s(transport, wanted.expires_in_s)
        address = token = None
        if transport is TransportType.WEBHOOK:
            session_id = None
            address, token = await self._shake_hands(wanted, identity)
        now = self._parts.clock.now_ms()
        subscription = Subscription(
            account_id=identity.account_id,
            subscription_id=SubscriptionId(self._parts.new_id()),
            owner=identity.extension_id,
            client_id=identity.client_id,
            transport=transport,
            status=SubscriptionStatus.ACTIVE,
            created_ms=now,
            expires_ms=now + lifetime * 1000,
            lifetime_s=lifetime,
            modified_seq=Seq(0),
            filters=_numbered(filters, Seq(0)),
            address=address,
            verification_token=token,
            session_id=session_id,
        )
        return JudgedSubscription(await self._store(identity, subscription), disabled)

    async def list_own(self, identity: Identity) -> list[JudgedSubscription]:
        """Return the caller's own through this app, oldest first."""
        owner, account = await self._owner(identity)
        return [
            JudgedSubscription(one, _disabled(one, owner, account, identity)) for one in await self._own_live(identity)
        ]

    async def get(self, identity: Identity, subscription_id: SubscriptionId) -> JudgedSubscription:
        """Return one of the caller's own; raises NotFound for any other."""
        return await self._judged(await self._own(identity, subscription_id), identity)

    async def update(
        self,
        identity: Identity,
        subscription_id: SubscriptionId,
        wanted: SubscriptionUpdate,
        session_id: SessionId | None = None,
    ) -> JudgedSubscription:
        """Replace the filters, where some are given, and start the lifetime anew.

        Entries up to the update still go out under the filters that it replaces. Raises NotFound, what `create` raises
        for filters and lifetime, SUB-511 for a WebSocket subscription over HTTP, SUB-507 from another session.
        """
        filters = None if wanted.event_filters is None else read_filters(wanted.event_filters, identity)

        async def attempt() -> JudgedSubscription:
            current = await self._own(identity, subscription_id)
            _check_session(current, session_id)
            if filters is not None:
                await self._judge_wanted(filters, identity)
            lifetime = current.lifetime_s
            if wanted.expires_in_s is not None:
                lifetime = lifetime_s(current.transport, wanted.expires_in_s)
            return await self._judged(await self._change(current, filters, lifetime), identity)

        return await until_fresh(attempt)

    async def renew(self, identity: Identity, subscription_id: SubscriptionId) -> JudgedSubscription:
        """Start the lifetime that was asked for anew; raises NotFound."""

        async def attempt() -> JudgedSubscription:
            current = await self._own(identity, subscription_id)
            return await self._judged(await self._change(current, None, current.lifetime_s), identity)

        return await until_fresh(attempt)

    async def cancel(self, identity: Identity, subscription_id: SubscriptionId) -> None:
        """End a subscription; what is pending for it is dropped. Raises NotFound."""

        async def attempt() -> None:
            await self._parts.writer.apply(ending_unit(await self._own(identity, subscription_id)))

        await until_fresh(attempt)

    # --- reading

    async def _own(self, identity: Identity, subscription_id: SubscriptionId) -> Subscription:
        found = await self._parts.readers.run(fetch_subscription, identity.account_id, subscription_id)
        if (
            found is None
            or (found.owner, found.client_id) != (identity.extension_id, identity.client_id)
            or not _lives(found, self._parts.clock.now_ms())
        ):
            raise NotFound("Resource for parameter [subscriptionId] is not found", parameter="subscriptionId")
        return found

    async def _own_live(self, identity: Identity) -> list[Subscription]:
        found = await self._parts.readers.run(
            fetch_client_subscriptions, identity.account_id, identity.extension_id, identity.client_id
        )
        now = self._parts.clock.now_ms()
        return [one for one in found if _lives(one, now)]

    async def _owner(self, identity: Identity) -> tuple[Extension, Account]:
        return enabled_owner(await self._parts.people.account(identity.account_id), identity)

    async def _judge_wanted(self, filters: tuple[EventFilter, ...], identity: Identity) -> tuple[DisabledFilter, ...]:
        owner, account = await self._owner(identity)
        check_mailboxes(filters, owner, account)
        disabled = disabled_filters(filters, owner, account, identity.scopes)
        check_some_enabled(filters, disabled)
        return disabled

    async def _judged(self, subscription: Subscription, identity: Identity) -> JudgedSubscription:
        owner, account = await self._owner(identity)
        return JudgedSubscription(subscription, _disabled(subscription, owner, account, identity))

    async def _shake_hands(self, wanted: NewSubscription, identity: Identity) -> tuple[str, str | None]:
        """Return the receiver's address and verification token, once it has agreed to be one."""
        address = check_address(wanted.address, https_only=self._parts.rules.https_only)
        token = check_verification_token(wanted.verification_token)
        await self._free_place(identity, None)  # nobody is called for a subscription that there is no room for
        check_handshake(await self._parts.handshaker.handshake(address, token, identity.account_id))
        return address, token

    # --- writing

    async def _store(self, identity: Identity, subscription: Subscription) -> Subscription:
        async def attempt() -> Subscription:
            replaced = await self._free_place(identity, subscription.session_id)
            applied = await self._parts.writer.apply(creation_unit(subscription, replaced))
            seq = applied.last_seq
            filters = tuple(replace(one, from_seq=seq) for one in subscription.filters)
            return replace(subscription, modified_seq=seq, filters=filters)

        key = (identity.account_id, identity.extension_id, identity.client_id)
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            stored = await until_fresh(attempt)
        self._parts.expiries.note(stored.expires_ms)
        return stored

    async def _free_place(self, identity: Identity, session_id: SessionId | None) -> list[Subscription]:
        """The session's subscriptions, which a new one replaces. Raises SUB-505 where there is room for none."""
        own = await self._own_live(identity)
        replaced = [one for one in own if session_id is not None and one.session_id == session_id]
        if len(own) - len(replaced) >= self._parts.rules.limit:
            raise Refused("SUB-505", "Subscriptions limit exceeded")
        return replaced

    async def _change(
        self, current: Subscription, filters: tuple[EventFilter, ...] | None, lifetime: int
    ) -> Subscription:
        expires_ms = self._parts.clock.now_ms() + lifetime * 1000

        def changed(seq: Seq) -> Subscription:
            following = current if filters is None else with_filters(current, filters, seq)
            return replace(following, expires_ms=expires_ms, lifetime_s=lifetime, modified_seq=seq)

        applied = await self._parts.writer.apply(update_unit(current, changed(Seq(0))))
        self._parts.expiries.note(expires_ms)
        return changed(applied.last_seq)


def _numbered(filters: tuple[EventFilter, ...], seq: Seq) -> tuple[StoredFilter, ...]:
    return tuple(StoredFilter(number, one, seq, None) for number, one in enumerate(filters, start=1))


def _lives(subscription: Subscription, now_ms: int) -> bool:
    return subscription.ended_seq is None and subscription.expires_ms > now_ms


def _disabled(
    subscription: Subscription, owner: Extension, account: Account, identity: Identity
) -> tuple[DisabledFilter, ...]:
    current = [stored.filter for stored in subscription.current_filters]
    return disabled_filters(current, owner, account, identity.scopes)


def _check_session(subscription: Subscription, session_id: SessionId | None) -> None:
    if subscription.transport is not TransportType.WEBSOCKET:
        return
    if session_id is None:
        raise Refused(
            "SUB-511",
            "Action not allowed for WebSocket subscription over HTTP: send it through the subscription's own session",
        )
    if subscription.session_id != session_id:
        raise Refused(
            "SUB-507",
            f"Subscription with key [{subscription.subscription_id}] and assigned session [{session_id}] was expired",
        )
