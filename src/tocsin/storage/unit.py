"""A unit: one validated write to one account, at most 500 rows, as rows per statement. What use cases give the writer.

The writer merges the units that wait, gives each the next seqs of its account, and commits them in one transaction.
Nothing here touches a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId, Seq
from tocsin.storage.statement import Row, Statement

MAX_ROWS = 500

ABSENT = -1
"""As an expected version: the row must not exist yet."""


class Write(NamedTuple):
    """Rows for one statement.

    In the columns `seq_columns` (positions) the value n >= 0 stands for the seq of the unit's n-th entry, to be filled
    in by the writer; None stays None.
    """

    statement: Statement
    rows: list[Row]
    seq_columns: tuple[int, ...] = ()


class Claim(NamedTuple):
    """A unique key of the unit's account, taken for good; `value` is what a later claimant is told.

    Kinds in use: "carrier" (carrier, carrier's message id, mailbox → message id), "number" (account 0: E.164 → owning
    account), "client" (account 0), "extension-number".
    """

    kind: str
    key: str
    value: int


class Expect(NamedTuple):
    """A row that the unit changes, and the version it saw.

    `table` is "message", "subscription", "work" …, `key` the primary key after account_id, `version` its modified_seq
    (message, subscription), epoch (work, positions, WebSocket sessions), ended (tokens, OAuth sessions), next_id or
    doomed; 0 where the table has none of these and the row need only exist. ABSENT: it must not exist.
    """

    table: str
    key: tuple[int | str, ...]
    version: int


class Draft(NamedTuple):
    """An entry without its seq and commit time, as domain.entry's constructors take the rest.

    The writer appends them in order as `kind(account_id, seq, at_ms, *fields)`.
    """

    kind: type[Entry]
    fields: tuple[object, ...]


class WorkDue(NamedTuple):
    """A work row that the unit wrote: wakes its worker after the commit."""

    kind: str
    work_id: int
    due_ms: int


@dataclass(slots=True)
class Unit:
    """One write to one account. A unit without drafts takes no seq and appends nothing to the log.

    `blobs` are the keys of blob rows that its attachments refer to; a doomed or absent one gives the unit back (Stale).
    """

    account_id: AccountId
    writes: list[Write] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    expects: list[Expect] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    work: list[WorkDue] = field(default_factory=list)

    def add(self, statement: Statement, row: Row, seq_columns: tuple[int, ...] = ()) -> None:
        """Add one row, joining the write of the same statement and seq columns if there is one."""
        for write in self.writes:
            if write.statement is statement and write.seq_columns == seq_columns:
                write.rows.append(row)
                return
        self.writes.append(Write(statement, [row], seq_columns))


class Applied(NamedTuple):
    """The unit is durable. `first_seq` is its first entry's (0 without entries), `at_ms` the commit time."""

    first_seq: Seq
    last_seq: Seq
    at_ms: int


class AlreadyClaimed(Exception):
    """Nothing was written: some claims were taken before. `earlier` maps (kind, key) to the value then given."""

    def __init__(self, earlier: dict[tuple[str, str], int]) -> None:
        super().__init__("already claimed")
        self.earlier = earlier


class Committed(NamedTuple):
    """What the writer tells after each commit, on the event loop: each account's entries in seq order, and work due."""

    entries: dict[AccountId, list[Entry]]
    work: Sequence[tuple[AccountId, WorkDue]]


class CommitListener(Protocol):
    """Whoever hears of commits (the tail). Called on the event loop, in commit order; must not block or raise."""

    def committed(self, commit: Committed) -> None:
        """Take note of what is now durable."""
        ...


class Applies(Protocol):
    """The writer as use cases see it."""

    async def apply(self, unit: Unit) -> Applied:
        """Make `unit` durable and return where it stands in the log.

        Raises AlreadyClaimed, Stale (a row or blob changed since it was read: validate again), Overloaded,
        StoreUnavailable, OutcomeUnknown.
        """
        ...
