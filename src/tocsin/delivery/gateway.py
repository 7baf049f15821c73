"""The WebSocket gateway: opens, recovers and ends sessions, and carries requests into the API and answers back.

Notifications come from each session's feed, which is held while an answer about subscriptions is on its way: nothing is
sent before the answer to create, update or recovery is written. Reads no messages, opens no sockets.
Source: RC doc notifications/websockets; codes and recovery outcomes from the reference page websocket.md.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from tocsin.storage.readers import Readers

from tocsin.delivery.websocket import CLOSE_GOING_AWAY, CLOSE_POLICY, Connection, SessionTimes, WebSocketSession
from tocsin.delivery.wsc import MalformedToken, SessionContext, read_context
from tocsin.domain.clock import Clock
from tocsin.domain.directory import Identity
from tocsin.domain.errors import Stale, Unauthenticated
from tocsin.domain.ids import AccountId, SessionId, SubscriptionId
from tocsin.storage.unit import Applies, Expect, Unit
from tocsin.storage.websocket_sessions import (
    CONNECT_SESSION,
    DELETE_SESSION,
    DISCONNECT_SESSION,
    INSERT_SESSION,
    SessionRow,
    fetch_session,
    fetch_sessions_of_gateway,
)
from tocsin.wire.frames import (
    ClientRequest,
    Heartbeat,
    MalformedFrame,
    SessionLimits,
    parse_frame,
    render_error,
    render_heartbeat,
    render_reply,
)

NOTHING_TO_RECOVER = "WSG-1005"
OTHER_LOGIN = "WSG-1003"
TOO_MANY_REQUESTS = (
    b'{"errorCode":"CMN-301","message":"Too many active requests on this session",'
    b'"errors":[{"errorCode":"CMN-301","message":"Too many active requests on this session"}]}'
)
"""Our choice: no source names a code for more than maxActiveRequests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered to a request inside a frame."""

    status: int
    headers: dict[str, str]
    body: bytes


class Requests(Protocol):
    """The API, entered from inside the process."""

    async def answer(self, request: ClientRequest, identity: Identity, session_id: SessionId) -> Answer:
        """Run `request` as `identity`; errors are answers too."""
        ...


class Tokens(Protocol):
    """Who a short-lived WebSocket token stands for."""

    async def redeem_websocket_token(self, text: str) -> Identity:
        """Return its identity; raises Unauthenticated."""
        ...


class Feed(Protocol):
    """A session's notifications; see notify/session_feed.py."""

    def hold(self) -> None:
        """Write nothing until released."""
        ...

    async def release(self) -> None:
        """Look at the session's subscription anew, and go on."""
        ...

    def resume(self) -> None:
        """The socket takes more again."""
        ...

    def close(self) -> None:
        """Stop for good."""
        ...


class Feeds(Protocol):
    """Makes feeds."""

    async def open(self, session: WebSocketSession, resume: SessionContext | None) -> tuple[Feed, int]:
        """Return a held feed and the position that it starts from."""
        ...


class SessionSubscriptions(Protocol):
    """The subscription that lives by a session."""

    async def of_session(self, account_id: AccountId, session_id: SessionId) -> SubscriptionId | None:
        """Return the session's active subscription, if it has one."""
        ...

    async def end_of_session(self, account_id: AccountId, session_id: SessionId) -> None:
        """Expire whatever the session subscribed to."""
        ...


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What the gateway is made of."""

    writer: Applies
    readers: Readers
    clock: Clock
    tokens: Tokens
    feeds: Feeds
    subscriptions: SessionSubscriptions
    key: bytes
    name: str = "local"
    limits: SessionLimits = field(default_factory=SessionLimits)
    times: SessionTimes = field(default_factory=SessionTimes)


class LiveSession:
    """A session, its feed, and the reading of its frames."""

    def __init__(self, session: WebSocketSession, feed: Feed, requests: Requests, limits: SessionLimits) -> None:
        self.session = session
        self.feed = feed
        self._requests = requests
        self._limits = limits

    async def received(self, text: bytes) -> None:
        """Handle one text frame of the client's."""
        self.session.active()
        try:
            frame = parse_frame(text)
        except MalformedFrame as wrong:
            self.session.fail(400, "WSG-400", str(wrong))
            return
        if isinstance(frame, Heartbeat):
            self.session.reply(render_heartbeat(frame.message_id))
            return
        await self._request(frame)

    async def _request(self, frame: ClientRequest) -> None:
        session = self.session
        if session.active_requests >= self._limits.max_active_requests:
            session.reply(render_reply(frame.message_id, 429, {"Content-Type": "application/json"}, TOO_MANY_REQUESTS))
            return
        about_subscription = "/subscription" in frame.path and frame.method != "GET"
        session.active_requests += 1
        if about_subscription:
            self.feed.hold()
        try:
            answer = await self._requests.answer(frame, session.identity, session.session_id)
            session.reply(render_reply(frame.message_id, answer.status, answer.headers, answer.body))
        finally:
            session.active_requests -= 1
            if about_subscription:
                await self.feed.release()


class Gateway:
    """All sessions of this process. `run_due` expires those whose recovery window has passed."""

    def __init__(self, parts: GatewayParts, requests: Requests) -> None:
        self._parts = parts
        self._requests = requests
        self._live: dict[SessionId, LiveSession] = {}
        self._lost: dict[SessionId, SessionRow] = {}
        self._changed: Callable[[], None] = lambda: None

    @property
    def session_count(self) -> int:
        """Sessions with an open socket."""
        return len(self._live)

    async def start(self) -> None:
        """Give the sessions that a previous run of this process held their recovery window, from now."""
        now = self._parts.clock.now_ms()
        for row in await self._parts.readers.run(fetch_sessions_of_gateway, self._parts.name):
            await self._note_lost(row, row.disconnected_ms if row.disconnected_ms is not None else now)

    async def connect(self, access_token: str, wsc: str | None, connection: Connection) -> LiveSession | None:
        """Open a session on a fresh socket; on refusal write an Error frame, close, and return None."""
        try:
            identity = await self._parts.tokens.redeem_websocket_token(access_token)
        except Unauthenticated as wrong:
            refuse(connection, 401, "WSG-401", str(wrong))
            return None
        context: SessionContext | None = None
        if wsc:
            try:
                context = read_context(wsc, self._parts.key)
            except MalformedToken:
                refuse(connection, 400, "WSG-400", "Malformed WebSocket session context token")
                return None
        failure = None
        if context is not None:
            recovered = await self._recover(context, identity, connection)
            if isinstance(recovered, LiveSession):
                return recovered
            failure = recovered
        return await self._begin(identity, connection, None if context is None else (False, failure))

    async def _begin(
        self, identity: Identity, connection: Connection, recovery: tuple[bool, str | None] | None
    ) -> LiveSession:
        row = SessionRow(
            identity.account_id,
            SessionId(secrets.token_hex(16)),
            identity.session_id,
            identity.extension_id,
            identity.client_id,
            self._parts.name,
            1,
            self._parts.clock.now_ms(),
            0,
            None,
        )
        unit = Unit(row.account_id)
        unit.add(INSERT_SESSION, row.as_row())
        await self._parts.writer.apply(unit)
        return await self._go_live(row, identity, connection, None, recovery)

    async def _recover(self, context: SessionContext, identity: Identity, connection: Connection) -> LiveSession | str:
        """The recovered session, or the code of the failure."""
        row = await self._parts.readers.run(fetch_session, context.account_id, context.session_id)
        if row is None or row.account_id != identity.account_id or self._too_late(row):
            return NOTHING_TO_RECOVER
        if row.oauth_session_id != identity.session_id:
            return OTHER_LOGIN
        if await self._parts.subscriptions.of_session(row.account_id, row.session_id) is None:
            return NOTHING_TO_RECOVER
        older = self._live.pop(row.session_id, None)
        if older is not None:
            older.feed.close()
            older.session.close(CLOSE_GOING_AWAY, "recovered on another connection")
        taken = replace(row, epoch=row.epoch + 1, disconnected_ms=None)
        unit = Unit(row.account_id, expects=[Expect("websocket_session", (row.session_id,), row.epoch)])
        unit.add(CONNECT_SESSION, (row.account_id, row.session_id, taken.epoch, self._parts.name))
        try:
            await self._parts.writer.apply(unit)
        except Stale:
            return NOTHING_TO_RECOVER
        self._lost.pop(row.session_id, None)
        return await self._go_live(taken, identity, connection, context, (True, None))

    async def _go_live(
        self,
        row: SessionRow,
        identity: Identity,
        connection: Connection,
        context: SessionContext | None,
        recovery: tuple[bool, str | None] | None,
    ) -> LiveSession:
        parts = self._parts
        session = WebSocketSession(identity, row.session_id, row.epoch, connection, parts.key, parts.clock, parts.times)
        feed, position = await parts.feeds.open(session, context)
        live = LiveSession(session, feed, self._requests, parts.limits)
        self._live[row.session_id] = live
        session.details(position, parts.limits, recovery)
        await feed.release()
        return live

    def _too_late(self, row: SessionRow) -> bool:
        window_ms = self._parts.limits.recovery_timeout_s * 1000
        return row.disconnected_ms is not None and self._parts.clock.now_ms() > row.disconnected_ms + window_ms

    async def disconnected(self, live: LiveSession) -> None:
        """The socket of `live` is gone: the recovery window opens."""
        live.session.lost()
        live.feed.close()
        if self._live.get(live.session.session_id) is not live:
            return
        del self._live[live.session.session_id]
        row = await self._parts.readers.run(fetch_session, live.session.account_id, live.session.session_id)
        if row is not None and row.epoch == live.session.epoch:
            await self._note_lost(row, self._parts.clock.now_ms())

    async def _note_lost(self, row: SessionRow, at_ms: int) -> None:
        if row.disconnected_ms is None:
            unit = Unit(row.account_id)
            unit.add(DISCONNECT_SESSION, (row.account_id, row.session_id, row.epoch, at_ms))
            await self._parts.writer.apply(unit)
        self._lost[row.session_id] = replace(row, disconnected_ms=at_ms)
        self._changed()

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the next due time may have moved."""
        self._changed = wake

    def tick(self) -> None:
        """Enforce the sockets' limits."""
        for live in list(self._live.values()):
            live.session.tick()

    def next_due_ms(self) -> int | None:
        """When the earliest recovery window closes."""
        window_ms = self._parts.limits.recovery_timeout_s * 1000
        return min(((row.disconnected_ms or 0) + window_ms + 1 for row in self._lost.values()), default=None)

    async def run_due(self) -> None:
        """Expire the sessions whose recovery window has closed, with what they subscribed to."""
        for row in [row for row in self._lost.values() if self._too_late(row)]:
            self._lost.pop(row.session_id, None)
            await self._parts.subscriptions.end_of_session(row.account_id, row.session_id)
            unit = Unit(row.account_id, expects=[Expect("websocket_session", (row.session_id,), row.epoch)])
            unit.add(DELETE_SESSION, (row.account_id, row.session_id))
            with contextlib.suppress(Stale):  # recovered on another gateway in this very moment: it is theirs now
                await self._parts.writer.apply(unit)

    def end_login(self, account_id: AccountId, oauth_session_id: SessionId) -> None:
        """Close the sockets of a login that was revoked."""
        for live in list(self._live.values()):
            identity = live.session.identity
            if identity.account_id == account_id and identity.session_id == oauth_session_id:
                live.session.fail(401, "WSG-401", "The login of this session has ended")

    def close(self) -> None:
        """Close all sockets so that they recover with the next process."""
        for live in list(self._live.values()):
            live.feed.close()
            live.session.close(CLOSE_GOING_AWAY, "server restarts: reconnect and recover")


def refuse(connection: Connection, status: int, code: str, message: str) -> None:
    """Tell a client why it gets no session, and close."""
    connection.send(render_error(secrets.token_hex(16), status, code, message))
    connection.close(CLOSE_POLICY, message)
