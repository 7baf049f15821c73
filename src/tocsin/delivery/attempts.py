"""Attempts, kept for whoever asks what became of a notification. Answers notify's AttemptSink.

Failures are durable within a tenth of a second, in batches. Of successes the last hundred of a subscription are held in
memory and written when nothing happens for a while, when somebody asks, and at the end; a setting keeps them all. A
crash may lose the last few: the log, not this record, decides what is sent. Never keeps what was sent, nor a secret.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress

from tocsin.domain.attempt import AttemptRecord, Delivered
from tocsin.domain.errors import OutcomeUnknown, Overloaded, StoreUnavailable
from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.storage.attempts import (
    INSERT_ATTEMPT,
    TRIM_FAILURES,
    TRIM_SUCCESSES,
    AttemptPage,
    AttemptQuery,
    attempt_row,
    fetch_attempts,
    outcome_name,
)
from tocsin.storage.store import Store
from tocsin.storage.unit import Unit
from tocsin.telemetry.logs import get_logger
from tocsin.telemetry.metrics import Metrics

KEPT_SUCCESSES = 100
KEPT_FAILURES = 1_000
"""Of a subscription; older ones go."""

FLUSH_S = 0.1
FLUSH_AT = 200
"""Records that are not waited for any longer."""
QUIET_ROUNDS = 10
"""Rounds of FLUSH_S without an attempt, after which successes are written too."""
MAX_PENDING = 20_000
"""Records that wait for a store that takes no writes; for one more, its account's oldest is dropped and counted."""
_MAX_TAILS = 10_000
"""Subscriptions whose successes are held; those of the one that was quiet longest are dropped."""
_UNIT_ROWS = 200
_UNITS_AT_ONCE = 32
_TRIM_EVERY = 100
_RETRY_S = 1.0

log = get_logger(__name__)


class _Tail:
    """The last successes of one subscription that are not written, and its failures since the last trim."""

    __slots__ = ("account_id", "failures", "successes")

    def __init__(self, account_id: AccountId) -> None:
        self.account_id = account_id
        self.failures = 0
        self.successes: deque[AttemptRecord] = deque(maxlen=KEPT_SUCCESSES)


class _Batch:
    """What waits to be written for one account: records in the order they came, and subscriptions to be trimmed."""

    __slots__ = ("records", "to_trim")

    def __init__(self) -> None:
        self.records: deque[AttemptRecord] = deque()
        self.to_trim: dict[SubscriptionId, None] = {}

    def take(self) -> tuple[list[AttemptRecord], list[SubscriptionId]]:
        """Remove and return what fits into one unit; trims come after all records."""
        records = [self.records.popleft() for _ in range(min(len(self.records), _UNIT_ROWS))]
        trims = [] if self.records else list(self.to_trim)[: _UNIT_ROWS // 2]
        for subscription_id in trims:
            del self.to_trim[subscription_id]
        return records, trims


class AttemptLog:
    """Takes attempts at any rate; `run` writes them. With `metrics`, counts each one there."""

    def __init__(self, store: Store, *, keep_all: bool, metrics: Metrics | None = None) -> None:
        self._store = store
        self._keep_all = keep_all
        self._metrics = metrics
        self._pending: dict[AccountId, _Batch] = {}
        self._waiting = 0
        self._dropped = 0
        self._tails: OrderedDict[SubscriptionId, _Tail] = OrderedDict()
        self._recorded = 0
        self._news = asyncio.Event()
        self._full = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._closed = False

    def record(self, attempt: AttemptRecord) -> None:
        """Take note of an attempt that has ended. Never blocks."""
        self._recorded += 1
        if self._metrics is not None:
            self._metrics.notifications_total.labels("webhook", outcome_name(attempt.outcome)).inc()
            self._metrics.attempt_seconds.observe(attempt.outcome.duration_ms / 1000)
        delivered = isinstance(attempt.outcome, Delivered)
        if not delivered:  # a line costs as much as a delivery, and successes are in the record and the metrics
            log.info(
                "delivery.failed",
                subscription_id=attempt.subscription_id,
                uuid=attempt.notification_uuid,
                number=attempt.number,
                outcome=outcome_name(attempt.outcome),
                http_status=attempt.outcome.http_status,
                duration_ms=attempt.outcome.duration_ms,
                next_attempt_ms=attempt.next_attempt_ms,
            )
        if self._keep_all:
            self._keep(attempt)
        else:
            tail = self._tail(attempt)
            if delivered:
                tail.successes.append(attempt)
            else:
                self._keep(attempt)
                tail.failures += 1
                if tail.failures >= _TRIM_EVERY:
                    tail.failures = 0
                    self._batch(attempt.account_id).to_trim[attempt.subscription_id] = None
        self._news.set()

    async def run(self) -> None:
        """Write what is recorded until `close`."""
        quiet, seen = 0, 0
        while not self._closed:
            await self._news.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._full.wait()
            quiet = quiet + 1 if seen == self._recorded else 0
            seen = self._recorded
            if not await self.flush(successes=quiet >= QUIET_ROUNDS):
                await asyncio.sleep(_RETRY_S)
            elif quiet >= QUIET_ROUNDS and seen == self._recorded:
                self._news.clear()

    async def flush(self, *, successes: bool) -> bool:
        """Write what waits, and the successes in memory too where asked; False when the store does not take it now."""
        async with self._flushing:
            self._full.clear()
            if successes:
                self._keep_successes()
            while self._pending:
                accounts = list(self._pending)[:_UNITS_AT_ONCE]
                if not all(await asyncio.gather(*map(self._write, accounts))):
                    return False
        return True

    async def page(self, query: AttemptQuery) -> AttemptPage:
        """Return a page of attempts, newest first; everything that has happened is among them."""
        await self.flush(successes=True)
        return await self._store.readers.run(fetch_attempts, query)

    async def last_attempts(self, count: int) -> Sequence[AttemptRecord]:
        """Return the latest attempts of all subscriptions, newest first."""
        return (await self.page(AttemptQuery(per_page=count))).records

    async def close(self) -> None:
        """Write everything, the last successes too, and let `run` end."""
        self._closed = True
        await self.flush(successes=True)
        self._news.set()
        self._full.set()

    def _tail(self, attempt: AttemptRecord) -> _Tail:
        tail = self._tails.get(attempt.subscription_id)
        if tail is None:
            tail = self._tails[attempt.subscription_id] = _Tail(attempt.account_id)
            if len(self._tails) > _MAX_TAILS:
                self._tails.popitem(last=False)
        else:
            self._tails.move_to_end(attempt.subscription_id)
        return tail

    def _batch(self, account_id: AccountId) -> _Batch:
        batch = self._pending.get(account_id)
        if batch is None:
            batch = self._pending[account_id] = _Batch()
        return batch

    def _keep(self, attempt: AttemptRecord) -> None:
        records = self._batch(attempt.account_id).records
        records.append(attempt)
        self._waiting += 1
        if self._waiting > MAX_PENDING:
            records.popleft()
            self._waiting -= 1
            self._dropped += 1
        if self._waiting >= FLUSH_AT:
            self._full.set()

    def _keep_successes(self) -> None:
        for subscription_id, tail in self._tails.items():
            if tail.successes:
                self._batch(tail.account_id).to_trim[subscription_id] = None
                for attempt in tail.successes:
                    self._keep(attempt)
                tail.successes.clear()

    async def _write(self, account_id: AccountId) -> bool:
        """Write one unit of what waits for an account; False when the store does not take it now."""
        batch = self._pending.pop(account_id)
        records, trims = batch.take()
        if batch.records or batch.to_trim:
            self._pending[account_id] = batch
        self._waiting -= len(records)
        try:
            unit = Unit(account_id)
            ids = await self._store.ids.take_many("attempt", len(records))
            for attempt_id, record in zip(ids, records, strict=True):
                unit.add(INSERT_ATTEMPT, attempt_row(record, attempt_id))
            for subscription_id in trims:
                unit.add(TRIM_SUCCESSES, (account_id, subscription_id, KEPT_SUCCESSES))
                unit.add(TRIM_FAILURES, (account_id, subscription_id, KEPT_FAILURES))
            await self._store.writer.apply(unit)
        except (Overloaded, StoreUnavailable, OutcomeUnknown) as wrong:
            self._waiting += len(records)
            batch = self._batch(account_id)
            batch.records.extendleft(reversed(records))
            batch.to_trim |= dict.fromkeys(trims)
            log.warning("attempts.not_written", waiting=self._waiting, dropped=self._dropped, error=str(wrong))
            self._dropped = 0
            return False
        return True
