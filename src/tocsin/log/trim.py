"""Trimming: entries older than an age leave the log, account by account, in small units that take no seq.

A webhook subscription that still needed some of them gets a gap in the same transaction: what begins before the log
does is lost to it, whatever its position says, so the log's beginning is every position's floor and no position is
written here. Knows no notifier, only how far one has read, and leaves what a WebSocket session missed to its recovery.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from tocsin.domain.clock import Clock
from tocsin.domain.entry import Entry, MessageChange, Notice
from tocsin.domain.ids import AccountId, Seq
from tocsin.domain.subscription import Gap, Subscription, TransportType
from tocsin.storage.entries import TRIM_LOG, LogStart, fetch_counter, fetch_entries, fetch_log_starts
from tocsin.storage.positions import NOTICES, StoredPositions, fetch_gaps, fetch_positions, put_gap
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.subscriptions import fetch_account_subscriptions
from tocsin.storage.unit import Applies, Unit
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

TRIMMED = "The log no longer holds these entries: they had not been delivered when they were too old to be kept."

ACCOUNTS = 200
"""Accounts whose beginnings are looked at in one read."""
ENTRIES = 250
GAPS = 125
"""Of one unit: a gap is two rows, and a unit has 500."""


class LogReader(Protocol):
    """Who matches the log against the subscriptions, and writes their positions."""

    async def flush(self) -> None:
        """Write the positions that have moved."""
        ...

    def read_to(self, account_id: AccountId) -> int | None:
        """Return the seq up to which the account has been matched; None when it is to be read from the store first."""
        ...


class Part(NamedTuple):
    """What one step removes: everything up to `to_seq`, `entries` in number, and the gaps that this leaves."""

    to_seq: Seq
    entries: int
    gaps: Sequence[Gap]


class LogTrimmer:
    """Trims all logs. May be cut off anywhere and called again: it goes on with what is left."""

    def __init__(self, readers: Readers, writer: Applies, clock: Clock, reader: LogReader) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._reader = reader

    async def trim(self, before_ms: int) -> int:
        """Delete the entries committed before that time, each account's newest one excepted; return how many.

        The newest stays so that the log itself says where it begins. What the reader has not matched stays too, or it
        would never hear that a subscription was made or ended there.
        """
        await self._reader.flush()  # what has been delivered must not look as if it were missed
        removed = 0
        after = AccountId(-1)
        while starts := await self._readers.run(fetch_log_starts, after, ACCOUNTS):
            for start in starts:
                if _has_old(start, before_ms):
                    removed += await self._trim(start.account_id, before_ms)
            after = starts[-1].account_id
        return removed

    async def _trim(self, account_id: AccountId, before_ms: int) -> int:
        removed = 0
        while True:
            read_to = self._reader.read_to(account_id)
            now_ms = self._clock.now_ms()
            part = await self._readers.run(_fetch_part, account_id, before_ms, read_to, now_ms)
            if part is None:
                return removed
            for unit in units_of(account_id, part):
                await self._writer.apply(unit)
            removed += part.entries
            for gap in part.gaps:
                log.warning(
                    "log.subscription_overtaken",
                    account_id=account_id,
                    subscription_id=gap.subscription_id,
                    first_seq=gap.first_seq,
                    last_seq=gap.last_seq,
                )


def units_of(account_id: AccountId, part: Part) -> Iterator[Unit]:
    """Yield what `part` writes: one unit, unless more subscriptions are overtaken than fit; then gaps go first.

    A crash between leaves gaps of entries that are still there; the next run finds the same gaps again.
    """
    unit = Unit(account_id)
    for number, gap in enumerate(part.gaps):
        if number and number % GAPS == 0:
            yield unit
            unit = Unit(account_id)
        put_gap(unit, gap)
    unit.add(TRIM_LOG, (account_id, part.to_seq))
    yield unit


def missed_by(
    subscription: Subscription, entries: Sequence[Entry], positions: StoredPositions
) -> tuple[list[int], int] | None:
    """Return the seqs of those of `entries` that the subscription is still to be told of, and the lowest position
    of a lane that is; None where there are none.
    """
    mark = positions.watermark or 0
    at = {
        key[1:]: row.seq for key, row in positions.lanes.items() if key.subscription_id == subscription.subscription_id
    }
    told_of: set[int] = set()
    lowest: list[int] = []
    for stored in subscription.filters:
        wanted = stored.filter
        position = at.get((stored.filter_id, wanted.extension_id), mark)
        found = [
            entry.seq
            for entry in entries
            if entry.seq > position
            and isinstance(entry, MessageChange)
            and entry.extension_id == wanted.extension_id
            and stored.covers(entry.seq)
            and wanted.matches(entry)
        ]
        if found:
            told_of.update(found)
            lowest.append(position)
    position = next((seq for (filter_id, _), seq in at.items() if filter_id == NOTICES), mark)
    notices = [
        entry.seq
        for entry in entries
        if entry.seq > position and isinstance(entry, Notice) and entry.subscription_id == subscription.subscription_id
    ]
    if notices:
        told_of.update(notices)
        lowest.append(position)
    return (sorted(told_of), min(lowest)) if told_of else None


def _has_old(start: LogStart, before_ms: int) -> bool:
    return start.first_ms < before_ms and start.first_seq < start.last_seq


def _fetch_part(
    conn: ReadConnection, account_id: AccountId, before_ms: int, read_to: int | None, now_ms: int
) -> Part | None:
    """The next step of an account, None when nothing is left that is old."""
    end = fetch_counter(conn, account_id) - 1
    if read_to is not None:
        end = min(end, read_to)
    entries = [
        entry for entry in fetch_entries(conn, account_id, 0, ENTRIES) if entry.seq <= end and entry.at_ms < before_ms
    ]
    if not entries:
        return None
    return Part(entries[-1].seq, len(entries), _fetch_overtaken(conn, account_id, entries, now_ms))


def _fetch_overtaken(conn: ReadConnection, account_id: AccountId, entries: Sequence[Entry], now_ms: int) -> list[Gap]:
    """The gap that each subscription gets once `entries` are gone."""
    positions = fetch_positions(conn, account_id)
    last = entries[-1].seq
    if (positions.watermark or 0) >= last and all(row.seq >= last for row in positions.lanes.values()):
        return []
    gaps: list[Gap] = []
    for subscription in fetch_account_subscriptions(conn, account_id):
        if subscription.transport is not TransportType.WEBHOOK:
            continue
        missed = missed_by(subscription, entries, positions)
        if missed is not None:
            seqs, position = missed
            gaps.append(_gap(conn, subscription, seqs, position, now_ms))
    return gaps


def _gap(conn: ReadConnection, subscription: Subscription, seqs: Sequence[int], position: int, now_ms: int) -> Gap:
    """The gap of `seqs`; the subscription's latest one grown, where a lane has not moved since that was left."""
    known = fetch_gaps(conn, subscription.account_id, subscription.subscription_id)
    latest = max((gap for gap in known if gap.gap_id < 0), key=lambda gap: gap.last_seq, default=None)
    first, last = seqs[0], seqs[-1]
    if latest is not None and position <= latest.last_seq:
        first, last = latest.first_seq, max(last, latest.last_seq)
    return Gap(subscription.subscription_id, -first, Seq(first), Seq(last), TRIMMED, now_ms)
