"""What makes wall time matter: runs what is due, and steps a jumping clock through its due times in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tocsin.domain.clock import DueSource, SystemClock
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

LOOK_EVERY_S = 0.5
"""How late something may be that nobody was woken for."""


class Clockwork:
    """Looks after every due source. `advance` and the running loop never work on the sources at the same time."""

    def __init__(self, clock: SystemClock, sources: Sequence[DueSource]) -> None:
        self._clock = clock
        self._sources = sources
        self._turn = asyncio.Lock()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Run what is due until stopped."""
        while not self._stopped.is_set():
            async with self._turn:
                for source in self._sources:
                    due = source.next_due_ms()
                    if due is not None and due <= self._clock.now_ms():
                        await self._run_due(source)
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    async def _run_due(self, source: DueSource) -> None:
        try:
            await source.run_due()
        except Exception:
            log.exception("clockwork.due_failed", source=type(source).__name__)

    async def advance(self, seconds: float) -> int:
        """Move wall time forward, stopping at each due time for its work to end; return the new time in ms."""
        async with self._turn:
            target = self._clock.now_ms() + round(seconds * 1000)
            done_at: dict[DueSource, int] = {}
            while (earliest := self._earliest(target, done_at)) is not None:
                source, due = earliest
                self._clock.jump_to(due)
                await self._run_due(source)
                done_at[source] = due
            self._clock.jump_to(target)
            return self._clock.now_ms()

    def _earliest(self, target: int, done_at: dict[DueSource, int]) -> tuple[DueSource, int] | None:
        """The source due first, no later than `target`; one that did not move on after its turn is passed over."""
        due = [
            (at, number, source)
            for number, source in enumerate(self._sources)
            if (at := source.next_due_ms()) is not None and at <= target and done_at.get(source) != at
        ]
        if not due:
            return None
        at, _, source = min(due, key=lambda one: one[:2])
        return source, at

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped.set()
