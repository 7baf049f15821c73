"""The sweep: what makes a lost wake-up a delay and never a loss.

At start and once a minute it tells of every account that is behind, every two seconds of those whose log has grown
since it last looked, by the time that the database has stamped. Reads no entries itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tocsin.domain.clock import Clock
from tocsin.domain.errors import TocsinError
from tocsin.domain.ids import AccountId, Seq
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

INTERVAL_S = 2.0
WHOLE_EVERY_S = 60.0
MARGIN_MS = 10_000
"""Longer than any transaction: one that was stamped earlier may have become visible later than a newer one."""
PAGE = 500


class Counters(Protocol):
    """Where accounts' logs stand in the database."""

    async def touched(self, since_ms: int) -> Sequence[tuple[AccountId, Seq, int]]:
        """Return (account, last seq, touched_ms) of logs that grew at `since_ms`, by database time, or later."""
        ...

    async def behind(self, after: AccountId, limit: int) -> Sequence[tuple[AccountId, Seq]]:
        """Return (account, last seq) of accounts that the reader has left behind, ids above `after`, in id order."""
        ...


class SweepListener(Protocol):
    """Who is told."""

    async def reached(self, account_id: AccountId, seq: Seq) -> None:
        """Make sure that the account's log is read up to `seq`. May wait, when too much is under way."""
        ...


class Sweep:
    """Looks at the counters again and again. Owned by whoever runs `run`."""

    def __init__(self, counters: Counters, listener: SweepListener, clock: Clock) -> None:
        self._counters = counters
        self._listener = listener
        self._clock = clock
        self._since_ms: int | None = None
        self._whole_at = clock.monotonic()
        self.begun = asyncio.Event()
        """Set once the first sweep has told of everything that the last run left behind."""

    async def run(self) -> None:
        """Sweep until cancelled. A database that is away is asked again at the next turn."""
        while True:
            try:
                await self.turn()
            except TocsinError as away:
                log.warning("sweep.failed", reason=str(away))
            await asyncio.sleep(INTERVAL_S)

    async def turn(self) -> None:
        """Sweep once: everything when a minute has passed (and the first time), else what was touched."""
        if self._clock.monotonic() >= self._whole_at:
            await self._whole()
            self._whole_at = self._clock.monotonic() + WHOLE_EVERY_S
        await self._touched()
        self.begun.set()

    async def _whole(self) -> None:
        after = AccountId(-1)
        while page := await self._counters.behind(after, PAGE):
            for account_id, seq in page:
                await self._listener.reached(account_id, seq)
            after = page[-1][0]

    async def _touched(self) -> None:
        if self._since_ms is None:
            # The whole sweep has just told of everything older.
            self._since_ms = self._clock.now_ms()
        since_ms = self._since_ms - MARGIN_MS
        for account_id, seq, touched_ms in await self._counters.touched(since_ms):
            self._since_ms = max(self._since_ms, touched_ms)
            await self._listener.reached(account_id, seq)
