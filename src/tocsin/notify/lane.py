"""A lane: what one filter of one subscription still has to tell about one mailbox. It exists only while it has work.

One batch at a time. What does not fit in memory is two seq numbers, to be read again. Keeps the books; sends nothing
and decides nothing about time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tocsin.domain.entry import Entry, MessageChange, Notice
from tocsin.domain.ids import ExtensionId
from tocsin.domain.subscription import Subscription
from tocsin.notify.envelopes import NO_MAILBOX
from tocsin.notify.index import CompiledFilter
from tocsin.storage.positions import NOTICES, FailedBatch, LaneKey, LanePosition

if TYPE_CHECKING:
    from tocsin.notify.subscriber import Subscriber

MAX_CHANGES = 500
"""Changes in one notification; the next one carries the rest."""
LANE_ENTRIES = 1_000
"""Entries that one lane keeps in memory; beyond it, it reads them again."""

Told = MessageChange | Notice
"""The entries that notifications tell of."""


class NoticeSource:
    """What a subscription's lane of notices is fed by; the counterpart of CompiledFilter."""

    __slots__ = ("after", "key")

    coalesces = False
    mailbox: ExtensionId = NO_MAILBOX

    def __init__(self, subscription: Subscription) -> None:
        self.key = LaneKey(subscription.subscription_id, NOTICES, NO_MAILBOX)
        self.after = 0

    def matches(self, entry: Entry) -> bool:
        """Whether `entry` is a notice to this subscription."""
        return isinstance(entry, Notice) and entry.subscription_id == self.key[0] and entry.seq > self.after

    def purged(self, entry: Entry) -> bool:
        """Notices are never purged."""
        return False


Source = CompiledFilter | NoticeSource


class Budget:
    """Entries that all lanes together keep in memory: a count and its limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Batch:
    """What one notification tells. Its bounds never change again once it has failed; then it is read anew each time."""

    __slots__ = ("attempts", "entries", "failing_since_ms", "first_seq", "in_flight", "last_seq", "next_attempt_ms")

    def __init__(self, entries: Sequence[Told] | None, first_seq: int, last_seq: int) -> None:
        self.entries = entries
        self.first_seq = first_seq
        self.last_seq = last_seq
        self.attempts = 0
        self.failing_since_ms = 0
        self.next_attempt_ms = 0
        self.in_flight = False

    @property
    def frozen(self) -> bool:
        """Whether it has failed before."""
        return self.attempts > 0


class Lane:
    """The work of one source. `read_to` and `behind_to` are the two seq numbers of a lane that lags."""

    __slots__ = (
        "batch",
        "behind_to",
        "budget",
        "changed",
        "closed",
        "pending",
        "queued",
        "read_to",
        "reading",
        "seen_at",
        "seen_position",
        "source",
        "subscriber",
    )

    def __init__(self, source: Source, subscriber: Subscriber, budget: Budget) -> None:
        self.source = source
        self.subscriber = subscriber
        self.budget = budget
        self.pending: list[Told] = []
        self.batch: Batch | None = None
        self.read_to = 0
        self.behind_to: int | None = None
        self.queued = False
        self.reading = False
        self.closed = False
        self.changed: set[int] = set()
        self.seen_position = -1
        self.seen_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether something is under way that will come back to it."""
        return self.reading or (self.batch is not None and self.batch.in_flight)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to tell."""
        return self.batch is None and not self.pending and self.behind_to is None

    @property
    def position(self) -> int:
        """Everything of this lane up to here is done. Meaningless when the lane is empty."""
        if self.batch is not None:
            return self.batch.first_seq - 1
        return self.pending[0].seq - 1 if self.pending else self.read_to

    def push(self, entry: Told) -> None:
        """Add an entry that its source matches; entries come in seq order, those already dealt with are ignored."""
        if entry.seq <= self.read_to:
            return
        if self.behind_to is not None:
            self.behind_to = entry.seq
            return
        self.pending.append(entry)
        self.budget.used += 1
        if len(self.pending) > LANE_ENTRIES or (self.budget.used > self.budget.limit and self.busy):
            self.spill()

    def spill(self) -> None:
        """Give up the memory of what is pending: it will be read again."""
        if not self.pending:
            return
        # What was read of the log in pages goes back to before the first entry that is given up.
        self.read_to = self.pending[0].seq - 1 if self.batch is None else self.batch.last_seq
        if self.behind_to is None:
            self.behind_to = self.pending[-1].seq
        self.budget.used -= len(self.pending)
        self.pending = []

    def lag(self, after_seq: int, until_seq: int) -> None:
        """Be behind: everything in after_seq < seq ≤ until_seq is to be read."""
        self.read_to = after_seq
        self.behind_to = until_seq if until_seq > after_seq else None

    def filled(self, entries: Sequence[Told], read_to: int) -> None:
        """Take what was read of the log up to `read_to`: the entries that match."""
        self.read_to = read_to
        self.pending.extend(entries)
        self.budget.used += len(entries)
        if self.behind_to is not None and read_to >= self.behind_to:
            self.behind_to = None

    def cut(self) -> Batch:
        """Make the next batch of what is pending: all of it for a coalescing filter, up to a cap; else one entry."""
        size = min(len(self.pending), MAX_CHANGES) if self.source.coalesces else 1
        entries, self.pending = self.pending[:size], self.pending[size:]
        self.batch = Batch(entries, entries[0].seq, entries[-1].seq)
        return self.batch

    def forget_entries(self) -> None:
        """Give up the memory of the batch: it is read again before it is sent again."""
        if self.batch is not None and self.batch.entries is not None:
            self.budget.used -= len(self.batch.entries)
            self.batch.entries = None

    def refill_batch(self, entries: Sequence[Told]) -> None:
        """Take the entries of the batch, read anew."""
        if self.batch is not None and self.batch.entries is None:
            self.budget.used += len(entries)
            self.batch.entries = entries

    def finish_batch(self) -> None:
        """The batch is done with, in whichever way."""
        if self.batch is not None:
            self.forget_entries()
            self.read_to = max(self.read_to, self.batch.last_seq)
            self.batch = None

    def drop(self) -> None:
        """Give up everything: the subscription is over."""
        self.finish_batch()
        self.budget.used -= len(self.pending)
        self.pending = []
        self.behind_to = None
        self.closed = True

    def reread(self, message_id: int) -> None:
        """Give up what is in memory of an announcement of this message, which may have been purged."""
        if self.reading:
            self.changed.add(message_id)
        if _tells_of(self.pending, message_id):
            self.spill()
        batch = self.batch
        if batch is not None and not batch.in_flight and _tells_of(batch.entries or (), message_id):
            self.forget_entries()

    def stored(self) -> LanePosition:
        """Where the lane stands, as its row says it."""
        batch = self.batch
        if batch is None or not batch.frozen:
            return LanePosition(self.position, None)
        return LanePosition(
            self.position,
            FailedBatch(batch.first_seq, batch.last_seq, batch.attempts, batch.failing_since_ms, batch.next_attempt_ms),
        )

    def restore(self, row: LanePosition, until_seq: int) -> None:
        """Stand where the row says, with the log read up to `until_seq` by everyone else."""
        self.lag(row.seq, until_seq)
        if row.failed is not None:
            failed = row.failed
            self.batch = Batch(None, failed.first_seq, failed.last_seq)
            self.batch.attempts = failed.attempts
            self.batch.failing_since_ms = failed.failing_since_ms
            self.batch.next_attempt_ms = failed.next_attempt_ms
            self.lag(failed.last_seq, until_seq)

    def outdated(self, entries: Sequence[Entry]) -> bool:
        """Whether one of `entries` announces a message that was changed while they were read: read them again."""
        changed, self.changed = self.changed, set()
        return any(
            isinstance(entry, MessageChange) and entry.announcement is not None and entry.message_id in changed
            for entry in (entries if changed else ())
        )


def _tells_of(entries: Sequence[Told], message_id: int) -> bool:
    return any(isinstance(entry, MessageChange) and entry.message_id == message_id for entry in entries)
