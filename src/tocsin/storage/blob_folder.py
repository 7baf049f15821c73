"""Files that hold blobs, each durable before its name exists: temporary file, fsync, rename, fsync of the directories.

Blocking: called in threads. Knows no rows; who may delete a file is decided in blobs.py.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from tocsin.domain.ids import AccountId


class UnnamedBlob:
    """Bytes that were begun and have no name yet. `digest` and `size` are of what was written so far."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder)
        self._path = Path(name)
        self._file: IO[bytes] = os.fdopen(handle, "wb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex."""
        return self._hash.hexdigest()

    def write(self, chunks: Iterable[bytes]) -> None:
        """Append `chunks`."""
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            self._hash.update(chunk)
            self.size += len(chunk)

    def move_to(self, path: Path) -> None:
        """Make the content durable, and then its name."""
        _sync(self._file.fileno())
        self._file.close()
        _make_folder(path.parent)
        self._path.replace(path)
        _sync_folder(path.parent)

    def discard(self) -> None:
        """Remove what has got no name; does nothing after `move_to`."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class BlobFolder:
    """A folder of blobs: account / first two digits of the key / key."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unnamed = root / "unnamed"

    def prepare(self) -> None:
        """Make the folder, and remove what a crash left without a name."""
        _make_folder(self._unnamed)
        for left in self._unnamed.iterdir():
            left.unlink()

    def begin(self) -> UnnamedBlob:
        """Begin a blob."""
        return UnnamedBlob(self._unnamed)

    def path(self, account_id: AccountId, key: str) -> Path:
        """Return where the bytes of `key` are, or will be."""
        return self._root / str(account_id) / key[:2] / key

    def delete(self, account_id: AccountId, key: str) -> None:
        """Remove the bytes of `key`, durably; nothing happens where there are none."""
        path = self.path(account_id, key)
        if path.exists():
            path.unlink()
            _sync_folder(path.parent)

    def groups(self) -> list[tuple[AccountId, Path]]:
        """Return the folders that hold named blobs, each with its account."""
        accounts = [one for one in self._root.iterdir() if one.is_dir() and one != self._unnamed]
        return [(AccountId(int(account.name)), group) for account in accounts for group in account.iterdir()]

    def old_keys(self, group: Path, older_than_s: float) -> list[str]:
        """Return the keys in one of `groups` whose bytes were written longer ago than that."""
        return [one.name for one in group.iterdir() if _age_s(one) > older_than_s]

    def delete_old(self, account_id: AccountId, key: str, older_than_s: float) -> bool:
        """Remove the bytes of `key`, durably, if they were written longer ago than that; say whether they were."""
        path = self.path(account_id, key)
        old = path.exists() and _age_s(path) > older_than_s
        if old:
            self.delete(account_id, key)
        return old


def _age_s(path: Path) -> float:
    # By the clock that has stamped it: the sandbox's wall time may be far ahead of that.
    return time.time() - path.stat().st_mtime


def _make_folder(path: Path) -> None:
    """Make `path` and its parents, each one's name durable."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    if sys.platform == "win32":
        return  # a directory can't be opened there, and NTFS logs its changes itself
    handle = os.open(path, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        # fsync there leaves the bytes in the drive's own cache.
        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle)
