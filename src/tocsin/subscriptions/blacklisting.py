"""Blacklist a subscription whose receiver failed for too long, and take it back when it answers again.

The notifier decides when; here it becomes a fact that every reader of the log hears of, and that GET shows.
Source: RC doc notifications/webhooks, troubleshooting; `status` and `blacklistedData` of SubscriptionInfo.
"""

from __future__ import annotations

from dataclasses import replace

from tocsin.domain.clock import Clock
from tocsin.domain.subscription import Subscription, SubscriptionStatus
from tocsin.storage.readers import Readers
from tocsin.storage.subscriptions import fetch_subscription
from tocsin.storage.unit import Applies
from tocsin.subscriptions.staleness import until_fresh
from tocsin.subscriptions.units import status_unit


class Blacklisting:
    """Moves subscriptions between the wire's two statuses. One that has ended, or is there already, is left alone."""

    def __init__(self, writer: Applies, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def blacklist(self, subscription: Subscription, reason: str) -> None:
        """Make it Blacklisted, for a `reason` that a person can act on."""
        await self._move(subscription, SubscriptionStatus.BLACKLISTED, reason)

    async def recover(self, subscription: Subscription) -> None:
        """Make it Active again; what it missed follows from its position."""
        await self._move(subscription, SubscriptionStatus.ACTIVE, None)

    async def _move(self, subscription: Subscription, status: SubscriptionStatus, reason: str | None) -> None:
        async def attempt() -> None:
            current = await self._readers.run(fetch_subscription, subscription.account_id, subscription.subscription_id)
            if current is None or current.ended_seq is not None or current.status is status:
                return
            at_ms = self._clock.now_ms() if status is SubscriptionStatus.BLACKLISTED else None
            following = replace(current, status=status, blacklisted_ms=at_ms, blacklist_reason=reason)
            await self._writer.apply(status_unit(current, following))

        await until_fresh(attempt)
