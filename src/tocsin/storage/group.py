"""Which waiting units go into one transaction, and what that transaction writes. Pure: no thread, no database.

A group holds at most one unit per claimed key or expected row; units that only refer to a blob may share it. Merging
never changes a unit: the same units may have to run again, one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId, Seq
from tocsin.storage.entries import INSERT_COUNTER, INSERT_ENTRY, UPDATE_COUNTER, entry_row
from tocsin.storage.schema import claim
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.unit import Applied, Unit, WorkDue, Write

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
    seqs: dict[AccountId, int] = {}
    times: dict[AccountId, int] = {}
    for unit in units:
        account_id = unit.account_id
        at_ms, first = now_ms, 0
        if unit.drafts:
            before = seqs.get(account_id)
            if before is None:
                standing = counters.get(account_id)
                before, earlier_ms = standing or (0, 0)
                times[account_id] = max(now_ms, earlier_ms)
                merged.entries[account_id] = []
            at_ms, first = times[account_id], before + 1
            entries = merged.entries[account_id]
            for seq, (kind, fields) in enumerate(unit.drafts, first):
                # Each kind of entry takes these three first; which fields follow is its drafter's promise.
                entry: Entry = kind(account_id, seq, at_ms, *fields)  # type: ignore[arg-type]
                entries.append(entry)
                entry_rows.append(entry_row(entry))
            seqs[account_id] = before + len(unit.drafts)
        merged.applied.append(Applied(Seq(first), Seq(first + max(0, len(unit.drafts) - 1)), at_ms))
        for write in unit.writes:
            rows.setdefault(write.statement, []).extend(_filled(write, first))
        for one in unit.claims:
            rows.setdefault(INSERT_CLAIM, []).append((account_id, one.kind, one.key, one.value))
        if unit.work:
            merged.work.extend((account_id, due) for due in unit.work)
    for account_id, seq in seqs.items():
        statement = UPDATE_COUNTER if account_id in counters else INSERT_COUNTER
        rows.setdefault(statement, []).append((account_id, seq, times[account_id]))
    if entry_rows:
        rows[INSERT_ENTRY] = entry_rows
    return merged


def _filled(write: Write, first_seq: int) -> Sequence[Row]:
    """Return the rows of `write` with the seqs of the unit whose entries begin at `first_seq`."""
    if not write.seq_columns:
        return write.rows
    if len(write.seq_columns) == 1:
        at = write.seq_columns[0]
        return [row if row[at] is None else (*row[:at], row[at] + first_seq, *row[at + 1 :]) for row in write.rows]
    filled = []
    for row in write.rows:
        values = list(row)
        for at in write.seq_columns:
            if values[at] is not None:
                values[at] += first_seq
        filled.append(tuple(values))
    return filled


def _rank(item: tuple[Statement, list[Row]]) -> int:
    return item[0].order
