"""Work rows: written in the transaction that causes the work; claimed, postponed, finished by units that check epochs.

Statements and their rows only; who runs what is in log/work.py and its handlers.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, func, literal_column, select, update

from tocsin.domain.ids import AccountId, WorkId
from tocsin.domain.work import WorkRow
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import work as work_table
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.unit import Expect, Unit, WorkDue

SWEPT_ROWS = 1000
"""Rows that one sweep brings in; those behind them come with the next, when these are done."""

_KEY = (
    work_table.c.account_id == bindparam("key_account_id"),
    work_table.c.work_id == bindparam("key_work_id"),
)

INSERT_WORK = insert_into(work_table, order=30)

CLAIM_WORK = Statement(
    "claim_work",
    update(work_table).where(*_KEY).values(owner=bindparam("owner"), epoch=bindparam("epoch")),
    ("key_account_id", "key_work_id", "owner", "epoch"),
)

POSTPONE_WORK = Statement(
    "postpone_work",
    update(work_table)
    .where(*_KEY)
    .values(
        stage=bindparam("stage"),
        due_ms=bindparam("due_ms"),
        attempts=bindparam("attempts"),
        payload=bindparam("payload"),
        owner=bindparam("owner"),
    ),
    ("key_account_id", "key_work_id", "stage", "due_ms", "attempts", "payload", "owner"),
)

FINISH_WORK = Statement("finish_work", delete(work_table).where(*_KEY), ("key_account_id", "key_work_id"))

_FETCH_WORK = Statement("fetch_work", select(work_table).where(*_KEY), ("key_account_id", "key_work_id"))

_FETCH_DUE = Statement(
    "fetch_due_work",
    select(work_table.c.account_id, work_table.c.work_id, work_table.c.kind, work_table.c.due_ms)
    .where(work_table.c.due_ms <= bindparam("until_ms"))
    .order_by(work_table.c.due_ms)
    .limit(literal_column(str(SWEPT_ROWS))),
    ("until_ms",),
)

_FETCH_LATER = Statement(
    "fetch_later_work",
    select(func.min(work_table.c.due_ms)).where(work_table.c.due_ms > bindparam("after_ms")),
    ("after_ms",),
)


def insert_work(unit: Unit, row: WorkRow) -> None:
    """Add a new work row to `unit`, and the word that wakes its worker after the commit."""
    unit.add(
        INSERT_WORK,
        (
            row.account_id,
            row.work_id,
            row.kind,
            row.target,
            row.stage,
            row.due_ms,
            row.attempts,
            "",
            row.epoch,
            row.payload,
        ),
    )
    unit.work.append(WorkDue(row.kind, row.work_id, row.due_ms))


def claim(unit: Unit, row: WorkRow, owner: str) -> None:
    """Make `unit` take `row` for `owner` under the next epoch; Stale if anyone took it since it was read."""
    _expect(unit, row)
    unit.add(CLAIM_WORK, (row.account_id, row.work_id, owner, row.epoch + 1))


def hold(unit: Unit, row: WorkRow, owner: str) -> None:
    """Make `unit` store the row's stage, attempts and payload as they are now while its holder goes on with it."""
    _expect(unit, row)
    unit.add(POSTPONE_WORK, (*_key(row), row.stage, row.due_ms, row.attempts, row.payload, owner))


def postpone(unit: Unit, row: WorkRow) -> None:
    """Make `unit` store the row as it is now and give it back, to be run at its `due_ms`."""
    _expect(unit, row)
    unit.add(POSTPONE_WORK, (*_key(row), row.stage, row.due_ms, row.attempts, row.payload, ""))
    unit.work.append(WorkDue(row.kind, row.work_id, row.due_ms))


def finish(unit: Unit, row: WorkRow) -> None:
    """Make `unit` remove the row: its work is done."""
    _expect(unit, row)
    unit.add(FINISH_WORK, _key(row))


def fetch_work(conn: ReadConnection, keys: Sequence[tuple[AccountId, WorkId]]) -> list[WorkRow]:
    """Return those of the rows that exist."""
    found = (conn.one(_FETCH_WORK, key) for key in keys)
    return [_work_row(row) for row in found if row is not None]


def fetch_due(conn: ReadConnection, until_ms: int) -> tuple[list[tuple[AccountId, WorkDue]], int | None]:
    """Return the earliest rows due until then, SWEPT_ROWS at most, and when the first one after that time is due."""
    due = [(AccountId(row[0]), WorkDue(row[2], row[1], row[3])) for row in conn.all(_FETCH_DUE, (until_ms,))]
    later = conn.one(_FETCH_LATER, (until_ms,))
    return due, None if later is None else later[0]


def _expect(unit: Unit, row: WorkRow) -> None:
    unit.expects.append(Expect("work", (row.work_id,), row.epoch))


def _key(row: WorkRow) -> Row:
    return (row.account_id, row.work_id)


def _work_row(row: Row) -> WorkRow:
    return WorkRow(
        account_id=AccountId(row[0]),
        work_id=WorkId(row[1]),
        kind=row[2],
        target=row[3],
        stage=row[4],
        due_ms=row[5],
        attempts=row[6],
        epoch=row[8],
        payload=row[9],
    )
