"""Background tasks that nobody awaits, kept alive, ended together, their failures logged once and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """A group in which one failing task does not end the others (asyncio.TaskGroup's does)."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` in the background."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("task.failed", task=task.get_name(), exc_info=failure)

    async def settle(self, within_s: float) -> bool:
        """Wait until nothing runs any more, what the running tasks start included; False when time ran out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while self._running and loop.time() < deadline:
            await asyncio.wait(self._running, timeout=deadline - loop.time())
        return not self._running

    async def close(self, grace_s: float = 0.0) -> None:
        """Wait up to `grace_s` for what runs, then cancel the rest."""
        await self.settle(grace_s)
        while self._running:
            for task in list(self._running):
                task.cancel()
            await asyncio.wait(self._running)
