"""The lanes that may have something to send, served one after another, never from within one another.

A completed send may complete inside the call that starts the next one; the queue keeps that from nesting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tocsin.notify.lane import Lane
from tocsin.notify.subscriber import Subscriber


class ReadyLanes:
    """A queue of lanes, each in it once. Whoever adds lanes calls `drain` when done."""

    def __init__(self) -> None:
        self._lanes: deque[Lane] = deque()
        self._serve: Callable[[Lane], None] | None = None
        self._draining = False
        self._watched: set[Subscriber] = set()

    def serve_with(self, serve: Callable[[Lane], None]) -> None:
        """Set what each lane is given to."""
        self._serve = serve

    def add(self, lane: Lane) -> None:
        """Let `lane` be served at the next drain."""
        if not lane.queued:
            lane.queued = True
            self._lanes.append(lane)

    def drain(self) -> None:
        """Serve every lane that is ready, those that become ready meanwhile included."""
        if self._draining or self._serve is None:
            return
        self._draining = True
        try:
            while self._lanes:
                lane = self._lanes.popleft()
                lane.queued = False
                self._serve(lane)
        finally:
            self._draining = False
        if self._watched:
            self._tell_idle()

    async def until_idle(self, subscriber: Subscriber) -> None:
        """Return once nothing of `subscriber` is under way: no send, no reading, no handshake."""
        if subscriber.active == 0:
            return
        waiter = asyncio.get_running_loop().create_future()
        subscriber.idle.append(waiter)
        self._watched.add(subscriber)
        await waiter

    def _tell_idle(self) -> None:
        for subscriber in [one for one in self._watched if one.active == 0]:
            self._watched.discard(subscriber)
            waiters, subscriber.idle = subscriber.idle, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
