"""When subscriptions are due: the next retry, probe or handshake of each, by wall time.

A heap with one live time per subscription and one timer on the loop. A jumping clock asks `next_ms` instead of waiting
for the timer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from tocsin.domain.clock import Clock
from tocsin.log.turns import Cancellable, SetTimer
from tocsin.notify.subscriber import Subscriber


class DueTimes:
    """Which subscription is to be looked at when; `wake` is called by the timer when one is due."""

    def __init__(self, clock: Clock, set_timer: SetTimer, wake: Callable[[], object]) -> None:
        self._clock = clock
        self._set_timer = set_timer
        self._wake = wake
        self._heap: list[tuple[int, int, Subscriber]] = []
        self._count = 0
        self._timer: Cancellable | None = None
        self._timer_ms: int | None = None
        self._closed = False

    def put(self, subscriber: Subscriber, due_ms: int | None) -> None:
        """Set the subscription's due time; None when it waits for nothing."""
        if subscriber.due_ms == due_ms:
            return
        subscriber.due_ms = due_ms
        if due_ms is not None:
            self._count += 1
            heapq.heappush(self._heap, (due_ms, self._count, subscriber))
        self._arm()

    def next_ms(self) -> int | None:
        """Return the earliest due time."""
        while self._heap and self._heap[0][2].due_ms != self._heap[0][0]:
            heapq.heappop(self._heap)  # it was given another time since
        return self._heap[0][0] if self._heap else None

    def pop_due(self) -> list[Subscriber]:
        """Return the subscriptions that are due now, earliest first; each has no due time until it is given one."""
        now_ms, due = self._clock.now_ms(), []
        while (next_ms := self.next_ms()) is not None and next_ms <= now_ms:
            subscriber = heapq.heappop(self._heap)[2]
            subscriber.due_ms = None
            due.append(subscriber)
        self._arm()
        return due

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        self._heap.clear()
        self._cancel()

    def _arm(self) -> None:
        next_ms = self.next_ms()
        if next_ms == self._timer_ms or self._closed:
            return
        self._cancel()
        if next_ms is not None:
            self._timer_ms = next_ms
            self._timer = self._set_timer(max(0, next_ms - self._clock.now_ms()) / 1000, self._ring)

    def _ring(self) -> None:
        self._timer = self._timer_ms = None
        self._wake()
        self._arm()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_ms = None
