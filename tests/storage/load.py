"""A process that writes to a store until it is killed, and prints each unit and blob once it is acknowledged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.storage.writing import ACCOUNT, OTHER, with_work
from tests.storing import RecordingListener
from tocsin.domain.clock import SystemClock
from tocsin.storage.store import Store, open_store

WRITERS = 24


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def write(store: Store, number: int) -> None:
    account_id = OTHER if number % 4 else ACCOUNT
    while True:
        work_id = await store.ids.take("work")
        unit = with_work(account_id, work_id, f"{work_id}/a", f"{work_id}/b")
        applied = await store.writer.apply(unit)
        say(f"unit {account_id} {work_id} {applied.first_seq}")


async def put(store: Store) -> None:
    while True:
        content = os.urandom(20_000)
        ref = await store.blobs.put(ACCOUNT, content)
        say(f"blob {ref.key}")


async def main(folder: Path) -> None:
    store = await open_store(folder, clock=SystemClock(), listener=RecordingListener())
    await asyncio.gather(*(write(store, number) for number in range(WRITERS)), put(store))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
