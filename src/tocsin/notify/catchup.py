"""Reading a lane's part of the log again: lanes that lag, and batches that failed, a page at a time and in turn.

A few readers serve all such lanes; each lane stands in the queue at most once. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tocsin.domain.entry import Entry, MessageChange, Notice
from tocsin.log.turns import Turns
from tocsin.notify.lane import Batch, Lane, Told
from tocsin.notify.loading import Loads
from tocsin.notify.ready import ReadyLanes

PAGE = 1_000


class CatchUp:
    """Fills lanes from the database. `skipped` counts announcements that a purge had blanked."""

    def __init__(self, loads: Loads, turns: Turns, ready: ReadyLanes) -> None:
        self._loads = loads
        self._turns = turns
        self._ready = ready
        self.skipped = 0

    def ask(self, lane: Lane) -> None:
        """Read for `lane` when its turn comes, then let it be served."""
        lane.reading = True
        lane.subscriber.active += 1
        self._turns.ask(partial(self._read, lane))

    async def _read(self, lane: Lane) -> None:
        if not lane.closed and await self._fill(lane):
            self._turns.ask(partial(self._read, lane))
            return
        lane.reading = False
        lane.subscriber.active -= 1
        self._ready.add(lane)
        self._ready.drain()

    async def _fill(self, lane: Lane) -> bool:
        """Read what the lane needs first, a batch or a page; whether it has to be read once more."""
        batch = lane.batch
        if batch is not None and batch.entries is None:
            entries = await self._of_batch(lane, batch)
            outdated = lane.outdated(entries)
            if not outdated:
                lane.refill_batch(entries)
            return outdated
        return lane.behind_to is not None and await self._page(lane, lane.behind_to)

    async def _page(self, lane: Lane, until_seq: int) -> bool:
        """Read one page of what the lane is behind; whether to read on: it is out of date, or had nothing."""
        source = lane.source
        account_id = lane.subscriber.account.account_id
        entries = await self._loads.mailbox(account_id, source.mailbox, lane.read_to, until_seq, PAGE)
        read_to = until_seq if len(entries) < PAGE else entries[-1].seq
        if lane.closed:
            return False
        if lane.outdated(entries):
            return True
        lane.filled(self._matching(lane, entries), read_to)
        return lane.behind_to is not None and not lane.pending

    async def _of_batch(self, lane: Lane, batch: Batch) -> list[Told]:
        found: list[Told] = []
        after = batch.first_seq - 1
        account_id = lane.subscriber.account.account_id
        while after < batch.last_seq:
            entries = await self._loads.mailbox(account_id, lane.source.mailbox, after, batch.last_seq, PAGE)
            found += self._matching(lane, entries)
            after = batch.last_seq if len(entries) < PAGE else entries[-1].seq
        return found

    def _matching(self, lane: Lane, entries: Sequence[Entry]) -> list[Told]:
        source = lane.source
        found: list[Told] = []
        for entry in entries:
            if source.matches(entry) and isinstance(entry, MessageChange | Notice):
                found.append(entry)
            elif source.purged(entry):
                self.skipped += 1
        return found
