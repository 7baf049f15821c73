"""Delete what is past: subscriptions that ended and filters that were replaced, once no log is left that they covered.

A bounded unit at a time, what goes with a subscription first and its own row last, so that a run that is cut off is
taken up by the next. Takes no seq: the log said long ago that they are over.
"""

from __future__ import annotations

from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.storage.past_subscriptions import (
    delete_filter,
    delete_subscription,
    fetch_past_filters,
    fetch_past_subscriptions,
    fetch_rows_of,
)
from tocsin.storage.readers import Readers
from tocsin.storage.subscriptions import SubscriptionKey
from tocsin.storage.unit import MAX_ROWS, Applies, Unit

PAGE = 200
"""Subscriptions, or filters, that are read at a time; a filter is two rows to write."""
ROWS = MAX_ROWS - 1
"""Rows deleted together, with room for the subscription's own."""


class PastSubscriptions:
    """Deletes them. `remove` may be called again and again."""

    def __init__(self, writer: Applies, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def remove(self, before_ms: int) -> int:
        """Delete those that need no log any more, an entry committed before that time being none; return how many."""
        removed = 0
        while keys := await self._readers.run(fetch_past_subscriptions, before_ms, PAGE):
            for key in keys:
                await self._remove(key)
            removed += len(keys)
        while rows := await self._readers.run(fetch_past_filters, before_ms, PAGE):
            units: dict[AccountId, Unit] = {}
            for account_id, subscription_id, filter_id in rows:
                unit = units.setdefault(account_id, Unit(account_id))
                delete_filter(unit, SubscriptionId(subscription_id), filter_id)
            for unit in units.values():
                await self._writer.apply(unit)
            removed += len(rows)
        return removed

    async def _remove(self, key: SubscriptionKey) -> None:
        while True:
            rows = await self._readers.run(fetch_rows_of, key, ROWS)
            unit = Unit(key.account_id)
            for statement, row in rows:
                unit.add(statement, row)
            if len(rows) < ROWS:
                delete_subscription(unit, key.subscription_id)
            await self._writer.apply(unit)
            if len(rows) < ROWS:
                return
