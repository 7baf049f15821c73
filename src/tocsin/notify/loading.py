"""What the notifier reads from the store: an account's subscriptions and positions, its entries, the counters.

A Protocol of what it needs, and the answer over the store's readers, each method one snapshot. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId, ExtensionId, Seq, SubscriptionId
from tocsin.domain.subscription import Subscription, TransportType
from tocsin.storage.entries import fetch_counter, fetch_counters_touched, fetch_entries, fetch_mailbox_entries
from tocsin.storage.positions import StoredPositions, fetch_accounts_behind, fetch_positions
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.subscriptions import fetch_account_subscriptions, fetch_subscription


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """One account as one snapshot shows it. `seq` is the last of its log."""

    account_id: AccountId
    seq: Seq
    subscriptions: tuple[Subscription, ...]
    positions: StoredPositions


class Loads(Protocol):
    """Reads for the notifier."""

    async def account(self, account_id: AccountId) -> StoredAccount:
        """Return the account's subscriptions of the notifier's transport, and its positions."""
        ...

    async def subscriptions(
        self, account_id: AccountId, ids: Sequence[SubscriptionId]
    ) -> dict[SubscriptionId, Subscription]:
        """Return those of `ids` that exist and are of the notifier's transport, also when they have ended.

        Asked without ids after a change in the directory: whoever answers for rights has then looked at them again.
        """
        ...

    async def entries(self, account_id: AccountId, after_seq: int, limit: int) -> Sequence[Entry]:
        """Return at most `limit` entries that follow `after_seq`, in order."""
        ...

    async def mailbox(
        self, account_id: AccountId, mailbox: ExtensionId, after_seq: int, until_seq: int, limit: int
    ) -> Sequence[Entry]:
        """Return at most `limit` entries of `mailbox` with after_seq < seq ≤ until_seq, in order."""
        ...

    async def touched(self, since_ms: int) -> Sequence[tuple[AccountId, Seq, int]]:
        """See `log.sweep.Counters`."""
        ...

    async def behind(self, after: AccountId, limit: int) -> Sequence[tuple[AccountId, Seq]]:
        """See `log.sweep.Counters`."""
        ...


class StoreLoads:
    """Answers Loads from the store, for the subscriptions of one transport."""

    def __init__(self, readers: Readers, transport: TransportType) -> None:
        self._readers = readers
        self._transport = transport

    async def account(self, account_id: AccountId) -> StoredAccount:
        """See `Loads`."""
        return await self._readers.run(self._fetch_account, account_id)

    async def subscriptions(
        self, account_id: AccountId, ids: Sequence[SubscriptionId]
    ) -> dict[SubscriptionId, Subscription]:
        """See `Loads`."""
        return await self._readers.run(self._fetch_subscriptions, account_id, ids)

    async def entries(self, account_id: AccountId, after_seq: int, limit: int) -> Sequence[Entry]:
        """See `Loads`."""
        return await self._readers.run(fetch_entries, account_id, after_seq, limit)

    async def mailbox(
        self, account_id: AccountId, mailbox: ExtensionId, after_seq: int, until_seq: int, limit: int
    ) -> Sequence[Entry]:
        """See `Loads`."""
        return await self._readers.run(fetch_mailbox_entries, account_id, mailbox, after_seq, until_seq, limit)

    async def touched(self, since_ms: int) -> Sequence[tuple[AccountId, Seq, int]]:
        """See `Loads`."""
        return await self._readers.run(fetch_counters_touched, since_ms)

    async def behind(self, after: AccountId, limit: int) -> Sequence[tuple[AccountId, Seq]]:
        """See `Loads`."""
        return await self._readers.run(fetch_accounts_behind, self._transport, after, limit)

    def _fetch_account(self, conn: ReadConnection, account_id: AccountId) -> StoredAccount:
        return StoredAccount(
            account_id,
            fetch_counter(conn, account_id),
            tuple(one for one in fetch_account_subscriptions(conn, account_id) if one.transport is self._transport),
            fetch_positions(conn, account_id),
        )

    def _fetch_subscriptions(
        self, conn: ReadConnection, account_id: AccountId, ids: Sequence[SubscriptionId]
    ) -> dict[SubscriptionId, Subscription]:
        found = (fetch_subscription(conn, account_id, one) for one in ids)
        return {one.subscription_id: one for one in found if one is not None and one.transport is self._transport}
