"""Bring a database's tables to the newest revision. Alembic is imported only where it has something to do.

An empty database gets all tables at once and is stamped; the migrations make the same schema, which a test compares.
"""

from __future__ import annotations

from sqlalchemy.schema import CreateIndex, CreateTable

from tocsin.storage.connection import Connection, Driver
from tocsin.storage.schema import metadata

HEAD = "0001"
"""The newest revision in migrations/versions; a test holds the two together."""


def create_tables(connection: Connection, driver: Driver) -> None:
    """Create every table and index, and stamp HEAD, in one transaction. The database must be empty."""
    cursor = connection.cursor()
    cursor.execute(driver.begin_write)
    for table in metadata.sorted_tables:
        cursor.execute(str(CreateTable(table).compile(dialect=driver.dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            cursor.execute(str(CreateIndex(index).compile(dialect=driver.dialect)))
    cursor.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    cursor.execute(f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD}')")  # noqa: S608 - our own constant
    cursor.execute("COMMIT")
