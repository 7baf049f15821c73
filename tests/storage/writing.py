"""Small units for the tests of storage: they write attempts, work rows and entries that any account may have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, text, update

from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import metadata, work
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.store import Store
from tocsin.storage.unit import Draft, Unit

ACCOUNT = AccountId(400_000_001)
OTHER = AccountId(400_000_002)

INSERT_WORK = insert_into(work)
UPDATE_EPOCH = Statement(
    "update_epoch",
    update(work)
    .where(work.c.account_id == bindparam("of_account"), work.c.work_id == bindparam("of_work"))
    .values(epoch=bindparam("to_epoch")),
    ("of_account", "of_work", "to_epoch"),
)


def noted(account_id: AccountId, *subjects: str) -> Unit:
    """A unit that appends one entry for each of `subjects`."""
    return Unit(account_id, drafts=[Draft(SubscriptionChange, (SubscriptionId(one),)) for one in subjects])


def work_row(account_id: AccountId, work_id: int, epoch: int = 0) -> Row:
    return (account_id, work_id, "test", "", "", 0, 0, "", epoch, b"")


def with_work(account_id: AccountId, work_id: int, *subjects: str) -> Unit:
    """A unit that writes a work row, which may exist once, and appends `subjects`."""
    unit = noted(account_id, *subjects)
    unit.add(INSERT_WORK, work_row(account_id, work_id))
    return unit


async def fetch_rows(store: Store, name: str) -> list[Row]:
    """Return every row of a table, by primary key."""
    table = metadata.tables[name]

    def fetch(conn: ReadConnection) -> list[Row]:
        return conn.select(table.select().order_by(*table.primary_key.columns))

    return await store.readers.run(fetch)


async def fetch_log(store: Store, account_id: AccountId) -> list[tuple[int, Any]]:
    """Return (seq, subject) of every entry of an account."""
    rows = await fetch_rows(store, "log_entry")
    return [(row[1], row[9]) for row in rows if row[0] == account_id]


async def limit_pages(store: Store, pages: int) -> None:
    """Make the writer's SQLite believe that its disk holds `pages` pages."""
    unit = Unit(ACCOUNT)
    unit.add(Statement("limit_pages", text(f"PRAGMA max_page_count = {pages}"), ()), ())  # type: ignore[arg-type]
    await store.writer.apply(unit)
