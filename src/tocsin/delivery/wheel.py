"""Deadlines for very many connections: arming one writes two fields, and no timer object is made for it.

A timer stays where it was first put; when its time comes and it has been armed for later meanwhile, it moves there. So
a request's deadline that is replaced by an idle limit, again and again, costs the event loop nothing. The loop is asked
for one wake-up, that of the earliest slot, and none while nothing is armed. Never early; late by one slot at most.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Protocol

from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)


class Loop(Protocol):
    """What the wheel asks of the event loop."""

    def time(self) -> float:
        """Monotonic seconds."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back at `when`."""
        ...


def _nothing() -> None:
    pass


class Timer:
    """One thing that may happen later: calls `ring` when it is due. Made once, armed as often as wanted."""

    __slots__ = ("_ring", "_slot", "_wheel", "due")

    def __init__(self, wheel: TimerWheel, ring: Callable[[], None]) -> None:
        self._wheel = wheel
        self._ring = ring
        self._slot = 0
        self.due = 0.0

    def arm(self, due: float) -> None:
        """Ring at `due` (the loop's time), and not when it was armed for before."""
        self.due = due
        if not self._slot or due < self._slot * self._wheel.slot_s:
            self._slot = self._wheel.put(self, due)

    def drop(self) -> None:
        """Never ring again, and let go of what would have been called: the slot may keep the timer for a while."""
        self.due = 0.0
        self._ring = _nothing

    def visit(self, slot: int, now: float) -> None:
        """Ring, move to a later slot, or rest: the wheel has come to `slot`."""
        if slot != self._slot:
            return  # armed for an earlier time since: it is in that slot too
        self._slot = 0
        if self.due > now:
            self._slot = self._wheel.put(self, self.due)
        elif self.due:
            self.due = 0.0
            self._ring()


class TimerWheel:
    """Slots of `slot_s` seconds, of which only those that hold a timer exist."""

    def __init__(self, loop: Loop, slot_s: float = 0.05) -> None:
        self._loop = loop
        self.slot_s = slot_s
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._wake: asyncio.TimerHandle | None = None
        self._wake_slot = 0

    def put(self, timer: Timer, due: float) -> int:
        """Put a timer into the slot that ends at or after `due`, and return it. For `Timer` only."""
        slot = int(due / self.slot_s) + 1
        timers = self._slots.get(slot)
        if timers is None:
            timers = self._slots[slot] = []
            heapq.heappush(self._order, slot)
            self._plan()
        timers.append(timer)
        return slot

    def close(self) -> None:
        """Forget every timer; none rings any more."""
        self._slots.clear()
        self._order.clear()
        self._plan()

    def _plan(self) -> None:
        earliest = self._order[0] if self._order else 0
        if self._wake is not None:
            if earliest == self._wake_slot:
                return
            self._wake.cancel()
            self._wake = None
        if earliest:
            self._wake_slot = earliest
            self._wake = self._loop.call_at(earliest * self.slot_s, self._turn)

    def _turn(self) -> None:
        self._wake = None
        now = self._loop.time()
        # A loop may wake a clock tick early; the slot that it was woken for has come all the same.
        reached = max(int(now / self.slot_s), self._wake_slot)
        while self._order and self._order[0] <= reached:
            slot = heapq.heappop(self._order)
            for timer in self._slots.pop(slot):
                try:
                    timer.visit(slot, max(now, slot * self.slot_s))
                except Exception:
                    log.exception("wheel.timer_broke")  # the others' deadlines hold all the same
        self._plan()
