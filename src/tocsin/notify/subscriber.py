"""One subscription as the notifier sees it: its sources, its outage, the lanes that wait for it, its gaps.

State and the questions about it. The outage's rules are in outages.py; sending is in dispatch.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tocsin.domain.ids import Seq
from tocsin.domain.subscription import Gap, Outage, Subscription, SubscriptionStatus
from tocsin.notify.index import CompiledFilter, compile_filters
from tocsin.notify.lane import Lane, NoticeSource, Source
from tocsin.storage.positions import LaneKey

if TYPE_CHECKING:
    from tocsin.notify.account import Account


class Subscriber:
    """A subscription that is loaded. `waiting` are the lanes that can't send for a reason of the subscription's."""

    __slots__ = (
        "account",
        "active",
        "calling",
        "due_ms",
        "filters",
        "gone",
        "idle",
        "last_gap_id",
        "last_success_ms",
        "notices",
        "open_gaps",
        "outage",
        "prober",
        "subscription",
        "waiting",
    )

    def __init__(self, account: Account, subscription: Subscription) -> None:
        self.account = account
        self.subscription = subscription
        self.filters: dict[int, CompiledFilter] = {one.key.filter_id: one for one in compile_filters(subscription)}
        self.notices = NoticeSource(subscription)
        self.outage: Outage | None = None
        self.prober: Lane | None = None
        self.waiting: dict[Lane, None] = {}
        self.calling = False
        self.gone = False
        self.last_success_ms = 0
        self.last_gap_id = 0
        self.open_gaps: dict[LaneKey, Gap] = {}
        self.due_ms: int | None = None
        self.active = 0
        self.idle: list[asyncio.Future[None]] = []

    @property
    def blacklisted(self) -> bool:
        """Whether deliveries have stopped until a handshake succeeds."""
        return self.subscription.status is SubscriptionStatus.BLACKLISTED

    @property
    def flows(self) -> bool:
        """Whether nothing about the subscription itself stops its lanes."""
        return self.outage is None and not (self.subscription.paused or self.blacklisted or self.calling)

    def may_send(self, lane: Lane) -> bool:
        """Whether `lane` may send now: in an outage only the lane that probes."""
        if self.subscription.paused or self.blacklisted or self.calling:
            return False
        return self.outage is None or self.prober is lane

    def over(self, now_ms: int) -> bool:
        """Whether it has been cancelled or has expired: what is pending is dropped."""
        return self.subscription.ended_seq is not None or self.subscription.expires_ms <= now_ms

    def sources(self) -> Iterator[Source]:
        """Everything that lanes of it can be fed by."""
        yield from self.filters.values()
        yield self.notices

    def source(self, filter_id: int) -> Source | None:
        """The source of that id, the lane of notices included."""
        return self.filters.get(filter_id) or (self.notices if filter_id == self.notices.key.filter_id else None)

    def lanes(self) -> Iterator[Lane]:
        """Its lanes: those with work."""
        found = self.account.lanes
        return (found[source] for source in self.sources() if source in found)

    def change(self, subscription: Subscription) -> tuple[Iterable[CompiledFilter], Iterable[CompiledFilter]]:
        """Take the subscription as it is now; return the filters that are new and those that are no more.

        A filter that stays keeps its identity, and its lane.
        """
        stored = {one.filter_id: one for one in subscription.filters}
        removed = [self.filters.pop(filter_id) for filter_id in tuple(self.filters) if filter_id not in stored]
        for filter_id, compiled in self.filters.items():
            compiled.end(stored[filter_id])
        added = [one for one in compile_filters(subscription) if one.key.filter_id not in self.filters]
        self.filters.update((one.key.filter_id, one) for one in added)
        self.subscription = subscription
        return added, removed

    def skip(self, lane: Lane, first_seq: int, last_seq: int, reason: str, now_ms: int) -> None:
        """Record that a part of the log is not delivered, and why; a gap of the same lane and reason grows by it."""
        key = lane.source.key
        earlier = self.open_gaps.get(key)
        if earlier is not None and earlier.reason == reason:
            gap_id, first_seq = earlier.gap_id, earlier.first_seq
        else:
            self.last_gap_id += 1
            gap_id = self.last_gap_id
        gap = Gap(key.subscription_id, gap_id, Seq(first_seq), Seq(last_seq), reason, now_ms)
        self.open_gaps[key] = gap
        self.account.new_gaps[key.subscription_id, gap_id] = gap
