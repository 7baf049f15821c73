"""One account as the notifier sees it: its index, its subscriptions, its lanes, and where its log has been read to.

Matches entries against the index, and says what its positions are. Sends nothing, reads nothing but through others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

from tocsin.domain.entry import (
    DirectoryChange,
    DirectoryScope,
    Entry,
    Happened,
    MessageChange,
    Notice,
    SubscriptionChange,
)
from tocsin.domain.ids import AccountId, Seq, SubscriptionId
from tocsin.domain.subscription import Gap, Outage, Subscription, SubscriptionStatus
from tocsin.notify.index import FilterIndex
from tocsin.notify.lane import Budget, Lane, Source, Told
from tocsin.notify.loading import StoredAccount
from tocsin.notify.ready import ReadyLanes
from tocsin.notify.subscriber import Subscriber
from tocsin.storage.positions import LaneKey, LanePosition, SubscriptionPosition

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

STUCK_S = 1.0
"""A lane that stands still for longer gets a row, so that it no longer holds back the watermark."""
PASSED_ENTRIES = 1_000
"""Entries that concern nobody move the stored watermark only every so many."""

_UNKNOWN_LANE = LanePosition(-1, None)
_UNKNOWN_OUTAGE = SubscriptionPosition(Seq(-1), Outage(0, 0, 0, ""))

Reload = Callable[["Account", Sequence[SubscriptionId]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written about an account's positions, all in one transaction. None for a row means: remove it."""

    watermark: int
    completed: int
    lanes: dict[LaneKey, LanePosition | None]
    outages: dict[SubscriptionId, SubscriptionPosition | None]
    gaps: dict[tuple[SubscriptionId, int], Gap]


class Account:
    """A loaded account. `read_to` is the last seq that has been matched; `reload` is asked to read subscriptions."""

    def __init__(self, stored: StoredAccount, ready: ReadyLanes, budget: Budget, reload: Reload) -> None:
        self.account_id: AccountId = stored.account_id
        self.index = FilterIndex()
        self.subscribers: dict[SubscriptionId, Subscriber] = {}
        self.lanes: dict[Source, Lane] = {}
        self.new_gaps: dict[tuple[SubscriptionId, int], Gap] = {}
        self.completed = 0
        self.read_to: int = start_of(stored)
        self._ready = ready
        self._budget = budget
        self._reload = reload
        self._fresh_to: int = stored.seq
        self._asked_to = 0
        self._stored_mark: int = stored.positions.watermark or 0
        self._stored_lanes = dict(stored.positions.lanes)
        self._stored_outages = dict(stored.positions.subscriptions)
        for subscription in stored.subscriptions:
            subscriber = self._add(subscription)
            subscriber.last_gap_id = stored.positions.last_gaps.get(subscription.subscription_id, 0)
            position = stored.positions.subscriptions.get(subscription.subscription_id)
            subscriber.outage = None if position is None else position.outage
        for key, row in stored.positions.lanes.items():
            self._restore(key, row)

    # --- reading the log

    def take(self, entries: Sequence[Entry]) -> int:
        """See `log.follower.EntryReader`: match each entry; stop before a change of a subscription not yet reloaded."""
        taken = 0
        for entry in entries:
            if type(entry) is MessageChange:
                self._match(entry)
            elif not self._take_other(entry, entries):
                break
            taken += 1
        if taken:
            self.read_to = entries[taken - 1].seq
        self._ready.drain()
        return taken

    def _match(self, change: MessageChange) -> None:
        for compiled in self.index.of(change.extension_id):
            if compiled.matches(change):
                self._push(compiled, change, self.subscribers[compiled.key.subscription_id])
            elif not compiled.coalesces and change.happened is Happened.UPDATED:
                # It may have been purged: what is pending of it in memory must not outlive what is stored.
                lane = self.lanes.get(compiled)
                if lane is not None:
                    lane.reread(change.message_id)

    def _push(self, source: Source, entry: Told, subscriber: Subscriber) -> None:
        lane = self.lanes.get(source)
        if lane is None:
            lane = self.lanes[source] = Lane(source, subscriber, self._budget)
            self._ready.add(lane)
        lane.push(entry)

    def _take_other(self, entry: Entry, entries: Sequence[Entry]) -> bool:
        match entry:
            case SubscriptionChange() | DirectoryChange():
                return not _needs_look(entry) or self._is_fresh(entry, entries)
            case Notice():
                subscriber = self.subscribers.get(entry.subscription_id)
                if subscriber is not None and subscriber.notices.matches(entry):
                    self._push(subscriber.notices, entry, subscriber)
                return True
            case MessageChange():
                return True
            case _:
                assert_never(entry)

    def _is_fresh(self, change: SubscriptionChange | DirectoryChange, entries: Sequence[Entry]) -> bool:
        """Whether subscription and rights were read since the change; if not, ask for them and those that follow."""
        if change.seq <= self._fresh_to:
            return True
        ahead = [one for one in entries if one.seq >= change.seq and _needs_look(one)]
        changed = (one.subscription_id for one in ahead if isinstance(one, SubscriptionChange))
        self._asked_to = ahead[-1].seq
        self._reload(self, tuple(dict.fromkeys(changed)))
        return False

    # --- subscriptions

    def reloaded(self, ids: Iterable[SubscriptionId], found: dict[SubscriptionId, Subscription]) -> list[Subscriber]:
        """Take subscriptions as they are now; return those that are known and still there."""
        self._fresh_to = max(self._fresh_to, self._asked_to)
        changed: list[Subscriber] = []
        for subscription_id in ids:
            subscription = found.get(subscription_id)
            subscriber = self.subscribers.get(subscription_id)
            if subscription is None or subscription.ended_seq is not None:
                if subscriber is not None:
                    self._end(subscriber)
            elif subscriber is None:
                changed.append(self._add(subscription))
            else:
                self._change(subscriber, subscription)
                changed.append(subscriber)
        return changed

    def drop_lanes(self, subscriber: Subscriber) -> None:
        """Give up everything that is pending for a subscription that is over."""
        for lane in list(subscriber.lanes()):
            del self.lanes[lane.source]
            lane.drop()
        subscriber.waiting.clear()
        subscriber.prober = None

    def _add(self, subscription: Subscription) -> Subscriber:
        subscriber = Subscriber(self, subscription)
        self.subscribers[subscription.subscription_id] = subscriber
        self.index.add(subscriber.filters.values())
        return subscriber

    def _change(self, subscriber: Subscriber, subscription: Subscription) -> None:
        if subscriber.blacklisted and subscription.status is SubscriptionStatus.ACTIVE:
            subscriber.outage = subscriber.prober = None
        elif subscriber.outage is not None and subscription.expires_ms > subscriber.subscription.expires_ms:
            subscriber.outage = replace(
                subscriber.outage, next_probe_ms=0
            )  # renewed: whoever did so may have mended it
        added, removed = subscriber.change(subscription)
        self.index.add(added)
        self.index.remove(removed)
        for compiled in removed:
            if (lane := self.lanes.pop(compiled, None)) is not None:
                subscriber.waiting.pop(lane, None)
                if subscriber.prober is lane:
                    subscriber.prober = None
                lane.drop()

    def _end(self, subscriber: Subscriber) -> None:
        self.drop_lanes(subscriber)
        subscriber.gone = True
        subscriber.outage = None
        self.index.remove(subscriber.filters.values())
        del self.subscribers[subscriber.subscription.subscription_id]

    def _restore(self, key: LaneKey, row: LanePosition) -> None:
        subscriber = self.subscribers.get(key.subscription_id)
        source = None if subscriber is None else subscriber.source(key.filter_id)
        if subscriber is None or source is None:
            return
        lane = Lane(source, subscriber, self._budget)
        lane.restore(row, self.read_to)
        if lane.empty:
            source.after = max(source.after, row.seq)
        else:
            self.lanes[source] = lane
            self._ready.add(lane)

    # --- positions

    @property
    def idle(self) -> bool:
        """Whether the account has nothing to do: no lanes, no outage, nothing blacklisted, no call under way."""
        return not self.lanes and all(one.outage is None and one.active == 0 for one in self.subscribers.values())

    def plan(self, now_s: float, *, whole: bool = False) -> Plan | None:
        """Return what is to be written, or None when it is not worth a write; `whole` (at the end) always is.

        The watermark passes a seq only where each lane that matched it is done or has a row.
        """
        mark, lanes = self.read_to, dict[LaneKey, LanePosition | None]()
        for lane in self.lanes.values():
            position = lane.position
            if whole or self._needs_row(lane, position, now_s):
                lanes[lane.source.key] = lane.stored()
            else:
                mark = min(mark, position)
        mark = max(mark, self._stored_mark)
        outages: dict[SubscriptionId, SubscriptionPosition | None] = {
            subscription_id: self._outage_row(subscription_id, one.outage, mark)
            for subscription_id, one in self.subscribers.items()
            if one.outage is not None
        }
        plan = Plan(
            mark,
            self.completed,
            _difference(self._stored_lanes, lanes),
            _difference(self._stored_outages, outages),
            dict(self.new_gaps),
        )
        # Without subscriptions the next start begins at the log's end anyway.
        moved = mark - self._stored_mark if self.subscribers else 0
        worth = moved and (whole or self.completed or moved >= PASSED_ENTRIES)
        return plan if worth or plan.lanes or plan.outages or plan.gaps else None

    def written(self, plan: Plan) -> None:
        """Take note that `plan` is stored."""
        self._stored_mark = plan.watermark
        self.completed -= plan.completed
        _apply(self._stored_lanes, plan.lanes)
        _apply(self._stored_outages, plan.outages)
        for key, gap in plan.gaps.items():
            if self.new_gaps.get(key) is gap:
                del self.new_gaps[key]

    def unsure(self, plan: Plan) -> None:
        """Take note that nobody knows how much of `plan` is stored: its rows are put anew with the next one."""
        self._stored_lanes.update(dict.fromkeys(plan.lanes, _UNKNOWN_LANE))
        self._stored_outages.update(dict.fromkeys(plan.outages, _UNKNOWN_OUTAGE))

    def _needs_row(self, lane: Lane, position: int, now_s: float) -> bool:
        if position != lane.seen_position:
            lane.seen_position, lane.seen_at = position, now_s
        return (
            position < self._stored_mark
            or (lane.batch is not None and lane.batch.frozen)
            or not lane.subscriber.flows
            or now_s - lane.seen_at >= STUCK_S
        )

    def _outage_row(self, subscription_id: SubscriptionId, outage: Outage, mark: int) -> SubscriptionPosition:
        stored = self._stored_outages.get(subscription_id)
        # An outage that only lasts is not written again for the sake of its position.
        return stored if stored is not None and stored.outage == outage else SubscriptionPosition(Seq(mark), outage)


def _needs_look(entry: Entry) -> bool:
    """Whether what is known of subscriptions or of their owners' rights is out of date with `entry`."""
    match entry:
        case SubscriptionChange():
            return True
        case DirectoryChange():
            return entry.scope in (DirectoryScope.ACCOUNT, DirectoryScope.EXTENSION)
        case _:
            return False


def start_of(stored: StoredAccount) -> int:
    """Return the seq from which on the account's log concerns anyone, rows of lanes apart.

    What came before the first filter of all concerns nobody, however old the watermark.
    """
    firsts = [one.from_seq for subscription in stored.subscriptions for one in subscription.filters]
    if not firsts:
        return stored.seq
    return min(stored.seq, max(min(firsts), stored.positions.watermark or 0))


def _difference(stored: Mapping[K, V], wanted: Mapping[K, V | None]) -> dict[K, V | None]:
    """Return the rows to put so that `stored` becomes `wanted`."""
    changed = {key: row for key, row in wanted.items() if stored.get(key) != row}
    return changed | dict.fromkeys(stored.keys() - wanted.keys())


def _apply(stored: dict[K, V], changes: Mapping[K, V | None]) -> None:
    for key, row in changes.items():
        if row is None:
            stored.pop(key, None)
        else:
            stored[key] = row
