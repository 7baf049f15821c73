"""Which filters hear of a change: one look-up by mailbox, never a scan.

Compiled filters of one account's subscriptions, of whichever transport. Knows nothing of lanes, sending or loading, so
that webhook notifier and WebSocket sessions use it alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.domain.entry import Entry, MessageChange
from tocsin.domain.ids import ExtensionId
from tocsin.domain.subscription import StoredFilter, Subscription
from tocsin.storage.positions import LaneKey
from tocsin.wire.events import Envelope

_NO_END = 1 << 63


class CompiledFilter:
    """A stored filter made ready for matching. `after` < seq <= `until` is the part of the log that it is for."""

    __slots__ = ("after", "coalesces", "envelope", "event_filter", "key", "mailbox", "until")

    def __init__(self, subscription: Subscription, stored: StoredFilter) -> None:
        self.event_filter = stored.filter
        self.mailbox = stored.filter.extension_id
        self.coalesces = stored.filter.coalesces
        self.key = LaneKey(subscription.subscription_id, stored.filter_id, self.mailbox)
        self.after: int = stored.from_seq
        self.until: int = _NO_END if stored.until_seq is None else stored.until_seq
        self.envelope = Envelope(stored.filter.text, subscription.subscription_id, subscription.owner)

    @property
    def event(self) -> str:
        """The wire's `event` of its notifications."""
        return self.event_filter.text

    def end(self, stored: StoredFilter) -> None:
        """Take note of how far the stored filter goes now."""
        self.until = _NO_END if stored.until_seq is None else stored.until_seq

    def matches(self, entry: Entry) -> bool:
        """Whether `entry`, which must be of this filter's account, fires it."""
        return (
            self.after < entry.seq <= self.until
            and isinstance(entry, MessageChange)
            and entry.extension_id == self.mailbox
            and self.event_filter.matches(entry)
        )

    def purged(self, entry: Entry) -> bool:
        """Whether `entry` would have fired this filter, had its announcement not been blanked by a purge."""
        return (
            self.after < entry.seq <= self.until
            and isinstance(entry, MessageChange)
            and self.event_filter.blanked(entry)
        )


def compile_filters(subscription: Subscription) -> list[CompiledFilter]:
    """Return its stored filters compiled, in their order; one of a foreign account is never matched."""
    return [
        CompiledFilter(subscription, stored)
        for stored in subscription.filters
        if stored.filter.account_id == subscription.account_id
    ]


class FilterIndex:
    """Mailbox → filters, for one account."""

    __slots__ = ("_by_mailbox",)

    def __init__(self) -> None:
        self._by_mailbox: dict[ExtensionId, tuple[CompiledFilter, ...]] = {}

    def add(self, filters: Iterable[CompiledFilter]) -> None:
        """Let `filters` be found."""
        for one in filters:
            self._by_mailbox[one.mailbox] = (*self._by_mailbox.get(one.mailbox, ()), one)

    def remove(self, filters: Iterable[CompiledFilter]) -> None:
        """Let `filters` be found no more; those never added are ignored."""
        for one in filters:
            left = tuple(kept for kept in self._by_mailbox.get(one.mailbox, ()) if kept is not one)
            if left:
                self._by_mailbox[one.mailbox] = left
            else:
                self._by_mailbox.pop(one.mailbox, None)

    def of(self, mailbox: ExtensionId) -> tuple[CompiledFilter, ...]:
        """Return the filters that ask about `mailbox`; each still has to match."""
        return self._by_mailbox.get(mailbox, ())
