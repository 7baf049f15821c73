"""One HTTP/1.1 connection to a receiver: writes a request, reads its answer, and is free again. One request in flight.

Written for the case that the answer comes whole in one piece: three calls of the parser, no task, no future, no timer
object. Never opens itself, never chooses what to send next, never follows a redirect.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

import httptools

from tocsin.delivery.answer import KEPT_BYTES, Answer, Bounds, Broken, Stopped, read_head
from tocsin.delivery.target import Address
from tocsin.delivery.wheel import Timer, TimerWheel
from tocsin.domain.attempt import FailureKind

if TYPE_CHECKING:
    from tocsin.delivery.pool import Pool

_HEAD, _BODY, _ENDED = range(3)
"""How far the answer is."""

_SMALL = 16 * 1024
"""Bytes that a socket's buffer takes for certain."""


class Exchange:
    """A request and whoever waits for its answer: `answered` or `broke_off` is called once, on the loop.

    `request` is the whole request, ready to be written. Times are the loop's, set by the client.
    """

    __slots__ = ("due", "request", "started")
    bounds: ClassVar[Bounds] = Bounds()

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.started = 0.0
        self.due = 0.0

    def answered(self, status: int, raw_head: bytes, body: bytes, ended: float) -> None:
        """Take the answer; `raw_head` may hold more than the head (`read_head`), `body` is its first KEPT_BYTES."""
        raise NotImplementedError

    def broke_off(self, broken: Broken | Stopped, ended: float) -> None:
        """Take note that there is no whole answer."""
        raise NotImplementedError


class Keeper(Protocol):
    """What a connection tells the client that keeps it."""

    idle_s: float

    def freed(self, connection: Connection) -> None:
        """It can take the next exchange."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is closed or about to be, and holds no slot any more."""
        ...

    def try_again(self, pool: Pool, exchange: Exchange) -> None:
        """The connection was closed, perhaps before the request came; send it once more, on a new one."""
        ...


class Connection(asyncio.Protocol):
    """See the module. `address` is the one that was checked and connected to; `exchange` is in flight, if any."""

    __slots__ = (
        "_body",
        "_free_since",
        "_keep",
        "_keeper",
        "_loop",
        "_parser",
        "_raw",
        "_rings_at",
        "_size",
        "_spoiled",
        "_stage",
        "_status",
        "_timer",
        "_transport",
        "_used",
        "address",
        "exchange",
        "gone",
        "pool",
    )

    def __init__(
        self, keeper: Keeper, loop: asyncio.AbstractEventLoop, wheel: TimerWheel, pool: Pool, address: Address
    ) -> None:
        self.pool = pool
        self.address = address
        self.exchange: Exchange | None = None
        self.gone = False
        self._keeper = keeper
        self._loop = loop
        self._timer = Timer(wheel, self._ring)
        self._rings_at = inf
        self._free_since = loop.time()
        self._used = False
        self._raw = b""
        self._body = b""
        self._size = 0
        self._stage = _HEAD
        self._status = 0
        self._keep = False
        self._spoiled = False

    def send(self, exchange: Exchange) -> None:
        """Write the request; the exchange is told when the answer is in, or at `exchange.due`."""
        self.exchange = exchange
        # A timer set for earlier stays: when it rings, it is set for what is due then.
        if exchange.due < self._rings_at:
            self._ring_at(exchange.due)
        self._transport.write(exchange.request)

    def keep_idle(self) -> None:
        """Nobody wants it now: it closes when nobody has for the keeper's `idle_s`."""
        if self._rings_at == inf:
            self._ring_at(self._free_since + self._keeper.idle_s)

    def close(self) -> None:
        """Close at once; an exchange in flight is dropped without a word."""
        if not self.gone:
            self.gone = True
            self.exchange = None
            self._timer.drop()
            self._transport.abort()
            self._keeper.lost(self)

    # --- asyncio's side ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of its class
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        exchange = self.exchange
        if exchange is None:
            self.close()  # an answer that nobody asked for, such as 408 before the receiver closes
            return
        if self._stage == _HEAD:
            self._raw += data
        size = self._size = self._size + len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(FailureKind.PROTOCOL, "the receiver wants to switch protocols")
            return
        except httptools.HttpParserError as wrong:
            self._spoiled = True
            if self._stage != _ENDED:
                self._break(FailureKind.PROTOCOL, f"the answer is not HTTP: {wrong}")
                return
        if size > exchange.bounds.head and self._is_too_large(size, exchange.bounds):
            return
        if self._stage == _ENDED:
            self._finish(exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self.gone:
            return
        exchange = self.exchange
        if exchange is None:
            self.close()
        elif self._stage == _BODY and exc is None and read_head(self._raw).ends_with_connection:
            self._spoiled = True
            self._status = self._parser.get_status_code()
            self._finish(exchange)
        elif self._used and not self._size:
            self.close()
            self._keeper.try_again(self.pool, exchange)
        else:
            when = "before the answer ended" if self._size else "and did not answer"
            self._break(FailureKind.RESET, f"the receiver closed the connection {when}")

    # --- the parser's side ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Notice a second answer to one request: the connection can't be trusted any more."""
        if self._stage == _ENDED:
            self._spoiled = True

    def on_headers_complete(self) -> None:
        """Stop keeping what comes."""
        if self._stage == _HEAD:
            self._stage = _BODY

    def on_body(self, body: bytes) -> None:
        """Keep the beginning."""
        if len(self._body) < KEPT_BYTES:
            self._body += body[: KEPT_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        """Tell an interim answer (1xx) from the one that counts."""
        if self._stage == _ENDED:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            self._stage = _HEAD
        else:
            self._stage = _ENDED
            self._status = status
            self._keep = parser.should_keep_alive()  # known only here: the parser is made ready for the next at once

    # --- ends ------------------------------------------------------------------------------------------------------

    def _finish(self, exchange: Exchange) -> None:
        raw, body = self._raw, self._body
        now = self._loop.time()
        if self._spoiled or not self._keep or self._unsent(exchange):
            self.close()
        else:
            self.exchange = None
            self._used = True
            self._raw = self._body = b""
            self._size = 0
            self._stage = _HEAD
            self._free_since = now
            self._keeper.freed(self)
        exchange.answered(self._status, raw, body, now)

    def _unsent(self, exchange: Exchange) -> bool:
        """Whether the receiver answered before it had the whole request; a small one is written in one go."""
        return len(exchange.request) > _SMALL and self._transport.get_write_buffer_size() > 0

    def _is_too_large(self, size: int, bounds: Bounds) -> bool:
        largest = bounds.head if self._stage == _HEAD else bounds.total
        if size <= largest:
            return False
        self._break(FailureKind.TOO_LARGE, f"the answer is larger than {largest} bytes")
        return True

    def _break(self, kind: FailureKind, detail: str) -> None:
        exchange = self.exchange
        answer = Answer(self._parser.get_status_code(), self._raw, self._body) if self._raw else None
        self.close()
        if exchange is not None:
            exchange.broke_off(Broken(kind, detail, answer), self._loop.time())

    def _ring_at(self, at: float) -> None:
        self._rings_at = at
        self._timer.arm(at)

    def _ring(self) -> None:
        self._rings_at = inf
        now = self._loop.time()
        exchange = self.exchange
        due = self._free_since + self._keeper.idle_s if exchange is None else exchange.due
        if due > now:
            self._ring_at(due)
        elif exchange is None:
            self.close()
        else:
            limit = exchange.due - exchange.started
            what = "the answer did not end" if self._size else "no answer"
            self._break(FailureKind.TIMEOUT, f"{what} within {limit:g} s")
