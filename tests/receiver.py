"""A real webhook receiver on a loopback port, for every test that needs one: well-behaved until told how not to be.

    async with Receiver() as receiver:
        receiver.answers(Behaviour(status=503), Behaviour(drop=True))   # the next two notifications; then well again
        …
        first = await receiver.next()                                   # waits for a signal, never sleeps

Handshakes are answered apart (`on_handshake`) and kept apart (`handshakes`), so that tests count notifications only.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import trustme

PATIENCE_S = 30.0
"""How long a test waits for something that must come, before it fails."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. Header names are in lower case; `raw_head` is the head's bytes up to the blank line.

    `connection` counts the connections of the receiver, `nth` the requests on that one; both from 1.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    raw_head: bytes
    connection: int
    nth: int

    @property
    def is_handshake(self) -> bool:
        """Whether it is the validation call of a new subscription."""
        return "validation-token" in self.headers

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the receiver does with one request, in this order.

    `until`: waits for the event before it answers. `drop`: closes without a byte. `raw`: writes exactly these bytes in
    place of an answer, and closes unless `keep_open`. `echo`: returns the Validation-Token. `chunked`: the body in
    chunks. `cut_after_head`: closes when the head is out, whatever it promised. `drip`: writes the body byte by byte,
    each when `drip` is released (a semaphore). `close`: says Connection: close and does. `close_quietly`: closes after
    the answer and does not say so.
    """

    status: int = 200
    reason: str = "OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    until: asyncio.Event | None = None
    drop: bool = False
    raw: bytes | None = None
    keep_open: bool = False
    echo: bool = True
    chunked: bool = False
    cut_after_head: bool = False
    drip: asyncio.Semaphore | None = None
    close: bool = False
    close_quietly: bool = False


WELL = Behaviour()
Script = Callable[[Received], Behaviour]


def tls_contexts(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for these names (or addresses), and a client's that trusts its CA and no other."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Receiver:
    """An HTTP/1.1 server on 127.0.0.1 and a free port; https when given a server's context."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._tasks = asyncio.TaskGroup()
        self._serving: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._script: deque[Behaviour] = deque()
        self._news = asyncio.Condition()
        self._unread: list[Received] = []
        self._unread_handshakes: list[Received] = []
        self.port = 0
        self.connections = 0
        self.received: list[Received] = []
        self.handshakes: list[Received] = []
        self.otherwise: Script = lambda _: WELL
        self.on_handshake: Script = lambda _: WELL

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return len(self._serving)

    def answers(self, *behaviours: Behaviour) -> None:
        """Use these for the next notifications, one each, in order of arrival; then `otherwise` again."""
        self._script.extend(behaviours)

    async def next(
        self, predicate: Callable[[Received], bool] | None = None, *, patience_s: float = PATIENCE_S
    ) -> Received:
        """The earliest notification that no earlier call has returned and that satisfies `predicate`; waits for it."""
        return await self._take(self._unread, predicate, patience_s)

    async def next_handshake(self, *, patience_s: float = PATIENCE_S) -> Received:
        """The earliest handshake that no earlier call has returned; waits for it."""
        return await self._take(self._unread_handshakes, None, patience_s)

    async def count(self, number: int, *, patience_s: float = PATIENCE_S) -> list[Received]:
        """Wait until `number` notifications have come in all, and return all there are, in order of arrival."""
        await self._wait(lambda: len(self.received) >= number, patience_s)
        return list(self.received)

    async def drained(self, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until no connection is open."""
        await self._wait(lambda: not self._serving, patience_s)

    def hang_up(self) -> None:
        """Close every open connection at once, whatever is going on."""
        for writer, task in self._serving.items():
            writer.transport.abort()
            task.cancel()

    async def stop(self) -> None:
        """Stop listening and close every connection, as a receiver that goes down."""
        self._server.close()
        self.hang_up()
        await self.drained()

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one after `stop`."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        await self._tasks.__aexit__(kind, error, trace)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving[writer] = self._tasks.create_task(self._serve(reader, writer, self.connections))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        try:
            nth = 0
            while True:
                nth += 1
                request = await _read_request(reader, connection, nth)
                if not await _answer(request, await self._note(request), writer):
                    return
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            del self._serving[writer]
            async with self._news:
                self._news.notify_all()

    async def _note(self, request: Received) -> Behaviour:
        async with self._news:
            if request.is_handshake:
                self.handshakes.append(request)
                self._unread_handshakes.append(request)
            else:
                self.received.append(request)
                self._unread.append(request)
            self._news.notify_all()
        if request.is_handshake:
            return self.on_handshake(request)
        return self._script.popleft() if self._script else self.otherwise(request)

    async def _take(
        self, unread: list[Received], predicate: Callable[[Received], bool] | None, patience_s: float
    ) -> Received:
        def found() -> Received | None:
            return next((one for one in unread if predicate is None or predicate(one)), None)

        await self._wait(lambda: found() is not None, patience_s)
        taken = found()
        assert taken is not None
        unread.remove(taken)
        return taken

    async def _wait(self, until: Callable[[], bool], patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s), self._news:
                await self._news.wait_for(until)
        except TimeoutError:
            last = [f"{one.method} {one.path} {len(one.body)} bytes" for one in self.received[-5:]]
            raise AssertionError(
                f"nothing more came in {patience_s:g} s: {len(self.received)} notifications (the last: {last}), "
                f"{len(self.handshakes)} handshakes, {len(self._serving)} open connections"
            ) from None


async def _read_request(reader: asyncio.StreamReader, connection: int, nth: int) -> Received:
    raw_head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw_head[:-4].decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body, raw_head, connection, nth)


async def _answer(request: Received, behaviour: Behaviour, writer: asyncio.StreamWriter) -> bool:
    """Do as told; False when the connection is to be closed."""
    if behaviour.until is not None:
        await behaviour.until.wait()
    if behaviour.drop:
        return False
    if behaviour.raw is not None:
        writer.write(behaviour.raw)
        await writer.drain()
        return behaviour.keep_open
    writer.write(_head(request, behaviour))
    await writer.drain()
    if behaviour.cut_after_head:
        return False
    for piece in _pieces(behaviour):
        if behaviour.drip is not None:
            await behaviour.drip.acquire()
        writer.write(piece)
        await writer.drain()
    return not (behaviour.close or behaviour.close_quietly)


def _head(request: Received, behaviour: Behaviour) -> bytes:
    headers = {"Content-Type": "application/json", **behaviour.headers}
    if behaviour.echo and request.is_handshake:
        headers["Validation-Token"] = request.headers["validation-token"]
    if behaviour.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers.setdefault("Content-Length", str(len(behaviour.body)))
    if behaviour.close:
        headers["Connection"] = "close"
    lines = [
        f"HTTP/1.1 {behaviour.status} {behaviour.reason}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _pieces(behaviour: Behaviour) -> list[bytes]:
    size = 1 if behaviour.drip is not None else max(1, len(behaviour.body) // 3)
    cut = [behaviour.body[start : start + size] for start in range(0, len(behaviour.body), size)]
    if not behaviour.chunked:
        return cut
    return [*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut), b"0\r\n\r\n"]
