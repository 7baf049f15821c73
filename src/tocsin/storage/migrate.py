"""Bring a database's tables to the newest revision. Alembic is imported only where it has something to do.

An empty database gets all tables at once and is stamped; the migrations make the same schema, which a test compares.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.schema import CreateIndex, CreateTable

from tocsin.storage.connection import Connection, Driver
from tocsin.storage.schema import metadata

HEAD = "0001"
"""The newest revision in migrations/versions; a test holds the two together."""

MIGRATIONS = Path(__file__).parent / "migrations"

# Alembic's own table, as it makes it.
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


class SchemaTooNew(Exception):
    """A newer version of Tocsin has written this database."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the database has schema {found}, and this version of Tocsin knows {HEAD} at most: install a newer one"
        )


def ensure_schema(driver: Driver) -> None:
    """Make the tables of `driver`'s database, or migrate them, so that they are those of `schema`.

    Raises SchemaTooNew, and then nothing was changed. The caller sees to it that one process at a time does this.
    """
    connection = driver.open_writer()
    try:
        found = _fetch_revision(connection, driver)
        if found is None:
            _create_tables(connection, driver)
            return
    finally:
        connection.close()
    if found > HEAD:
        raise SchemaTooNew(found)
    if found < HEAD:
        migrate(driver)


def migrate(driver: Driver) -> None:
    """Run the migrations that the database lacks, in one transaction where it knows such for tables."""
    from alembic.command import upgrade
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = driver.engine()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            upgrade(config, "head")
    finally:
        engine.dispose()


def _fetch_revision(connection: Connection, driver: Driver) -> str | None:
    """Return the revision of the tables; None for an empty database, and "" for tables of before the first."""
    names = driver.table_names(connection)
    if _VERSION.name not in names:
        return "" if names else None
    cursor = connection.cursor()
    cursor.execute(str(select(_VERSION.c.version_num).compile(dialect=driver.dialect)))
    row = cursor.fetchone()
    return str(row[0]) if row else ""


def _create_tables(connection: Connection, driver: Driver) -> None:
    """Create every table and index, and stamp HEAD, in one transaction."""
    cursor = connection.cursor()
    cursor.execute(driver.begin_write)
    for table in (*metadata.sorted_tables, _VERSION):
        cursor.execute(str(CreateTable(table).compile(dialect=driver.dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            cursor.execute(str(CreateIndex(index).compile(dialect=driver.dialect)))
    cursor.execute(str(insert(_VERSION).compile(dialect=driver.dialect)), (HEAD,))
    cursor.execute("COMMIT")
