"""How SQLite is opened: which library, which settings, and whether its checkpoints are safe.

pysqlite3 brings a current SQLite and is used where it is installed; never two SQLite libraries in one process on one
file. No connection but the checkpointer's ever checkpoints. Holds no statements.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import Engine, NullPool, StaticPool, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.interfaces import Dialect

from tocsin.storage.connection import Connection, Cursor
from tocsin.storage.statement import Prepared, Row

BUSY_TIMEOUT_MS = 5_000
STATEMENT_CACHE = 512
ROWS_PER_INSERT = (32, 4)
"""Rows in one insert, tried in this order; what is left goes singly."""
PROGRESS_STEPS = 20_000
"""Virtual-machine steps between two looks at the clock: well under a millisecond."""

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: past the drive's own cache
    "wal_autocheckpoint = 0",
    "temp_store = MEMORY",
)
_UNAVAILABLE = frozenset({5, 6, 7, 8, 10, 11, 13, 14, 15, 26})
"""Primary result codes BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB."""
_INTERRUPT = 9


def load_module() -> ModuleType:
    """Return the SQLite driver to use: pysqlite3 where it is installed, else the standard library's."""
    try:
        import pysqlite3
    except ImportError:
        import sqlite3

        return sqlite3
    return cast(ModuleType, pysqlite3)


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether a checkpoint that meets a commit can lose the commit in this SQLite.

    Source: sqlite.org/wal.html, "the WAL-reset bug": fixed in 3.51.3, and in 3.50.7 and 3.44.6.
    """
    if version[:2] == (3, 50):
        return version < (3, 50, 7)
    if version[:2] == (3, 44):
        return version < (3, 44, 6)
    return version < (3, 51, 3)


@dataclass(frozen=True, slots=True)
class SqliteLibrary:
    """The library in use, for the start-up log."""

    module: str
    version: str
    checkpoints_need_lock: bool


class SqliteDriver:
    """Opens connections to one SQLite file. Answers `connection.Driver`."""

    begin_write = "BEGIN IMMEDIATE"
    begin_read = "BEGIN"

    def __init__(self, path: Path, module: ModuleType | None = None) -> None:
        self.path = path
        self.module = module or load_module()
        self.dialect: Dialect = SQLiteDialect(paramstyle="qmark")
        version: str = self.module.sqlite_version
        major, minor, patch = (int(part) for part in version.split("."))
        self.library = SqliteLibrary(self.module.__name__, version, has_wal_reset_bug((major, minor, patch)))

    def open_writer(self) -> Connection:
        """See `Driver`."""
        return self._open(BUSY_TIMEOUT_MS)

    def open_reader(self) -> Connection:
        """See `Driver`."""
        connection = self._open(BUSY_TIMEOUT_MS)
        connection.cursor().execute("PRAGMA query_only = ON")
        return connection

    def open_checkpointer(self, busy_timeout_ms: int) -> Connection:
        """Open a connection for the checkpoint thread, which waits `busy_timeout_ms` for readers."""
        return self._open(busy_timeout_ms)

    def engine(self) -> Engine:
        """See `Driver`."""
        engine = create_engine(
            "sqlite://", module=self.module, creator=lambda: self._open(BUSY_TIMEOUT_MS), poolclass=NullPool
        )
        # The driver begins nothing by itself, so that tables too are changed in a transaction.
        event.listen(engine, "begin", lambda begun: begun.exec_driver_sql(self.begin_write))
        return engine

    def core(self, connection: Connection) -> CoreConnection:
        """See `Driver`."""
        engine = create_engine(
            "sqlite://",
            module=self.module,
            creator=lambda: connection,
            poolclass=StaticPool,
            pool_reset_on_return=None,
        )
        return engine.connect()

    def table_names(self, connection: Connection) -> set[str]:
        """See `Driver`."""
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {row[0] for row in cursor.fetchall()}

    def write_rows(self, cursor: Cursor, prepared: Prepared, rows: Sequence[Row]) -> None:
        """See `Driver`. Inserts go several rows a statement.

        The driver lets go of the interpreter's lock at each step and has to win it back from the event loop, so that
        executemany, a step a row, costs a third more by itself and far more beside a busy loop.
        """
        left = prepared.arrange(rows)
        for size in ROWS_PER_INSERT if prepared.values else ():
            if len(left) < size:
                continue
            sql = prepared.sql + f", {prepared.values}" * (size - 1)
            whole = len(left) - len(left) % size
            for start in range(0, whole, size):
                cursor.execute(sql, list(chain.from_iterable(left[start : start + size])))
            left = left[whole:]
        if len(left) == 1:
            cursor.execute(prepared.sql, left[0])
        elif left:
            cursor.executemany(prepared.sql, left)

    def in_transaction(self, connection: Connection) -> bool:
        """See `Driver`."""
        return bool(cast(Any, connection).in_transaction)

    def limit(self, connection: Connection, until: float | None) -> None:
        """See `Driver`."""
        if until is None:
            cast(Any, connection).set_progress_handler(None, 0)
        else:
            cast(Any, connection).set_progress_handler(lambda: time.monotonic() > until, PROGRESS_STEPS)

    def is_unavailable(self, error: Exception) -> bool:
        """See `Driver`."""
        return _primary_code(error) in _UNAVAILABLE

    def is_interrupt(self, error: Exception) -> bool:
        """See `Driver`."""
        return _primary_code(error) == _INTERRUPT

    def _open(self, busy_timeout_ms: int) -> Connection:
        connection = self.module.connect(
            str(self.path),
            timeout=busy_timeout_ms / 1000,
            isolation_level=None,  # we begin and end transactions ourselves
            cached_statements=STATEMENT_CACHE,
        )
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        return cast(Connection, connection)


def _primary_code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
