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
    """Looks after due sources. `advance` and the running loop never work on them at the same time.

    `self_driven` sources wait for wall time by themselves while it goes its way; only a jump steps through them too,
    before the others where several are due at once.
    """

    def __init__(self, clock: SystemClock, sources: Sequence[DueSource], self_driven: Sequence[DueSource] = ()) -> None:
        self._clock = clock
        self._sources = sources
        self._stepped = (*self_driven, *sources)
        self._turn = asyncio.Lock()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Run what is due until stopped."""
        while not self._stopped.is_set():
            async with self._turn:
                for source in self._sources:
                    await self._look(source)
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    async def _look(self, source: DueSource) -> None:
        due = source.next_due_ms()
        if due is not None and due <= self._clock.now_ms():
            await self._run_due(source)

    async def _run_due(self, source: DueSource) -> None:
        try:
            await source.run_due()
        except Exception:  # it is due still and is tried again; the others must not wait for it
            log.exception("clockwork.due_failed", source=type(source).__name__)

    async def advance(self, seconds: float) -> int:
        """Move wall time forward, stopping at each due time for its work to end; return the new time in ms."""
        async with self._turn:
            target = self._clock.now_ms() + round(seconds * 1000)
            stuck: dict[DueSource, int] = {}
            while (earliest := self._earliest(target, stuck)) is not None:
                source, due = earliest
                self._clock.jump_to(due)
                await self._run_due(source)
                if source.next_due_ms() == due:
                    stuck[source] = due
                else:
                    # What it did may be new work for those that had none left to do at their due time.
                    stuck.clear()
            self._clock.jump_to(target)
            return self._clock.now_ms()

    def _earliest(self, target: int, stuck: dict[DueSource, int]) -> tuple[DueSource, int] | None:
        """The source due first, no later than `target`; one that did not move on in its turn is passed over."""
        due = [
            (at, number, source)
            for number, source in enumerate(self._stepped)
            if (at := source.next_due_ms()) is not None and at <= target and stuck.get(source) != at
        ]
        if not due:
            return None
        at, _, source = min(due, key=lambda one: one[:2])
        return source, at

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped.set()
