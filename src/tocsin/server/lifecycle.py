"""The order in which a server starts and stops; nobody else starts or stops a room.

Start: what the last run left first, then the loops, then the port. Stop: refuse, let requests end, start no new send,
wait, write positions, close sockets so that they recover, and close the store last.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Sequence

from tocsin.api.call import Route
from tocsin.api.operations import ClockControl
from tocsin.server.clockwork import Clockwork
from tocsin.server.http_server import Certificate, HttpServer
from tocsin.server.wiring import Rooms, Surroundings, make_dispatcher, make_gateway, make_http
from tocsin.telemetry.health import Finding, Verdict
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

GATEWAY_TICK_S = 5.0


class Server:
    """One server over an open store. `start` returns once it listens; `stop` once everything is written."""

    def __init__(self, around: Surroundings, rooms: Rooms, session_key: bytes, more: Sequence[Route] = ()) -> None:
        self._around = around
        self._rooms = rooms
        self._stopping = False
        clock_routes = ClockControl(self._advance).routes() if around.sandbox else []
        self._dispatcher = make_dispatcher(around, rooms, [*more, *clock_routes])
        self._gateway = make_gateway(around, rooms, self._dispatcher, session_key)
        notifying = rooms.notifying
        around.tail.follow(self._gateway)
        self._clockwork = Clockwork(
            around.clock,
            (notifying.expiry, self._gateway),
            self_driven=(rooms.work, notifying.notifier, rooms.housekeeping),
        )
        self._loops: list[asyncio.Task[None]] = []
        self._http: HttpServer | None = None
        rooms.health.add("server", self._check)

    async def start(self, listener: socket.socket, certificate: Certificate | None = None) -> None:
        """Start the rooms, then listen."""
        notifying = self._rooms.notifying
        await notifying.expiry.start()
        await self._gateway.start()
        app, socket_protocol = make_http(self._around, self._dispatcher, self._gateway, self._rooms.tasks)
        self._http = HttpServer(app, socket_protocol, certificate)
        loop = asyncio.get_running_loop()
        for name, running in (
            ("notifier", notifying.notifier.run()),
            ("work", self._rooms.work.run()),
            ("attempts", notifying.attempts.run()),
            ("clockwork", self._clockwork.run()),
            ("housekeeping", self._rooms.housekeeping.run()),
            ("gateway", self._tick()),
            ("http", self._http.serve(sockets=[listener])),
        ):
            self._loops.append(loop.create_task(running, name=name))
        ready = loop.create_task(self._http.ready.wait())
        await asyncio.wait([ready, *self._loops], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        self._raise_failure()

    async def failed(self) -> None:
        """Return only by raising: when a loop of the server has ended that should not have."""
        await asyncio.wait(self._loops, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()

    def _raise_failure(self) -> None:
        for loop in self._loops:
            if loop.done() and not self._stopping:
                loop.result()
                raise RuntimeError(f"{loop.get_name()} ended by itself")

    async def stop(self) -> None:
        """Stop in order; what was acknowledged is durable and what is pending waits in the log.

        Requests, sends and work under way have the same ten seconds to end. A step that fails holds up no other.
        """
        self._stopping = True
        notifying, rooms = self._rooms.notifying, self._rooms
        self._gateway.close()
        if self._http is not None:
            self._http.stop()
        rooms.work.stop()
        self._clockwork.stop()
        await _ended(notifying.notifier.stop(), *(one for one in self._loops if one.get_name() in ("http", "work")))
        await _ended(notifying.transport.close(0.0))
        await _ended(notifying.attempts.close())
        await rooms.tasks.close(grace_s=1.0)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        notifying.wheel.close()

    async def _tick(self) -> None:
        """Keep the sockets' time limits and the gauges that are read off; end loudly with a thread that has ended."""
        metrics, notifier = self._around.metrics, self._rooms.notifying.notifier
        while True:
            if (lost := self._around.store.lost_thread()) is not None:
                raise RuntimeError(f"the thread {lost} has ended: the server stops rather than work without it")
            self._gateway.tick()
            metrics.ws_sessions.set(self._gateway.session_count)
            metrics.lanes.set(notifier.lanes)
            metrics.lagging_lanes.set(notifier.lagging_lanes)
            await asyncio.sleep(GATEWAY_TICK_S)

    async def _advance(self, seconds: float) -> int:
        notifier = self._rooms.notifying.notifier
        await notifier.caught_up()
        try:
            now_ms = await self._clockwork.advance(seconds)
            # Hours may have passed in a moment: what they brought is not left to the next batch of positions.
            await notifier.flush()
            return now_ms
        finally:
            self._around.clock_moved()

    def _check(self) -> Finding:
        if self._stopping:
            return Finding(Verdict.FAILED, "stopping")
        return Finding(Verdict.OK)


async def _ended(*steps: Awaitable[None]) -> None:
    """Wait for all of them; what fails is told, and the next step comes all the same."""
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("server.stop_failed", exc_info=result)
