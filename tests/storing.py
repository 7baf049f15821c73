"""Open a real store in a test: an async context manager for fixtures of any room."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.clocks import ManualClock
from tocsin.domain.clock import Clock
from tocsin.storage.store import Store, open_store
from tocsin.storage.unit import CommitListener, Committed


class RecordingListener:
    """A commit listener that keeps all it heard, in order."""

    def __init__(self) -> None:
        self.commits: list[Committed] = []

    def committed(self, commit: Committed) -> None:
        self.commits.append(commit)


@asynccontextmanager
async def open_test_store(
    folder: Path,
    listener: CommitListener | None = None,
    clock: Clock | None = None,
    on_group: Callable[[int, float], None] | None = None,
) -> AsyncGenerator[Store]:
    """Open a store in `folder` and close it at the end; clock and listener are made where none is given."""
    store = await open_store(
        folder, clock=clock or ManualClock(), listener=listener or RecordingListener(), on_group=on_group
    )
    try:
        yield store
    finally:
        await store.close()
