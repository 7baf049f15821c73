from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select

from tests.storage.writing import ACCOUNT, INSERT_WORK, UPDATE_EPOCH, work_row
from tocsin.storage.migrate import ensure_schema
from tocsin.storage.schema import work
from tocsin.storage.sqlite import SqliteDriver, has_wal_reset_bug, load_module
from tocsin.storage.statement import Statement, prepare


@pytest.mark.parametrize(
    "version, has_bug",
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
        ((4, 0, 0), False),
    ],
)
def test_versions_that_can_lose_a_commit_are_known(version: tuple[int, int, int], has_bug: bool) -> None:
    assert has_wal_reset_bug(version) is has_bug


def test_every_connection_is_durable_and_never_checkpoints_by_itself(tmp_path: Path) -> None:
    driver = SqliteDriver(tmp_path / "x.db")
    assert driver.library.version == load_module().sqlite_version
    for connection in (driver.open_writer(), driver.open_reader(), driver.open_checkpointer(1)):
        found = {}
        for pragma in ("journal_mode", "synchronous", "wal_autocheckpoint", "fullfsync"):
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA {pragma}")
            found[pragma] = cursor.fetchone()[0]
        assert found == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "fullfsync": 1}
        connection.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 32, 33, 70, 100])
def test_any_number_of_rows_is_written_whole(tmp_path: Path, count: int) -> None:
    driver = SqliteDriver(tmp_path / "x.db")
    ensure_schema(driver)
    connection = driver.open_writer()
    cursor = connection.cursor()
    driver.write_rows(cursor, prepare(INSERT_WORK, driver.dialect), [work_row(ACCOUNT, n) for n in range(count)])
    updates = [(ACCOUNT, number, number + 1) for number in range(count)]
    driver.write_rows(cursor, prepare(UPDATE_EPOCH, driver.dialect), updates)
    cursor.execute("SELECT work_id, epoch FROM work ORDER BY work_id")
    assert cursor.fetchall() == [(number, number + 1) for number in range(count)]
    connection.close()


def test_errors_of_the_disk_are_told_from_errors_of_the_statement(tmp_path: Path) -> None:
    driver = SqliteDriver(tmp_path / "x.db", sqlite3)
    connection = driver.open_writer()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (n NOT NULL)")
    with pytest.raises(sqlite3.IntegrityError) as broken:
        cursor.execute("INSERT INTO t VALUES (NULL)")
    assert not driver.is_unavailable(broken.value)
    cursor.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.OperationalError, match="full") as full:
        cursor.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert driver.is_unavailable(full.value)
    connection.close()


def test_a_statement_may_hold_constants_and_must_know_its_columns(tmp_path: Path) -> None:
    driver = SqliteDriver(tmp_path / "x.db")
    core = select(work.c.work_id).where(work.c.kind == "x", work.c.work_id == bindparam("of_work")).limit(3)
    prepared = prepare(Statement("one", core, ("of_work",)), driver.dialect)
    [arranged] = prepared.arrange([(7,)])
    assert list(arranged)[:3] == ["x", 7, 3]
    with pytest.raises(ValueError, match="needs of_work"):
        prepare(Statement("two", core, ()), driver.dialect)
    with pytest.raises(ValueError, match="takes no other"):
        prepare(Statement("three", core, ("of_work", "other")), driver.dialect)
