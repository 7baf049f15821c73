"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = start_ms
        self._monotonic = 0.0

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._now_ms

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._monotonic

    def jump_to(self, at_ms: int) -> None:
        """Move both clocks forward so that wall time is `at_ms`; a time that has passed is ignored."""
        step = max(0, at_ms - self._now_ms)
        self._now_ms += step
        self._monotonic += step / 1000

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self.jump_to(self._now_ms + round(seconds * 1000))
