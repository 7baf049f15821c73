"""What storage asks of a database: a few Protocols that SQLite answers and PostgreSQL can.

Statements run on the driver's own cursor, past SQLAlchemy, which only compiles them. Every difference between the
databases that is not in SQLAlchemy's dialect is a member of `Driver`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import Dialect

from tocsin.storage.statement import Prepared, Row


class Cursor(Protocol):
    """A driver's cursor, as far as storage uses it."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> object:
        """Run one statement."""
        ...

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]], /) -> object:
        """Run one statement for each row."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left, as tuples."""
        ...

    def fetchone(self) -> Any:
        """Return the next row as a tuple, or None."""
        ...


class Connection(Protocol):
    """A driver's connection; transactions are begun and ended by statements, never by the driver itself."""

    def cursor(self) -> Cursor:
        """Return a new cursor."""
        ...

    def close(self) -> None:
        """Close the connection, rolling back what is open."""
        ...


class Driver(Protocol):
    """One database and how to reach it. Connections are used in the thread that opened them."""

    dialect: Dialect
    begin_write: str
    """Begins a transaction that writes: its first read already sees what no other writer can change."""
    begin_read: str
    """Begins a transaction that sees one snapshot."""

    def open_writer(self) -> Connection:
        """Open a connection for the writer thread."""
        ...

    def open_reader(self) -> Connection:
        """Open a connection that can only read."""
        ...

    def engine(self) -> Engine:
        """Return a SQLAlchemy engine of the same database: for migrations, which need one."""
        ...

    def core(self, connection: Connection) -> CoreConnection:
        """Return a SQLAlchemy connection over `connection`, for composed queries: it keeps what it has compiled.

        It neither begins nor ends transactions of `connection`. Close it before that one.
        """
        ...

    def table_names(self, connection: Connection) -> set[str]:
        """Return the tables that there are."""
        ...

    def write_rows(self, cursor: Cursor, prepared: Prepared, rows: Sequence[Row]) -> None:
        """Run a prepared statement once for each of `rows`, in as few steps as this database can."""
        ...

    def in_transaction(self, connection: Connection) -> bool:
        """Whether a transaction is open: some errors end it by themselves."""
        ...

    def limit(self, connection: Connection, until: float | None) -> None:
        """Interrupt statements of `connection` that still run at monotonic time `until`; None lifts the limit."""
        ...

    def is_unavailable(self, error: Exception) -> bool:
        """Whether `error` says that the database can't take writes now, whatever the statement."""
        ...

    def is_interrupt(self, error: Exception) -> bool:
        """Whether `error` is `limit` at work."""
        ...
