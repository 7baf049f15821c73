"""The notifications of one WebSocket session: one lane for all its filters, cut by ranges of seq.

A range's notifications are written in a fixed order, each saying how many of the range are then done, so that recovery
cuts the same range again and goes on exactly behind the last frame that the client saw. Never holds back a watermark;
knows no sockets (the session does) and no frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.domain.entry import (
    DirectoryChange,
    DirectoryScope,
    Entry,
    Happened,
    MessageChange,
    Notice,
    SubscriptionChange,
)
from tocsin.domain.ids import AccountId, ExtensionId, SessionId
from tocsin.domain.subscription import StoredFilter, Subscription
from tocsin.storage.entries import fetch_counter, fetch_entries
from tocsin.storage.readers import Readers
from tocsin.telemetry.logs import get_logger
from tocsin.telemetry.tasks import Tasks

log = get_logger(__name__)

RANGE_ENTRIES = 500
"""Entries in one range at most."""
PENDING_ENTRIES = 2_000
"""Entries kept in memory for one session; beyond it they are read from the log again."""
_OF_RIGHTS = (DirectoryScope.ACCOUNT, DirectoryScope.EXTENSION)


class LogTrimmed(Exception):
    """What a feed is to tell next is gone; its client is to hear that there is nothing to recover."""


Render = Callable[[Subscription, StoredFilter, Sequence[MessageChange]], tuple[str, bytes]]
"""Renders one batch: its uuid and envelope."""
RenderNotice = Callable[[Subscription, Notice], tuple[str, bytes]]


class SessionSink(Protocol):
    """The session's socket, as far as its feed is concerned."""

    @property
    def account_id(self) -> AccountId:
        """Whose log it follows."""
        ...

    @property
    def session_id(self) -> SessionId:
        """The session."""
        ...

    @property
    def writable(self) -> bool:
        """Whether its buffer takes more."""
        ...

    def notify(self, uuid: str, envelope: bytes, before: int, last: int, done: int) -> None:
        """Write one notification of the range `before` < seq <= `last`, of which `done` are then written."""
        ...

    def give_up(self) -> None:
        """Close: what follows can't be written here, and the client recovers from what it has seen."""
        ...


class Resume(Protocol):
    """Where a recovered session stood: see delivery/wsc.py."""

    @property
    def before(self) -> int:
        """Everything up to here is written."""
        ...

    @property
    def last(self) -> int:
        """Last seq of the range that was being written."""
        ...

    @property
    def done(self) -> int:
        """How many notifications of that range are written."""
        ...


class SessionSubscriptions(Protocol):
    """Reads the subscription that lives by a session, and sees to it that its owner's rights are the present ones."""

    async def load(self, account_id: AccountId, session_id: SessionId) -> Subscription | None:
        """Return the session's active subscription, or None."""
        ...


class Rights(Protocol):
    """Whether a subscription's owner may still read a mailbox."""

    def may_receive(self, subscription: Subscription, mailbox: ExtensionId) -> bool:
        """Answer from caches."""
        ...


@dataclass(frozen=True, slots=True)
class FeedParts:
    """What every feed of a process shares."""

    readers: Readers
    subscriptions: SessionSubscriptions
    rights: Rights
    render: Render
    render_notice: RenderNotice
    tasks: Tasks


def cut_range(
    subscription: Subscription, entries: Sequence[Entry]
) -> list[tuple[StoredFilter, tuple[MessageChange, ...]] | Notice]:
    """Return the batches of a range in their fixed order: filter by filter, then by seq; notices last.

    A coalescing filter makes one batch a mailbox, an instant one a batch a change. A change whose announcement was
    purged keeps its place, or a recovery would count those behind it wrongly; it is not written.
    """
    changes = [entry for entry in entries if isinstance(entry, MessageChange)]
    cut: list[tuple[StoredFilter, tuple[MessageChange, ...]] | Notice] = []
    for stored in subscription.filters:
        wanted = stored.filter
        matched = tuple(
            change
            for change in changes
            if change.extension_id == wanted.extension_id
            and stored.covers(change.seq)
            and (wanted.matches(change) or wanted.blanked(change))
        )
        if matched and wanted.coalesces:
            cut.append((stored, matched))
        elif matched:
            cut.extend((stored, (change,)) for change in matched)
    cut.extend(
        entry
        for entry in entries
        if isinstance(entry, Notice) and entry.subscription_id == subscription.subscription_id
    )
    return cut


class SessionFeed:
    """Follows an account's log for one session. Made held: nothing is written before the first `release`."""

    def __init__(self, sink: SessionSink, parts: FeedParts, feeds: SessionFeeds, resume: Resume | None) -> None:
        self._sink = sink
        self._feeds = feeds
        self._parts = parts
        self._head = 0
        self._position = 0
        self._resume = resume
        self._pending: deque[Entry] = deque()
        self._behind = False
        self._reading = False
        self._holds = 1
        self._closed = False
        self._subscription: Subscription | None = None

    @property
    def account_id(self) -> AccountId:
        """Whose log it follows."""
        return self._sink.account_id

    @property
    def position(self) -> int:
        """Everything up to here is written or was not for this session."""
        return self._position

    def begin(self, head: int) -> int:
        """Start from the log's last seq, or from where the session stood; return that position.

        Entries may have arrived since `head` was read: they are read from the log.
        """
        self._position = head if self._resume is None else self._resume.before
        self._head = max(self._head, head)
        self._pending.clear()
        self._behind = self._head > self._position
        return self._position

    def swept(self, head: int) -> None:
        """The sweep found the account's log at `head`: entries that no tail brought are read from it."""
        if head > self._head:
            self._head = head
            self._behind = True
            self._pending.clear()
            self._pump()

    def arrived(self, entries: Sequence[Entry]) -> None:
        """Take the account's next entries; those known are passed over, and a gap is read from the log."""
        entries = [entry for entry in entries if entry.seq > self._head]
        if not entries:
            return
        self._behind = self._behind or entries[0].seq != self._head + 1
        self._head = entries[-1].seq
        self._behind = self._behind or self._may_purge(entries)
        if not self._behind and not self._reading:
            self._pending.extend(entries)
            self._behind = len(self._pending) > PENDING_ENTRIES
        if self._behind:
            self._pending.clear()
        if self._concerns(entries):
            self.hold()
            self._parts.tasks.start(self.release(), "websocket.reload")
        else:
            self._pump()

    def _may_purge(self, entries: Sequence[Entry]) -> bool:
        """Whether a message whose announcement is kept here was changed: the log says whether it was purged."""
        updated = {
            entry.message_id
            for entry in entries
            if isinstance(entry, MessageChange) and entry.happened is Happened.UPDATED
        }
        return bool(updated) and any(
            isinstance(kept, MessageChange) and kept.announcement is not None and kept.message_id in updated
            for kept in self._pending
        )

    def _concerns(self, entries: Sequence[Entry]) -> bool:
        """Whether the subscription's rows changed (expired, cancelled over HTTP, its filters replaced), or rights."""
        known = self._subscription
        return known is not None and any(
            (isinstance(entry, SubscriptionChange) and entry.subscription_id == known.subscription_id)
            or (isinstance(entry, DirectoryChange) and entry.scope in _OF_RIGHTS)
            for entry in entries
        )

    def hold(self) -> None:
        """Write nothing until as many releases as holds have come."""
        self._holds += 1

    async def release(self) -> None:
        """Read the session's subscription anew, then go on writing."""
        try:
            self._subscription = await self._load()
        except Exception:
            self._fail()
        finally:
            self._holds -= 1
        self._pump()

    def resume(self) -> None:
        """The socket takes more again."""
        self._pump()

    def close(self) -> None:
        """Stop for good."""
        self._closed = True
        self._pending.clear()
        self._feeds.ended(self)

    def _fail(self) -> None:
        """End here rather than go on with a hole; the position has not moved past what is unwritten."""
        log.exception("websocket.feed_failed", account_id=self.account_id)
        self.close()
        self._sink.give_up()

    @property
    def _ready(self) -> bool:
        return not self._closed and self._holds == 0 and self._sink.writable

    def _pump(self) -> None:
        # A feed that fails must not keep the tail from telling the next one.
        try:
            self._advance()
        except Exception:
            self._fail()

    def _advance(self) -> None:
        while self._ready and not self._reading:
            if self._behind:
                self._reading = True
                self._parts.tasks.start(self._catch_up(), "websocket.catch_up")
                return
            if not self._pending:
                return
            count = min(len(self._pending), RANGE_ENTRIES)
            self._write([self._pending.popleft() for _ in range(count)])

    def _write(self, entries: Sequence[Entry], skip: int = 0) -> None:
        """Write one range's notifications, but for the first `skip`."""
        before, last = self._position, entries[-1].seq
        if self._subscription is not None:
            for number, batch in enumerate(cut_range(self._subscription, entries), start=1):
                if number > skip:
                    self._notify(batch, before, last, number)
        self._position = last

    def _notify(
        self, batch: tuple[StoredFilter, tuple[MessageChange, ...]] | Notice, before: int, last: int, number: int
    ) -> None:
        subscription = self._subscription
        assert subscription is not None  # noqa: S101  # _write asked
        if isinstance(batch, Notice):
            uuid, envelope = self._parts.render_notice(subscription, batch)
        elif batch[0].filter.blanked(batch[1][0]):
            return
        elif self._parts.rights.may_receive(subscription, batch[0].filter.extension_id):
            uuid, envelope = self._parts.render(subscription, *batch)
        else:
            return
        self._sink.notify(uuid, envelope, before, last, number)

    async def _catch_up(self) -> None:
        """Read one range from the log and write it; the interrupted range of a recovery is cut as it was."""
        resume, self._resume = self._resume, None
        after, skip = self._position, 0
        limit = RANGE_ENTRIES
        if resume is not None and resume.last > resume.before:
            limit, skip = resume.last - resume.before, resume.done
        try:
            found = await self._read(after, limit)
            if not self._ready:
                self._resume = resume
                return
            if found:
                self._write(found, skip)
        except Exception:
            self._fail()
            return
        finally:
            self._reading = False
        self._behind = bool(found) and self._position < self._head
        self._pump()

    async def _read(self, after: int, limit: int) -> list[Entry]:
        """Entries of the log up to the head that is known: what was committed since is still to be told of."""
        found = await self._parts.readers.run(fetch_entries, self._sink.account_id, after, limit)
        if found and found[0].seq != after + 1:
            raise LogTrimmed(f"the log of account {self._sink.account_id} no longer holds what follows {after}")
        found = [entry for entry in found if entry.seq <= self._head]
        if self._concerns(found):
            self._subscription = await self._load()
        return found

    async def _load(self) -> Subscription | None:
        return await self._parts.subscriptions.load(self._sink.account_id, self._sink.session_id)


class SessionFeeds:
    """Opens feeds, and hands each account's entries to the feeds that follow it."""

    def __init__(self, parts: FeedParts) -> None:
        self._parts = parts
        self._by_account: dict[AccountId, list[SessionFeed]] = {}

    async def open(self, sink: SessionSink, resume: Resume | None) -> tuple[SessionFeed, int]:
        """Return a held feed that follows the log from now, or from where `resume` says, and its position."""
        feed = SessionFeed(sink, self._parts, self, resume)
        self._by_account.setdefault(sink.account_id, []).append(feed)
        try:
            return feed, feed.begin(await self._parts.readers.run(fetch_counter, sink.account_id))
        except BaseException:
            feed.close()
            raise

    def ended(self, feed: SessionFeed) -> None:
        """Forget a closed feed."""
        feeds = self._by_account.get(feed.account_id, [])
        if feed in feeds:
            feeds.remove(feed)
        if not feeds:
            self._by_account.pop(feed.account_id, None)

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """Hand on the account's entries as they are committed; each feed heals what it misses."""
        for feed in tuple(self._by_account.get(account_id, ())):
            feed.arrived(entries)

    def swept(self, account_id: AccountId, head: int) -> None:
        """Tell the account's feeds where its log stands."""
        for feed in tuple(self._by_account.get(account_id, ())):
            feed.swept(head)
