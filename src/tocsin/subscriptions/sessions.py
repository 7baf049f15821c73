"""The subscriptions that live by a WebSocket session: which it has, and their end with it.

Answers the gateway, which knows when a session is over. Renewal while the session lives is expiry.py's.
Source: RC doc notifications/websockets: one active subscription a session, gone after the recovery timeout.
"""

from __future__ import annotations

from tocsin.domain.ids import AccountId, SessionId, SubscriptionId
from tocsin.domain.subscription import Subscription
from tocsin.storage.readers import Readers
from tocsin.storage.subscriptions import fetch_session_subscriptions
from tocsin.storage.unit import Applies
from tocsin.subscriptions.staleness import until_fresh
from tocsin.subscriptions.units import ending_unit


class SessionSubscriptions:
    """Answers the gateway and the feeds of its sessions."""

    def __init__(self, writer: Applies, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def of_session(self, account_id: AccountId, session_id: SessionId) -> SubscriptionId | None:
        """Return the session's active subscription, if it has one."""
        found = await self.load(account_id, session_id)
        return None if found is None else found.subscription_id

    async def load(self, account_id: AccountId, session_id: SessionId) -> Subscription | None:
        """Return the session's active subscription as it is now, with every stored filter, or None."""
        found = await self._readers.run(fetch_session_subscriptions, account_id, session_id)
        return found[-1] if found else None

    async def end_of_session(self, account_id: AccountId, session_id: SessionId) -> None:
        """End whatever the session subscribed to."""

        async def attempt() -> None:
            for one in await self._readers.run(fetch_session_subscriptions, account_id, session_id):
                await self._writer.apply(ending_unit(one))

        await until_fresh(attempt)
