"""Writing positions in batches: how far each account has come, its lanes and outages behind that, its gaps.

An account is written at most once at a time; what a write that failed would have said is said by the next one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from tocsin.domain.clock import Clock
from tocsin.domain.errors import TocsinError
from tocsin.domain.ids import AccountId
from tocsin.notify.account import Account, Plan
from tocsin.storage.positions import put_gap, put_lane_position, put_subscription_position, put_watermark
from tocsin.storage.unit import Applies, Unit
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

INTERVAL_S = 0.1
COMPLETIONS = 1_000
"""So many completed batches are written before the interval is over."""
ACCOUNTS_AT_ONCE = 256
PUTS = 200
"""Rows of one unit: each is a delete and an insert, and a unit holds 500."""


class PositionWriter:
    """Writes the positions of the accounts that it is told of."""

    def __init__(self, writer: Applies, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._dirty: set[Account] = set()
        self._leaving: set[Account] = set()
        self._touches = 0
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._writing = asyncio.Lock()

    def touch(self, account: Account) -> None:
        """Write the account's positions soon."""
        self._dirty.add(account)
        self._touches += 1
        if self._touches == 1:
            self._some.set()
        elif self._touches == COMPLETIONS:
            self._many.set()

    def settle(self, account: Account) -> bool:
        """Whether everything about the account is stored, so that it can be forgotten; if not, it soon will be."""
        if account.plan(self._clock.monotonic(), whole=True) is None:
            return account not in self._dirty
        self._leaving.add(account)
        self.touch(account)
        return False

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await self._many.wait()
            await self.flush()

    async def flush(self, *, whole: bool = False) -> None:
        """Write now. `whole`: also what is not worth a write of its own."""
        async with self._writing:
            dirty, self._dirty = list(self._dirty), set()
            leaving, self._leaving = self._leaving, set()
            self._touches = 0
            self._some.clear()
            self._many.clear()
            for start in range(0, len(dirty), ACCOUNTS_AT_ONCE):
                part = dirty[start : start + ACCOUNTS_AT_ONCE]
                await asyncio.gather(*(self._write(account, whole or account in leaving) for account in part))

    async def _write(self, account: Account, whole: bool) -> None:
        plan = account.plan(self._clock.monotonic(), whole=whole)
        if plan is None:
            return
        try:
            for unit in units_of(account.account_id, plan):
                await self._writer.apply(unit)
        except TocsinError as failed:
            log.warning("positions.not_written", account_id=account.account_id, reason=str(failed))
            account.unsure(plan)
            self.touch(account)
        else:
            account.written(plan)


def units_of(account_id: AccountId, plan: Plan) -> list[Unit]:
    """Return the plan as units: one, unless it is huge; then the watermark moves in the last."""
    puts = [
        *(partial(put_gap, record=gap) for gap in plan.gaps.values()),
        *(partial(put_lane_position, key=key, position=row) for key, row in plan.lanes.items()),
        *(partial(put_subscription_position, subscription_id=key, position=row) for key, row in plan.outages.items()),
        partial(put_watermark, seq=plan.watermark),
    ]
    units: list[Unit] = []
    for start in range(0, len(puts), PUTS):
        unit = Unit(account_id)
        for put in puts[start : start + PUTS]:
            put(unit)
        units.append(unit)
    return units
