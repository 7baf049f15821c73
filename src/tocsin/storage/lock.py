"""A folder's lock: one process at a time opens a store, and a second is told which one has it.

The operating system holds the lock and releases it with the process, however that ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

LOCK_FILE = "tocsin.lock"


class StoreInUse(Exception):
    """Another process has this folder open."""

    def __init__(self, folder: Path, pid: str) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{folder} is in use by {holder}: stop that process, or choose another folder. "
            f"Two processes on one SQLite store would not hear of each other's changes."
        )


class FolderLock:
    """Holds `folder` from construction until `release`. Raises StoreInUse."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] = (folder / LOCK_FILE).open("a+", encoding="ascii")
        try:
            _lock(self._file)
        except OSError:
            self._file.seek(0)
            pid = self._file.read(32).strip()
            self._file.close()
            raise StoreInUse(folder, pid) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let others have the folder. The file stays: removing it would let two processes hold two locks."""
        self._file.truncate(0)
        self._file.close()


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Locked bytes can't be read by others there, so the lock lies far behind the pid.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
