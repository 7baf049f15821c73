from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import inspect

from tests.storing import open_test_store
from tocsin.storage import migrate
from tocsin.storage.migrate import HEAD, MIGRATIONS, SchemaTooNew, ensure_schema
from tocsin.storage.schema import metadata
from tocsin.storage.sqlite import SqliteDriver


def described(driver: SqliteDriver) -> dict[str, object]:
    """Tables, columns, keys and indexes, as the database tells of them."""
    engine = driver.engine()
    try:
        found = inspect(engine)
        return {
            name: (
                [(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(name)],
                found.get_pk_constraint(name)["constrained_columns"],
                sorted(
                    (str(one["name"]), one["column_names"], one["unique"], _texts(one.get("dialect_options", {})))
                    for one in found.get_indexes(name)
                ),
            )
            for name in found.get_table_names()
        }
    finally:
        engine.dispose()


def _texts(options: Mapping[str, object]) -> list[str]:
    return sorted(f"{name} {value}" for name, value in options.items())


def revision(driver: SqliteDriver) -> str:
    connection = driver.open_reader()
    cursor = connection.cursor()
    cursor.execute("SELECT version_num FROM alembic_version")
    found: str = cursor.fetchone()[0]
    connection.close()
    return found


def test_a_migrated_database_equals_a_fresh_one(tmp_path: Path) -> None:
    fresh, migrated = SqliteDriver(tmp_path / "fresh.db"), SqliteDriver(tmp_path / "migrated.db")
    ensure_schema(fresh)
    migrate.migrate(migrated)
    assert described(migrated) == described(fresh)
    assert set(described(fresh)) == {*metadata.tables, "alembic_version"}
    assert revision(fresh) == revision(migrated) == HEAD


def test_the_newest_migration_is_the_head(tmp_path: Path) -> None:
    numbers = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert numbers[-1] == HEAD


def test_every_primary_key_begins_with_the_account() -> None:
    assert {next(iter(table.primary_key.columns)).name for table in metadata.sorted_tables} == {"account_id"}


def test_an_older_database_is_migrated_and_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SqliteDriver(tmp_path / "old.db")
    connection = driver.open_writer()
    connection.cursor().execute("CREATE TABLE of_before (n)")
    connection.cursor().execute("INSERT INTO of_before VALUES (5)")
    connection.close()
    ensure_schema(driver)
    assert revision(driver) == HEAD
    connection = driver.open_reader()
    cursor = connection.cursor()
    cursor.execute("SELECT n FROM of_before")
    assert cursor.fetchall() == [(5,)]
    connection.close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SqliteDriver(tmp_path / "new.db")
    with monkeypatch.context() as newer:
        newer.setattr(migrate, "HEAD", "0999")
        ensure_schema(driver)
    with pytest.raises(SchemaTooNew, match="0999"):
        ensure_schema(driver)
    assert revision(driver) == "0999"


@pytest.mark.anyio
async def test_a_failed_opening_releases_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(migrate, "HEAD", "0999")
        async with open_test_store(tmp_path):
            pass
    for _ in range(2):
        with pytest.raises(SchemaTooNew):
            async with open_test_store(tmp_path):
                pass


def test_alembic_is_not_imported_where_it_has_nothing_to_do(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from tocsin.storage.migrate import ensure_schema\n"
        "from tocsin.storage.sqlite import SqliteDriver\n"
        f"driver = SqliteDriver(pathlib.Path({str(tmp_path / 'x.db')!r}))\n"
        "ensure_schema(driver); ensure_schema(driver)\n"
        "print(any(name.split('.')[0] == 'alembic' for name in sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
