"""Moves what SQLite's write-ahead log holds into the database file, in a thread of its own. SQLite only.

PASSIVE often, which waits for nobody; TRUNCATE when no commit came for a while; and past a size, writes pause until
the file is truncated. Nobody else checkpoints.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

from tocsin.storage.connection import Connection
from tocsin.storage.sqlite import SqliteDriver

EVERY_S = 0.1
QUIET_ROUNDS = 5
"""Rounds without a commit after which the log file is truncated."""
PAUSE_BYTES = 256 * 1024 * 1024
BUSY_TIMEOUT_MS = 500
"""How long a truncation waits for readers; they hold their snapshots longer than that rarely."""


class Checkpointer:
    """Owns the thread. `pause` stops writes while it is held; `committed` is set by the writer after each commit."""

    def __init__(
        self,
        driver: SqliteDriver,
        *,
        pause: threading.Lock,
        committed: threading.Event,
        pause_bytes: int = PAUSE_BYTES,
    ) -> None:
        self._driver = driver
        self._pause = pause
        self._committed = committed
        self._pause_bytes = pause_bytes
        self._wal = Path(f"{driver.path}-wal")
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="tocsin-checkpoint", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def stop(self) -> None:
        """Truncate the log a last time, if nobody reads, and end the thread. Blocks; call it after the writer's end."""
        self._stopping.set()
        self._committed.set()
        self.thread.join()

    def _run(self) -> None:
        connection = self._driver.open_checkpointer(BUSY_TIMEOUT_MS)
        try:
            while not self._stopping.is_set():
                self._committed.wait()
                self._until_quiet(connection)
            self._checkpoint(connection, "TRUNCATE")
        finally:
            connection.close()

    def _until_quiet(self, connection: Connection) -> None:
        """Checkpoint every EVERY_S until commits stop coming; then truncate and return."""
        quiet = 0
        while not self._stopping.wait(EVERY_S):
            if self._committed.is_set():
                self._committed.clear()
                quiet = 0
                self._checkpoint(connection, "PASSIVE")
                if self._wal_bytes() > self._pause_bytes:
                    with self._pause:
                        self._run_pragma(connection, "TRUNCATE")
                continue
            quiet += 1
            if quiet >= QUIET_ROUNDS and self._checkpoint(connection, "TRUNCATE"):
                return

    def _checkpoint(self, connection: Connection, mode: str) -> bool:
        # The WAL-reset bug: in such a library a checkpoint must never meet a commit.
        with self._pause if self._driver.library.checkpoints_need_lock else nullcontext():
            return self._run_pragma(connection, mode)

    def _run_pragma(self, connection: Connection, mode: str) -> bool:
        """Run one checkpoint and say whether it did all it could have done."""
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA wal_checkpoint({mode})")
        except Exception as error:
            if self._driver.is_unavailable(error):
                return False
            raise
        busy = cursor.fetchone()[0]
        return not busy

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0
