"""Following one account's log: entries reach the reader in seq order without a gap, whatever the tail does.

A jump waits a moment for the straggler and is then read from the database; what came before is ignored. A reader that
takes fewer entries than it is given is held until it resumes. Never interprets an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId
from tocsin.log.turns import Cancellable, SetTimer, Turns

STRAGGLER_S = 0.005
MAX_AHEAD = 1_000
"""Entries kept while something before them is missing or the reader is held; beyond, they are read again."""
READ_LIMIT = 1_000


class LogSource(Protocol):
    """Reads an account's log from the database."""

    async def entries(self, account_id: AccountId, after_seq: int, limit: int) -> Sequence[Entry]:
        """Return at most `limit` entries that follow `after_seq`, in order."""
        ...


class EntryReader(Protocol):
    """Who reads one account's log."""

    def take(self, entries: Sequence[Entry]) -> int:
        """Read `entries`, the next ones, and return how many were taken.

        Fewer than given holds the follower until `Follower.resume`; those left are given again.
        """
        ...


class Follower:
    """The position of one reader in one account's log. `position` is the last seq that the reader has taken."""

    def __init__(
        self,
        account_id: AccountId,
        position: int,
        reader: EntryReader,
        source: LogSource,
        turns: Turns,
        set_timer: SetTimer,
    ) -> None:
        self.account_id = account_id
        self.position = position
        self.known = position
        self._reader = reader
        self._source = source
        self._turns = turns
        self._set_timer = set_timer
        self._ahead: dict[int, Entry] = {}
        self._held = False
        self._healing = False
        self._timer: Cancellable | None = None
        self._closed = False

    @property
    def caught_up(self) -> bool:
        """Whether the reader has taken everything that is known to exist."""
        return self.position >= self.known

    def offer(self, entries: Sequence[Entry]) -> None:
        """Take what the tail brings: late, doubled or with gaps."""
        first, last = entries[0].seq, entries[-1].seq
        if first == self.position + 1 and not self._ahead and not self._held and last - first == len(entries) - 1:
            self.known = max(self.known, last)
            self._give(entries)
            return
        if last <= self.position:
            return
        self.known = max(self.known, last)
        self._keep(entries)
        self._drain()
        if not self.caught_up and not self._held and not self._healing and self._timer is None:
            self._timer = self._set_timer(STRAGGLER_S, self._overdue)

    def reached(self, seq: int) -> None:
        """Take note that the log goes up to `seq`, and read what is missing at once."""
        self.known = max(self.known, seq)
        self._heal()

    def resume(self) -> None:
        """Go on after the reader had held."""
        self._held = False
        self._drain()
        self._heal()

    def close(self) -> None:
        """Give the reader nothing more."""
        self._closed = True
        self._ahead.clear()
        self._cancel_timer()

    def _give(self, entries: Sequence[Entry]) -> None:
        if self._closed:
            return
        taken = self._reader.take(entries)
        if taken:
            self.position = entries[taken - 1].seq
        if taken < len(entries):
            self._held = True
            self._keep(entries[taken:])

    def _keep(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.seq > self.position and len(self._ahead) < MAX_AHEAD:
                self._ahead[entry.seq] = entry

    def _drain(self) -> None:
        while not self._held and self._ahead:
            run: list[Entry] = []
            following = self.position + 1
            while (entry := self._ahead.pop(following, None)) is not None:
                run.append(entry)
                following += 1
            if not run:
                # What is left lies beyond a gap; what the database has given meanwhile is dropped.
                self._ahead = {seq: kept for seq, kept in self._ahead.items() if seq > self.position}
                return
            self._give(run)

    def _overdue(self) -> None:
        self._timer = None
        self._heal()

    def _heal(self) -> None:
        if self.caught_up or self._healing or self._held or self._closed:
            return
        self._cancel_timer()
        self._healing = True
        self._turns.ask(self._read_gap)

    async def _read_gap(self) -> None:
        # One page a turn, so that a long way back does not keep others waiting.
        if not self._closed and not self._held:
            entries = await self._source.entries(self.account_id, self.position, READ_LIMIT)
            self._accept(entries)
        self._healing = False
        self._heal()

    def _accept(self, entries: Sequence[Entry]) -> None:
        # The tail may have brought some of these while they were read.
        fresh = [entry for entry in entries if entry.seq > self.position]
        if not entries:
            # The log ends here: whoever said otherwise saw something that is not (or no longer) stored.
            self.known = self.position
        elif fresh and not self._held:
            self.known = max(self.known, fresh[-1].seq)
            self._give(fresh)
        self._drain()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
