"""End subscriptions whose time has come. Wall time decides, and renewing moves it.

A WebSocket subscription is renewed here for as long as its session is there. Knows the store's next expiry, not a list
of all of them. Source: RC createSubscription `expiresIn`; RC doc notifications/websockets (auto-renewal).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tocsin.domain.clock import Clock
from tocsin.domain.subscription import Subscription, TransportType
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.subscriptions import (
    SubscriptionKey,
    fetch_expired_subscriptions,
    fetch_next_expiry_ms,
    fetch_subscription,
)
from tocsin.storage.unit import Applies
from tocsin.storage.websocket_sessions import fetch_session
from tocsin.subscriptions.staleness import until_fresh
from tocsin.subscriptions.units import ending_unit, update_unit

AT_ONCE = 256
"""Expiries that are written side by side, so that they share commits."""


class Expiry:
    """A domain.clock.DueSource. `start` reads when the first subscription expires; later ones are noted."""

    def __init__(self, writer: Applies, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock
        self._next_ms: int | None = None
        self._running = asyncio.Lock()

    async def start(self) -> None:
        """Read from the store when the next subscription expires."""
        await self._look_ahead()

    def note(self, expires_ms: int) -> None:
        """Take note that a subscription ends at this wall time, unless it is renewed."""
        if self._next_ms is None or expires_ms < self._next_ms:
            self._next_ms = expires_ms

    def next_due_ms(self) -> int | None:
        """See `DueSource`; never later than the truth, sometimes earlier: a renewal is found out when it is due."""
        return self._next_ms

    async def run_due(self) -> None:
        """End, or renew by their sessions, all subscriptions that are due."""
        async with self._running:
            while due := await self._readers.run(fetch_expired_subscriptions, self._clock.now_ms(), AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for key in due:
                        group.create_task(self._expire(key))
            await self._look_ahead()

    async def _look_ahead(self) -> None:
        # Cleared before the look, so that what is noted during it counts; put back where the look fails.
        found, self._next_ms = self._next_ms, None
        try:
            found = await self._readers.run(fetch_next_expiry_ms)
        finally:
            if found is not None:
                self.note(found)

    async def _expire(self, key: SubscriptionKey) -> None:
        async def attempt() -> None:
            current, has_session = await self._readers.run(_read, key)
            now = self._clock.now_ms()
            if current is None or current.ended_seq is not None or current.expires_ms > now:
                return
            if has_session:
                longer = replace(current, expires_ms=now + current.lifetime_s * 1000)
                await self._writer.apply(update_unit(current, longer))
            else:
                await self._writer.apply(ending_unit(current))

        await until_fresh(attempt)


def _read(conn: ReadConnection, key: SubscriptionKey) -> tuple[Subscription | None, bool]:
    """The subscription, and whether it lives by a WebSocket session that is there."""
    found = fetch_subscription(conn, *key)
    if found is None or found.transport is not TransportType.WEBSOCKET or found.session_id is None:
        return found, False
    return found, fetch_session(conn, found.account_id, found.session_id) is not None
