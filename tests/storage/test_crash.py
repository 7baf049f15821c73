from __future__ import annotations

import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.storage.writing import ACCOUNT, OTHER, fetch_log, fetch_rows
from tests.storing import open_test_store

CRASHES = 5


def run_and_kill(folder: Path, lines: int) -> list[list[str]]:
    """Write to `folder` from a process that is killed after `lines` acknowledgements; return all it acknowledged."""
    command = [sys.executable, "-m", "tests.storage.load", str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.read().splitlines(keepends=True)
    return [line.decode().split() for line in said if line.endswith(b"\n")]


@pytest.mark.crash
@pytest.mark.anyio
async def test_what_was_acknowledged_survives_being_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: list[list[str]] = []
    for _ in range(CRASHES):
        acknowledged += run_and_kill(tmp_path, chance.randrange(1, 1_500))
        async with open_test_store(tmp_path) as store:
            counters = {row[0]: row[1] for row in await fetch_rows(store, "counter")}
            works = {(row[0], row[1]) for row in await fetch_rows(store, "work")}
            subjects = {}
            for account_id in (ACCOUNT, OTHER):
                log = await fetch_log(store, account_id)
                assert [seq for seq, _ in log] == list(range(1, counters.get(account_id, 0) + 1))
                subjects[account_id] = [subject for _, subject in log]
                written = [work_id for account, work_id in works if account == account_id]
                assert len(log) == 2 * len(written)
            for kind, *values in acknowledged:
                if kind == "unit":
                    account, work_id, seq = (int(value) for value in values)
                    assert (account, work_id) in works
                    log_of = subjects[ACCOUNT if account == ACCOUNT else OTHER]
                    assert log_of[seq - 1 : seq + 1] == [f"{work_id}/a", f"{work_id}/b"]
                else:
                    content = b"".join([chunk async for chunk in store.blobs.open(ACCOUNT, values[0])])
                    assert values[0] == f"{sha256(content).hexdigest()}.1"
    assert len([line for line in acknowledged if line[0] == "unit"]) > 100
