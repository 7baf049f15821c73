"""Readings that wait their turn: few run at once, first come first served, and a failed one is tried again.

What keeps a crowd of lagging readers from crowding out everyone else. Knows nothing of what is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

RETRY_S = 1.0

Job = Callable[[], Awaitable[None]]


class Cancellable(Protocol):
    """A timer that has been set."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


SetTimer = Callable[[float, Callable[[], None]], Cancellable]
"""Calls back on the loop after so many seconds: the loop's own `call_later`, except in tests."""


class Turns:
    """A queue of jobs and the few workers that serve it.

    The queue has no bound of its own: whoever asks keeps at most one job waiting per account, lane or subscription.
    """

    def __init__(self, name: str, workers: int, set_timer: SetTimer) -> None:
        self._name = name
        self._workers = workers
        self._set_timer = set_timer
        self._jobs: deque[Job] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._closed = False

    def ask(self, job: Job) -> None:
        """Run `job` when its turn comes; if it raises, once more after a second, until it succeeds."""
        self._jobs.append(job)
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                break

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._serve(), name=f"{self._name}-{number}")

    def close(self) -> None:
        """Forget what waits and take no more retries; what runs may end."""
        self._closed = True
        self._jobs.clear()

    async def _serve(self) -> None:
        while True:
            while not self._jobs:
                waiter = asyncio.get_running_loop().create_future()
                self._idle.append(waiter)
                await waiter
            job = self._jobs.popleft()
            try:
                await job()
            except Exception:
                log.exception("turns.job_failed", turns=self._name)
                self._set_timer(RETRY_S, partial(self._again, job))

    def _again(self, job: Job) -> None:
        if not self._closed:
            self.ask(job)
