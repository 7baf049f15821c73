"""The two clocks that code may read; both are injected. The third, seq, is no clock: it alone decides order.

Wall time decides expiry, retries, blacklisting, retention and tokens, and may jump (sandbox only).
Monotonic time decides I/O deadlines and throttling, and never jumps.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """What the rooms ask for the time."""

    def now_ms(self) -> int:
        """Wall time in milliseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks, with a wall-time offset that the sandbox may move forward."""

    def __init__(self, offset_ms: int = 0) -> None:
        self._offset_ms = offset_ms

    @property
    def offset_ms(self) -> int:
        """How far ahead of the machine's clock it is."""
        return self._offset_ms

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def jump_to(self, at_ms: int) -> None:
        """Move wall time forward to `at_ms`; a time that has passed is ignored, for wall time never goes back."""
        self._offset_ms += max(0, at_ms - self.now_ms())


class DueSource(Protocol):
    """What waits for wall time (retries, expiry, work rows): a jumping clock steps through its due times in order."""

    def next_due_ms(self) -> int | None:
        """Wall time of the earliest waiting thing, or None when nothing waits."""
        ...

    async def run_due(self) -> None:
        """Do everything that is due now and return when its work (sends included) has ended."""
        ...


def to_datetime(at_ms: int) -> datetime:
    """Milliseconds since the epoch to an aware UTC datetime."""
    return EPOCH + timedelta(milliseconds=at_ms)


def to_ms(at: datetime) -> int:
    """An aware datetime to milliseconds since the epoch, rounded down."""
    return (at - EPOCH) // _MILLISECOND
