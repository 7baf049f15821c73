from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storing import open_test_store
from tocsin.storage.lock import FolderLock, StoreInUse

HOLD = (
    "import sys, pathlib\n"
    "from tocsin.storage.lock import FolderLock\n"
    "lock = FolderLock(pathlib.Path(sys.argv[1]))\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreInUse, match=f"process {holder.pid}: stop that process"):
            FolderLock(tmp_path)
        holder.kill()
        holder.wait()
        FolderLock(tmp_path).release()


@pytest.mark.anyio
async def test_an_open_store_holds_its_folder_until_it_is_closed(tmp_path: Path) -> None:
    async with open_test_store(tmp_path):
        with pytest.raises(StoreInUse, match=f"process {os.getpid()}"):
            FolderLock(tmp_path)
    FolderLock(tmp_path).release()
