"""The WebSocket edge: picows on the API's own port, turning sockets into the gateway's.

It puts messages together, closes politely and bounds what waits; it parses no frame and keeps no session.
Source: RFC 6455 for closing and continuation; picows for the rest of the protocol.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]  # in the extension, not in its stub

from tocsin.delivery.gateway import Gateway
from tocsin.delivery.live_session import LiveSession
from tocsin.telemetry.logs import get_logger
from tocsin.telemetry.tasks import Tasks

log = get_logger(__name__)

MAX_MESSAGE_BYTES = 1_000_000
"""As the API's own limit on JSON bodies."""
EARLY_MESSAGES, EARLY_BYTES = 16, 16_000
"""What a client may send before its ConnectionDetails; more than that is no SDK's doing."""
READ_BUFFER_BYTES = 2_048
"""The least that picows takes; it grows with what a client sends, and stays so."""
WRITE_BUFFER_BYTES = 1_000_000
"""All that is ever in flight to one client; above it, it is neither written to nor read from."""
CLOSE_WAIT_S = 5.0
"""How long a client may take to answer a close frame, and to read what was written before it."""
HANDSHAKE_S = 5
PATH = "/ws"

_CONNECTION_HEADER = re.compile(rb"^connection:[^\r\n]*", re.IGNORECASE | re.MULTILINE)


class SocketListener(WSListener):
    """One socket. Answers the gateway's Socket and hands it whole text messages, in order."""

    __slots__ = (
        "_access_token",
        "_closing",
        "_early",
        "_gateway",
        "_gone",
        "_live",
        "_partial",
        "_tasks",
        "_transport",
        "_wsc",
    )

    def __init__(self, gateway: Gateway, access_token: str, wsc: str | None, tasks: Tasks) -> None:
        super().__init__()
        self._gateway = gateway
        self._access_token = access_token
        self._wsc = wsc
        self._tasks = tasks
        self._transport: WSTransport | None = None
        self._live: LiveSession | None = None
        self._early: list[bytes] = []
        self._partial: bytearray | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._gone = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done: open or recover the session."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._tasks.start(self._connect(), "websocket.connect")

    async def _connect(self) -> None:
        await self._gateway.connect(self._access_token, self._wsc, self)

    def opened(self, live: LiveSession) -> None:
        """See Socket."""
        self._live = live
        if self._gone:
            self._tasks.start(self._gateway.disconnected(live), "websocket.disconnected")
            return
        early, self._early = self._early, []
        for message in early:
            live.received(message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came. Pings are answered by picows."""
        if self._live is not None:
            self._live.session.alive()
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            self._closed_by_client(frame)
        elif self._closing is not None or kind is WSMsgType.PONG:
            return
        elif kind is WSMsgType.BINARY:
            self._refuse(WSCloseCode.UNSUPPORTED_DATA, "frames are text")
        elif frame.rsv1 or frame.rsv2 or frame.rsv3 or (kind is WSMsgType.TEXT) is (self._partial is not None):
            self._refuse(WSCloseCode.PROTOCOL_ERROR, "neither a new message nor the rest of one")
        else:
            self._piece(frame)

    def _piece(self, frame: WSFrame) -> None:
        """Take a message, or a part of one."""
        if self._partial is None and frame.fin:
            self._message(frame.get_payload_as_bytes())
            return
        partial = self._partial = bytearray() if self._partial is None else self._partial
        partial += frame.get_payload_as_memoryview()
        if len(partial) > MAX_MESSAGE_BYTES:
            self._refuse(WSCloseCode.MESSAGE_TOO_BIG, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        elif frame.fin:
            self._partial = None
            self._message(bytes(partial))

    def _message(self, message: bytes) -> None:
        if self._live is not None:
            self._live.received(message)
            return
        self._early.append(message)
        if len(self._early) > EARLY_MESSAGES or sum(map(len, self._early)) > EARLY_BYTES:
            self._refuse(WSCloseCode.POLICY_VIOLATION, "wait for ConnectionDetails")

    def _refuse(self, code: WSCloseCode, reason: str) -> None:
        self._partial = None
        self._early.clear()
        self.close(code.value, reason)

    def _closed_by_client(self, frame: WSFrame) -> None:
        """Answer a close frame, unless it is the answer to ours, and end the connection."""
        if self._transport is None:
            return
        if self._closing is None:
            code = frame.get_close_code()
            self.close(WSCloseCode.OK.value if code == WSCloseCode.NO_INFO else int(code.value), "")
        self._transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._gone = True
        if self._closing is not None:
            self._closing.cancel()
        if self._live is not None:
            self._tasks.start(self._gateway.disconnected(self._live), "websocket.disconnected")

    def pause_writing(self) -> None:
        """The write buffer is full: a client that doesn't read is not read from either, or its answers pile up."""
        if self._live is not None and self._transport is not None:
            self._live.session.stalled()
            if self._closing is None:
                self._transport.underlying_transport.pause_reading()

    def resume_writing(self) -> None:
        """The write buffer takes more."""
        if self._live is not None and self._transport is not None:
            self._read_on()
            self._live.session.drained()
            self._live.feed.resume()

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.resume_reading()

    def send(self, frame: bytes) -> None:
        """See Connection."""
        if self._transport is not None and self._closing is None and not self._gone:
            self._transport.send(WSMsgType.TEXT, frame)

    def ping(self) -> None:
        """See Connection."""
        if self._transport is not None and self._closing is None and not self._gone:
            self._transport.send_ping()

    def close(self, code: int, reason: str) -> None:
        """See Connection. The connection ends when the client has answered, or has had its time."""
        transport = self._transport
        if transport is None or self._closing is not None or self._gone:
            return
        # Ended at once, what the client has sent and we have not read would reset the connection, and the close frame
        # might never be seen.
        self._closing = asyncio.get_running_loop().call_later(CLOSE_WAIT_S, transport.disconnect, False)
        transport.send_close(WSCloseCode(code), _fitting(reason))
        self._read_on()


def _fitting(reason: str) -> bytes:
    """As much of `reason` as a close frame holds, whole characters only."""
    return reason.encode()[:123].decode(errors="ignore").encode()


class _PicowsLog:
    """What picows logs by: a client's faults are no errors of ours, and no logger is made for each connection."""

    def isEnabledFor(self, level: int) -> bool:
        return False

    def debug(self, *_: object) -> None:
        return

    info = log = debug

    def warning(self, message: str, *values: object) -> None:
        log.info("websocket.protocol", detail=message % values)

    error = warning

    def exception(self, message: str, *values: object) -> None:
        log.exception("websocket.failed", detail=message % values)


class SocketProtocol(WSProtocol):  # type: ignore[misc]
    """picows' own protocol as uvicorn calls it."""

    __slots__ = ("_connections",)

    def __init__(self, listen: Callable[[WSUpgradeRequest], SocketListener | None], connections: set[object]) -> None:
        super().__init__(
            None,  # host_port and ws_path: a client's
            None,
            False,  # is_client_side
            listen,
            _PicowsLog(),
            True,  # disconnect_on_exception
            HANDSHAKE_S,
            False,  # auto ping, with its times and strategy: it keeps a task for each connection; the gateway pings
            20,
            20,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # auto pong
            MAX_MESSAGE_BYTES,
            None,  # extra_headers
            READ_BUFFER_BYTES,
        )
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol; what shutdown must end is kept."""
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take the request that uvicorn has read, and found to be an upgrade; what follows comes by get_buffer.

        picows wants `Connection: Upgrade` and nothing more; Firefox sends `keep-alive, Upgrade`.
        """
        view = memoryview(_CONNECTION_HEADER.sub(b"connection: Upgrade", data))
        while view:
            buffer = self.get_buffer(len(view))
            taken = min(len(buffer), len(view))
            buffer[:taken] = view[:taken]
            self.buffer_updated(taken)
            view = view[taken:]

    def shutdown(self) -> None:
        """Uvicorn ends all connections."""
        if self.listener is not None:
            self.listener.close(WSCloseCode.GOING_AWAY.value, "server stops: reconnect and recover")
        elif self.transport is not None:
            self.transport.disconnect()


def socket_protocol(gateway: Gateway, tasks: Tasks) -> type[asyncio.Protocol]:
    """Return the class that uvicorn makes for each upgrade."""

    def listen(request: WSUpgradeRequest) -> SocketListener | None:
        parts = urlsplit(request.path.decode("ascii", "replace"))
        if parts.path.rstrip("/") != PATH:
            return None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return SocketListener(gateway, query.get("access_token", ""), query.get("wsc"), tasks)

    class Upgraded(SocketProtocol):
        """Knows its gateway."""

        __slots__ = ()

        def __init__(self, config: object, server_state: Any, app_state: object) -> None:
            super().__init__(listen, server_state.connections)

    return Upgraded
