"""Housekeeping: once an hour, by wall time, what is old leaves the store, so that it does not grow for ever.

The parts run one after another; one that fails is logged once, tried again in a minute, and holds up no other part, no
request and no readiness. Each works in bounded units and may be cut off anywhere. What is old is decided here, what
goes with it in the rooms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from tocsin.domain.clock import Clock
from tocsin.domain.errors import TocsinError
from tocsin.domain.ids import AccountId
from tocsin.log.trim import LogReader, LogTrimmer
from tocsin.storage.attempts import DELETE_ATTEMPT, fetch_old_attempts
from tocsin.storage.readers import ReadConnection
from tocsin.storage.statement import Row, Statement
from tocsin.storage.store import Store
from tocsin.storage.tokens import DELETE_TOKEN, DELETE_UNUSED_SESSION, fetch_expired_tokens, fetch_unused_sessions
from tocsin.storage.unit import MAX_ROWS, Unit
from tocsin.storage.websocket_sessions import DELETE_LOST_SESSION, fetch_lost_sessions
from tocsin.subscriptions.past import PastSubscriptions
from tocsin.telemetry.logs import get_logger
from tocsin.telemetry.metrics import Metrics

log = get_logger(__name__)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FIRST_MS = 600_000
"""From the start to the first run: what a stop has left undelivered goes out before it is judged by its age."""
RETRY_MS = 60_000
LOOK_EVERY_S = 30.0
BLOB_MS = HOUR_MS
"""Room for a unit that is about to refer to a blob; also for a file whose row is about to be written."""
STRAYS_EVERY_MS = DAY_MS
"""Looking for files without a row reads the whole folder, and only a crash leaves any."""
FORGOTTEN_MS = DAY_MS
"""How long expired tokens, and sessions that are over, are kept."""

Part = Callable[[int], Awaitable[int]]
"""One part of the work: is given the time, does what is due, returns how many things it has removed."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How long entries of the log and attempts are kept, in days."""

    log_days: int = 7
    attempt_days: int = 30


class OldRows(NamedTuple):
    """Rows that go by their age alone. `fetch` gives keys, the account first, as `delete` takes them."""

    fetch: Callable[[ReadConnection, int, int], Sequence[Row]]
    delete: Statement
    age_ms: int


class Housekeeping:
    """A domain.clock.DueSource; `run` looks after it while wall time goes its way."""

    def __init__(self, store: Store, clock: Clock, reader: LogReader, ages: Ages, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._log_ms = ages.log_days * DAY_MS
        self._trimmer = LogTrimmer(store.readers, store.writer, clock, reader)
        self._past = PastSubscriptions(store.writer, store.readers)
        self._parts: dict[str, Part] = {
            "log": self._trim_log,
            "subscriptions": self._remove_subscriptions,
            "attempts": self._old(OldRows(fetch_old_attempts, DELETE_ATTEMPT, ages.attempt_days * DAY_MS)),
            "tokens": self._old(OldRows(fetch_expired_tokens, DELETE_TOKEN, FORGOTTEN_MS)),
            "websocket_sessions": self._old(OldRows(fetch_lost_sessions, DELETE_LOST_SESSION, FORGOTTEN_MS)),
            "sessions": self._old(OldRows(fetch_unused_sessions, DELETE_UNUSED_SESSION, FORGOTTEN_MS)),
            "blobs": self._collect_blobs,
            "strays": self._remove_strays,
        }
        self._failing: set[str] = set()
        self._next_ms = clock.now_ms() + FIRST_MS
        self._strays_ms = self._next_ms
        self._running = asyncio.Lock()

    def next_due_ms(self) -> int:
        """See `DueSource`."""
        return self._next_ms

    async def run_due(self) -> None:
        """See `DueSource`. Never raises for a part that fails."""
        async with self._running:
            now_ms = self._clock.now_ms()
            if now_ms < self._next_ms:
                return
            failed = [name for name, part in self._parts.items() if not await self._run(name, part, now_ms)]
            self._next_ms = now_ms + (RETRY_MS if failed else HOUR_MS)

    async def run(self) -> None:
        """Keep house until cancelled."""
        while True:
            await self.run_due()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _run(self, name: str, part: Part, now_ms: int) -> bool:
        try:
            removed = await part(now_ms)
        except Exception as failed:
            if name not in self._failing:
                self._failing.add(name)
                expected = isinstance(failed, TocsinError)
                log.warning("housekeeping.failed", part=name, reason=str(failed), exc_info=not expected)
            return False
        self._failing.discard(name)
        self._metrics.removed_total.labels(name).inc(removed)
        return True

    async def _trim_log(self, now_ms: int) -> int:
        return await self._trimmer.trim(now_ms - self._log_ms)

    async def _remove_subscriptions(self, now_ms: int) -> int:
        return await self._past.remove(now_ms - self._log_ms)

    async def _collect_blobs(self, now_ms: int) -> int:
        return await self._store.blobs.collect(now_ms - BLOB_MS)

    async def _remove_strays(self, now_ms: int) -> int:
        if now_ms < self._strays_ms:
            return 0
        removed = await self._store.blobs.remove_strays(BLOB_MS / 1000)
        self._strays_ms = now_ms + STRAYS_EVERY_MS
        return removed

    def _old(self, old: OldRows) -> Part:
        return partial(self._remove_old, old)

    async def _remove_old(self, old: OldRows, now_ms: int) -> int:
        removed = 0
        before: Sequence[Row] = ()
        # A row that its delete did not take after all is still there at the next look, and left for the next hour.
        while (keys := await self._store.readers.run(old.fetch, now_ms - old.age_ms, MAX_ROWS)) and keys != before:
            units: dict[AccountId, Unit] = {}
            for key in keys:
                units.setdefault(key[0], Unit(key[0])).add(old.delete, key)
            # One after another: the writer groups them with what others write, and nobody waits behind a crowd.
            for unit in units.values():
                await self._store.writer.apply(unit)
            removed += len(keys)
            before = keys
        return removed
