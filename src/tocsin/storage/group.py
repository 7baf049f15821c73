"""Which waiting units go into one transaction, and what that transaction writes. Pure: no thread, no database.

A group holds at most one unit per claimed key or expected row; units that only refer to a blob may share it. Merging
never changes a unit: the same units may have to run again, one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId, Seq
from tocsin.storage.entries import INSERT_COUNTER, INSERT_ENTRY, UPDATE_COUNTER, entry_row
from tocsin.storage.schema import claim
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.unit import Applied, Draft, Unit, WorkDue, Write

MAX_UNITS = 256
MAX_GROUP_ROWS = 4_096
"""Bounds of one group: enough that the sync is shared by many, little enough that nobody waits long for it."""

INSERT_CLAIM = insert_into(claim, order=1)

Key = tuple[object, ...]


class Waiting(NamedTuple):
    """A unit that waits to be written, and whom to tell."""

    unit: Unit
    future: asyncio.Future[Applied]
    rows: int


def claim_keys(unit: Unit) -> list[Key]:
    """Return the primary keys in `claim` that `unit` takes."""
    return [(unit.account_id, one.kind, one.key) for one in unit.claims]


class Group:
    """The units of one transaction while it is being filled."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self._rows = 0
        self._taken: set[Key] = set()
        self._shared: set[Key] = set()

    def add(self, waiting: Waiting) -> bool:
        """Take `waiting` unless it must wait for the next group; say whether it was taken."""
        if self._rows + waiting.rows > MAX_GROUP_ROWS and self.waiting:
            return False
        unit = waiting.unit
        if unit.claims or unit.expects or unit.blobs:
            mine: set[Key] = {("claim", *key) for key in claim_keys(unit)}
            mine.update((one.table, unit.account_id, *one.key) for one in unit.expects)
            shared: set[Key] = {("blob", unit.account_id, key) for key in unit.blobs}
            if mine & self._taken or mine & self._shared or shared & self._taken:
                return False
            self._taken |= mine
            self._shared |= shared
        self.waiting.append(waiting)
        self._rows += waiting.rows
        return True


class Backlog:
    """The units that wait, a queue per account, served in turn. Used by the writer thread alone."""

    def __init__(self) -> None:
        self._queues: dict[AccountId, deque[Waiting]] = {}
        self._turns: deque[AccountId] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, waiting: Waiting) -> None:
        """Put `waiting` behind what its account has waiting."""
        account_id = waiting.unit.account_id
        queue = self._queues.get(account_id)
        if queue is None:
            self._queues[account_id] = deque((waiting,))
            self._turns.append(account_id)
        else:
            queue.append(waiting)

    def take_group(self) -> list[Waiting]:
        """Remove and return the next group: one unit of each account in turn, until it is full.

        An account whose next unit must wait for another group waits with it, so that its units keep their order.
        """
        group = Group()
        held: list[AccountId] = []
        turns = self._turns
        while turns and len(group.waiting) < MAX_UNITS:
            account_id = turns.popleft()
            queue = self._queues[account_id]
            if not group.add(queue[0]):
                held.append(account_id)
                continue
            queue.popleft()
            if queue:
                turns.append(account_id)
            else:
                del self._queues[account_id]
        turns.extendleft(reversed(held))
        return group.waiting


@dataclass(slots=True)
class Merged:
    """What one transaction writes, and what is told once it is durable. `applied` is in the order of the units."""

    applied: list[Applied] = field(default_factory=list)
    entries: dict[AccountId, list[Entry]] = field(default_factory=dict)
    work: list[tuple[AccountId, WorkDue]] = field(default_factory=list)
    rows: dict[Statement, list[Row]] = field(default_factory=dict)

    def in_order(self) -> list[tuple[Statement, list[Row]]]:
        """Return the statements by rank; those of equal rank as units first named them."""
        return sorted(self.rows.items(), key=_rank)


class Standing(NamedTuple):
    """Where an account's log stands: the last seq given and when."""

    seq: int
    touched_ms: int


def merge(units: Iterable[Unit], counters: Mapping[AccountId, Standing], now_ms: int) -> Merged:
    """Give each of `units` its seqs, in order, after `counters`, and gather all rows by statement.

    `counters` holds the accounts that have one. The commit time of an account never falls below its previous one.
    """
    merged = Merged()
    rows = merged.rows
    entry_rows: list[Row] = []
    logs: dict[AccountId, _Log] = {}
    for unit in units:
        account_id, drafts = unit.account_id, unit.drafts
        first, last, at_ms = 0, 0, now_ms
        if drafts:
            log = logs.get(account_id)
            if log is None:
                log = logs[account_id] = _Log(counters.get(account_id), now_ms)
            first, last, at_ms = log.append(account_id, drafts, entry_rows)
        merged.applied.append(Applied(Seq(first), Seq(last), at_ms))
        for write in unit.writes:
            gathered = rows.get(write.statement)
            if gathered is None:
                gathered = rows[write.statement] = []
            gathered += _filled(write, first) if write.seq_columns else write.rows
        if unit.claims:
            claimed = rows.setdefault(INSERT_CLAIM, [])
            claimed += [(account_id, one.kind, one.key, one.value) for one in unit.claims]
        if unit.work:
            merged.work += [(account_id, due) for due in unit.work]
    for account_id, log in logs.items():
        merged.entries[account_id] = log.entries
        statement = UPDATE_COUNTER if account_id in counters else INSERT_COUNTER
        rows.setdefault(statement, []).append((account_id, log.seq, log.at_ms))
    if entry_rows:
        rows[INSERT_ENTRY] = entry_rows
    return merged


class _Log:
    """One account's log while a group is merged."""

    __slots__ = ("at_ms", "entries", "seq")

    def __init__(self, standing: Standing | None, now_ms: int) -> None:
        self.seq, earlier_ms = standing or (0, 0)
        self.at_ms = max(now_ms, earlier_ms)
        self.entries: list[Entry] = []

    def append(self, account_id: AccountId, drafts: list[Draft], rows: list[Row]) -> tuple[int, int, int]:
        """Make `drafts` entries, add their rows to `rows`; return first seq, last seq, commit time."""
        seq, at_ms = self.seq, self.at_ms
        first = seq + 1
        for kind, fields in drafts:
            seq += 1
            entry = kind._make((account_id, seq, at_ms, *fields))
            self.entries.append(entry)
            rows.append(entry_row(entry))
        self.seq = seq
        return first, seq, at_ms


def _filled(write: Write, first_seq: int) -> list[Row]:
    """Return the rows of `write` with the seqs of the unit whose entries begin at `first_seq`."""
    filled: list[Row] = []
    for row in write.rows:
        values = list(row)
        for at in write.seq_columns:
            if values[at] is not None:
                values[at] += first_seq
        filled.append(tuple(values))
    return filled


def _rank(item: tuple[Statement, list[Row]]) -> int:
    return item[0].order
