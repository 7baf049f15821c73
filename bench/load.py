"""The load: posts messages over kept-alive connections, receives the webhooks, and counts both. One process, loopback.

Closed loop: each connection posts again once it is answered. Open loop: posts fall due at a fixed rate whatever the
server does, and latency counts from when they were due. Never judges what it measures.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import httptools

TICK_S = 0.0005
QUIET_S = 1.0
"""The sink has everything that comes when it got nothing for so long."""
DRAIN_S = 15.0
_MARK = re.compile(rb"#(\d{9})#")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """Where messages are posted, the numbers that they are for in turn, and whose CPU time is counted."""

    host: str
    port: int
    token: str
    numbers: list[str]
    pid: int

    def request(self, place: int) -> bytes:
        number = self.numbers[place * 7919 % len(self.numbers)]
        text = f"#{place:09d}# " + "what it says is of the length of a usual text message, about 160 characters, " * 2
        body = f'{{"from":"+12025550123","to":["{number}"],"text":"{text[:160]}"}}'.encode()
        return (
            f"POST /tocsin/v1/inbound/sms HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


@dataclass(frozen=True)
class Pace:
    """How fast and for how long: `rate` messages a second, or 0 for a closed loop."""

    rate: int
    seconds: float
    connections: int = 64
    warm_up_s: float = 0.5


class Sink:
    """The receiver: keeps when each webhook came and its body. Answers handshakes."""

    def __init__(self) -> None:
        self.received: list[tuple[float, bytes]] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(_Receiving, self), "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def drained(self) -> None:
        """Wait until nothing comes any more."""
        end = time.perf_counter() + DRAIN_S
        count = -1
        while count != len(self.received) and time.perf_counter() < end:
            count = len(self.received)
            await asyncio.sleep(QUIET_S)


class _Receiving(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._body = b""
        self._validation: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Validation-Token":
            self._validation = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._validation is None:
            self._sink.received.append((time.perf_counter(), body))
            self._transport.write(_ANSWER)
        else:
            token, self._validation = self._validation, None
            self._transport.write(b"HTTP/1.1 200 OK\r\nValidation-Token: %b\r\nContent-Length: 0\r\n\r\n" % token)


@dataclass
class Posted:
    """What happened to one message: when it was (or fell) due, when it was answered and how."""

    due: float
    answered: float = 0.0
    status: int = 0
    reply: bytes = b""


class _Posting(asyncio.Protocol):
    """One connection that posts."""

    def __init__(self, free: Callable[[_Posting], None]) -> None:
        self._free = free
        self._message: Posted | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def post(self, request: bytes, message: Posted) -> None:
        self._message = message
        self._transport.write(request)

    def on_body(self, body: bytes) -> None:
        if self._message is not None:
            self._message.reply += body

    def on_message_complete(self) -> None:
        message = self._message
        if message is not None:
            self._message = None
            message.answered = time.perf_counter()
            message.status = self._parser.get_status_code()
            self._free(self)

    def close(self) -> None:
        self._transport.close()


class Load:
    """One run against one target. `messages` are in the order of their place in the texts."""

    def __init__(self, target: Target, pace: Pace) -> None:
        self._target = target
        self._pace = pace
        self._idle: list[_Posting] = []
        self._due: deque[float] = deque()
        self._stopped = False
        self._answered = asyncio.Event()
        self._under_way = 0
        self.messages: list[Posted] = []
        self.began = 0.0
        self.ended = 0.0
        self.cpu_s = 0.0

    async def run(self) -> None:
        """Warm up, post for as long as the pace says, and wait for the answers that are due."""
        loop, pace = asyncio.get_running_loop(), self._pace
        connections = [
            (await loop.create_connection(partial(_Posting, self._freed), self._target.host, self._target.port))[1]
            for _ in range(pace.connections)
        ]
        self._idle += connections
        start = time.perf_counter()
        feeding = loop.create_task(self._feed(start)) if pace.rate else None
        if feeding is None:
            for _ in connections:
                self._post(self._idle.pop(), start)
        await asyncio.sleep(pace.warm_up_s)
        self.began, cpu = time.perf_counter(), cpu_seconds(self._target.pid)
        await asyncio.sleep(pace.seconds)
        self.ended, self.cpu_s = time.perf_counter(), cpu_seconds(self._target.pid) - cpu
        self._stopped = True
        if feeding is not None:
            feeding.cancel()
        while self._under_way:
            self._answered.clear()
            await asyncio.wait_for(self._answered.wait(), DRAIN_S)
        for connection in connections:
            connection.close()

    async def _feed(self, start: float) -> None:
        fallen_due = 0
        while True:
            elapsed = time.perf_counter() - start
            while fallen_due < elapsed * self._pace.rate:
                due = start + fallen_due / self._pace.rate
                fallen_due += 1
                if self._idle:
                    self._post(self._idle.pop(), due)
                else:
                    self._due.append(due)
            await asyncio.sleep(TICK_S)

    def _freed(self, connection: _Posting) -> None:
        self._under_way -= 1
        if self._stopped:
            self._answered.set()
        elif self._due:
            self._post(connection, self._due.popleft())
        elif self._pace.rate:
            self._idle.append(connection)
        else:
            self._post(connection, time.perf_counter())

    def _post(self, connection: _Posting, due: float) -> None:
        message = Posted(due)
        request = self._target.request(len(self.messages))
        self.messages.append(message)
        self._under_way += 1
        connection.post(request, message)


def place_in(body: bytes) -> int | None:
    """The place of the message that a webhook carries the text of; None for one that carries no text."""
    found = _MARK.search(body)
    return int(found.group(1)) if found else None


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, in user space and kernel; 0 where the system does not tell (not Linux)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100
