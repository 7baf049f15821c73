"""The WebSocket edge: picows on the API's own port, and REST inside frames entering the same app.

It parses no frame and keeps no session (delivery/gateway.py does); it turns sockets into Connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]  # in the extension, not in its stub

from tocsin.api.call import Query
from tocsin.api.dispatch import Dispatcher, error_reply
from tocsin.api.request import Request, held_body, parse_query
from tocsin.delivery.gateway import Answer, Gateway, LiveSession
from tocsin.domain.directory import Identity
from tocsin.domain.errors import Refused
from tocsin.domain.ids import SessionId
from tocsin.telemetry.tasks import Tasks
from tocsin.wire.frames import ClientRequest

MAX_FRAME_BYTES = 1_000_000
READ_BUFFER_BYTES = 512
WRITE_BUFFER_BYTES = 1_000_000
PATH = "/ws"


class SocketListener(WSListener):
    """One socket: answers Connection for its session and hands text frames over in order."""

    def __init__(self, gateway: Gateway, access_token: str, wsc: str | None, tasks: Tasks) -> None:
        super().__init__()
        self._gateway = gateway
        self._access_token = access_token
        self._wsc = wsc
        self._tasks = tasks
        self._transport: WSTransport | None = None
        self._live: LiveSession | None = None
        self._early: list[bytes] = []
        self._partial: list[bytes] = []
        self._gone = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done: open or recover the session."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._tasks.start(self._connect(), "websocket.connect")

    async def _connect(self) -> None:
        live = await self._gateway.connect(self._access_token, self._wsc, self)
        if live is None:
            return
        if self._gone:
            await self._gateway.disconnected(live)
            return
        self._live = live
        early, self._early = self._early, []
        for text in early:
            self._tasks.start(live.received(text), "websocket.request")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came; a message in several frames is put together first."""
        if self._live is not None:
            self._live.session.alive()
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._partial.append(frame.get_payload_as_bytes())
            if sum(map(len, self._partial)) > MAX_FRAME_BYTES:
                self.close(WSCloseCode.MESSAGE_TOO_BIG.value, "message too big")
            elif frame.fin:
                text = b"".join(self._partial)
                self._partial.clear()
                self._received(text)

    def _received(self, text: bytes) -> None:
        if self._live is not None:
            self._tasks.start(self._live.received(text), "websocket.request")
        elif len(self._early) < 16:
            self._early.append(text)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._gone = True
        if self._live is not None:
            self._tasks.start(self._gateway.disconnected(self._live), "websocket.disconnected")

    def pause_writing(self) -> None:
        """The write buffer is full."""
        if self._live is not None:
            self._live.session.stalled()

    def resume_writing(self) -> None:
        """The write buffer takes more."""
        if self._live is not None:
            self._live.session.drained()
            self._live.feed.resume()

    def send(self, frame: bytes) -> None:
        """See Connection."""
        if self._transport is not None and not self._gone:
            self._transport.send(WSMsgType.TEXT, frame)

    def ping(self) -> None:
        """See Connection."""
        if self._transport is not None and not self._gone:
            self._transport.send_ping()

    def close(self, code: int, reason: str) -> None:
        """See Connection."""
        if self._transport is not None and not self._gone:
            self._transport.send_close(WSCloseCode(code), reason.encode()[:120])
            self._transport.disconnect()


def socket_protocol(gateway: Gateway, tasks: Tasks) -> type[asyncio.Protocol]:
    """Return the class that uvicorn makes for each upgrade: picows' protocol, fed with what uvicorn has read."""

    def listen(request: WSUpgradeRequest) -> SocketListener | None:
        parts = urlsplit(request.path.decode("ascii", "replace"))
        if parts.path.rstrip("/") != PATH:
            return None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return SocketListener(gateway, query.get("access_token", ""), query.get("wsc"), tasks)

    class SocketProtocol(WSProtocol):  # type: ignore[misc]
        """picows' own protocol as uvicorn calls it."""

        def __init__(self, config: object, server_state: Any, app_state: object) -> None:
            super().__init__(
                None,
                None,
                False,
                listen,
                logging.getLogger("tocsin.websocket"),
                True,
                5,
                False,
                20,
                20,
                WSAutoPingStrategy.PING_WHEN_IDLE,
                True,
                MAX_FRAME_BYTES,
                None,
                READ_BUFFER_BYTES,
            )
            self._connections = server_state.connections

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._connections.add(self)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._connections.discard(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Uvicorn hands over the request that it has read; later bytes come through get_buffer."""
            view = memoryview(data)
            while view:
                buffer = self.get_buffer(len(view))
                taken = min(len(buffer), len(view))
                buffer[:taken] = view[:taken]
                self.buffer_updated(taken)
                view = view[taken:]

        def shutdown(self) -> None:
            """Uvicorn ends all connections."""
            if self.transport is not None:
                self.transport.disconnect()

    return SocketProtocol


class FrameRequests:
    """Answers the gateway: runs a request from a frame through the dispatcher, as the session's own user."""

    def __init__(self, dispatcher: Dispatcher, base_url: Callable[[], str]) -> None:
        self._dispatcher = dispatcher
        self._base_url = base_url

    async def answer(self, frame: ClientRequest, identity: Identity, session_id: SessionId) -> Answer:
        """See delivery.gateway.Requests."""
        path, _, query = frame.path.partition("?")
        request = Request(
            frame.method,
            path,
            Query((*parse_query(query).pairs, *frame.query)),
            {"content-type": "application/json", **frame.headers},
            self._base_url(),
            held_body(frame.body),
            identity=identity,
            websocket_session=session_id,
        )
        reply = await self._dispatcher.dispatch(request)
        headers = {"Content-Type": reply.content_type, "RCRequestId": request.request_id, **dict(reply.headers)}
        if reply.stream is not None or not _fits_a_frame(reply.content_type):
            refusal = error_reply(Refused("CMN-202", "Binary content is not available over WebSocket; use HTTP"))
            return Answer(refusal.status, headers | {"Content-Type": refusal.content_type}, refusal.body)
        if path.startswith("/restapi/v1.0/subscription") and 200 <= reply.status < 300:
            headers["WSG-SubscriptionId"] = _subscription_id(path, reply.body)
        return Answer(reply.status, headers, reply.body)


class _Named(msgspec.Struct):
    id: str = ""


def _subscription_id(path: str, body: bytes) -> str:
    """The id that the SDKs look for in the answer's headers: the body's, or for a cancellation the path's."""
    named = msgspec.json.decode(body, type=_Named).id if body.startswith(b"{") else ""
    return named or path.removeprefix("/restapi/v1.0/subscription").strip("/").partition("/")[0]


def _fits_a_frame(content_type: str) -> bool:
    return content_type.startswith(("application/json", "multipart/mixed"))
