"""The WebSocket gateway: opens, recovers and ends sessions.

What a session's frames ask is live_session.py's, what waits for recovery recovery.py's. Nothing is sent before the
answer to create, update or recovery is written. Reads no messages, opens no sockets.
Source: RC doc notifications/websockets; codes and recovery outcomes as an SDK's author found them in experiments.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from tocsin.delivery.live_session import Feed, LiveSession, Requests
from tocsin.delivery.recovery import LostSessions, SessionSubscriptions
from tocsin.delivery.websocket import (
    CLOSE_GOING_AWAY,
    CLOSE_POLICY,
    CLOSE_TRY_AGAIN,
    Connection,
    Place,
    SessionTimes,
    WebSocketSession,
)
from tocsin.delivery.wsc import MalformedToken, SessionContext, read_context
from tocsin.domain.clock import Clock
from tocsin.domain.directory import Identity
from tocsin.domain.entry import DirectoryChange, DirectoryScope, Entry
from tocsin.domain.errors import Stale, TocsinError, Unauthenticated
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, SessionId
from tocsin.storage.entries import fetch_trimmed_to
from tocsin.storage.readers import Readers
from tocsin.storage.unit import Applies, Expect, Unit
from tocsin.storage.websocket_sessions import CONNECT_SESSION, INSERT_SESSION, SessionRow, fetch_session
from tocsin.telemetry.logs import get_logger
from tocsin.telemetry.tasks import Tasks
from tocsin.wire.frames import SessionLimits, render_error

log = get_logger(__name__)

MALFORMED = "WSG-400"
NOT_AUTHENTICATED = "WSG-401"
"""Our choice, as the two below: no source names codes for these."""
FAILED = "WSG-500"
UNAVAILABLE = "WSG-503"
NOTHING_TO_RECOVER = "WSG-1005"
OTHER_LOGIN = "WSG-1003"


class Socket(Connection, Protocol):
    """The socket that a session is opened for."""

    def opened(self, live: LiveSession) -> None:
        """Hand frames over from now on; ConnectionDetails is written."""
        ...


class Tokens(Protocol):
    """Who may open a session, and whether they still may."""

    async def redeem_websocket_token(self, text: str) -> Identity:
        """Return whose this short-lived token is; raises Unauthenticated."""
        ...

    async def identify(self, account_id: AccountId, session_id: SessionId) -> Identity:
        """Return who a login is now; raises Unauthenticated when it has ended."""
        ...


class Feeds(Protocol):
    """Makes feeds."""

    async def open(self, session: WebSocketSession, resume: SessionContext | None) -> tuple[Feed, int]:
        """Return a held feed and the position that it starts from."""
        ...


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What the gateway is made of. `tasks` belong to whoever closes them."""

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
    tasks: Tasks = field(default_factory=Tasks)


class _ConnectRefused(Exception):
    """No session; the message goes to the client."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Gateway:
    """All sessions of this process: a DueSource for those to expire, and a follower of every account's log.

    Follow the log after whoever caches identities: what an entry ends is looked up again from there.
    """

    def __init__(self, parts: GatewayParts, requests: Requests) -> None:
        self._parts = parts
        self._requests = requests
        self._live: dict[SessionId, LiveSession] = {}
        self._lost = LostSessions(
            parts.writer, parts.readers, parts.clock, parts.subscriptions, parts.limits.recovery_timeout_s
        )
        self._directory_changes = 0
        self._closed = False

    @property
    def session_count(self) -> int:
        """Sessions with an open socket."""
        return len(self._live)

    async def start(self) -> None:
        """Give the sessions that a previous run of this process held their recovery window, from now."""
        await self._lost.load(self._parts.name)

    async def connect(self, access_token: str, wsc: str | None, socket: Socket) -> LiveSession | None:
        """Open a session on a fresh socket; on refusal write an Error frame, close, and return None."""
        try:
            return await self._connect(access_token, wsc, socket)
        except _ConnectRefused as refused:
            _refuse(socket, refused)
        except TocsinError as away:
            log.warning("websocket.connect_failed", reason=str(away))
            _refuse(socket, _ConnectRefused(503, UNAVAILABLE, "Service Temporary Unavailable"))
        except Exception:
            log.exception("websocket.connect_failed")
            _refuse(socket, _ConnectRefused(500, FAILED, "Internal Server Error"))
        return None

    async def _connect(self, access_token: str, wsc: str | None, socket: Socket) -> LiveSession:
        if self._closed:
            raise _ConnectRefused(503, UNAVAILABLE, "The server is stopping")
        seen = self._directory_changes
        try:
            identity = await self._parts.tokens.redeem_websocket_token(access_token)
        except Unauthenticated as wrong:
            raise _ConnectRefused(401, NOT_AUTHENTICATED, str(wrong)) from wrong
        try:
            context = read_context(wsc, self._parts.key) if wsc else None
        except MalformedToken as wrong:
            raise _ConnectRefused(400, MALFORMED, "Malformed WebSocket session context token") from wrong
        taken = None if context is None else await self._take_over(context, identity)
        if isinstance(taken, SessionRow):
            live = await self._go_live(taken, identity, socket, context, (True, None))
        else:
            failure = None if taken is None else (False, taken)
            live = await self._go_live(await self._begin(identity), identity, socket, None, failure)
        if seen != self._directory_changes:  # its login may have ended while no entry could find this session
            self._parts.tasks.start(self._check_login(identity), "websocket.login")
        return live

    async def _begin(self, identity: Identity) -> SessionRow:
        """Store a new session."""
        row = SessionRow(
            account_id=identity.account_id,
            session_id=SessionId(secrets.token_hex(16)),
            oauth_session_id=identity.session_id,
            extension_id=identity.extension_id,
            client_id=identity.client_id,
            gateway=self._parts.name,
            epoch=1,
            created_ms=self._parts.clock.now_ms(),
            seq=0,
            disconnected_ms=None,
        )
        unit = Unit(row.account_id)
        unit.add(INSERT_SESSION, row.as_row())
        await self._parts.writer.apply(unit)
        return row

    async def _take_over(self, context: SessionContext, identity: Identity) -> SessionRow | str:
        """Raise the epoch of the session to recover, which ends any older holder; or the code of the failure."""
        row = await self._parts.readers.run(fetch_session, context.account_id, context.session_id)
        if row is None or row.account_id != identity.account_id or self._lost.is_over(row):
            return NOTHING_TO_RECOVER
        if row.oauth_session_id != identity.session_id:
            return OTHER_LOGIN
        if await self._parts.subscriptions.of_session(row.account_id, row.session_id) is None:
            return NOTHING_TO_RECOVER
        if context.before < await self._parts.readers.run(fetch_trimmed_to, row.account_id):
            return NOTHING_TO_RECOVER
        taken = row.taken_by(self._parts.name)
        unit = Unit(row.account_id, expects=[Expect("websocket_session", (row.session_id,), row.epoch)])
        unit.add(CONNECT_SESSION, (row.account_id, row.session_id, taken.epoch, taken.gateway))
        try:
            await self._parts.writer.apply(unit)
        except Stale:  # another connection was quicker, or it has just expired
            return NOTHING_TO_RECOVER
        self._lost.recovered(row.session_id)
        return taken

    async def _go_live(
        self,
        row: SessionRow,
        identity: Identity,
        socket: Socket,
        context: SessionContext | None,
        recovery: tuple[bool, str | None] | None,
    ) -> LiveSession:
        parts = self._parts
        session = WebSocketSession(identity, row.session_id, row.epoch, socket, parts.key, parts.clock, parts.times)
        try:
            feed, position = await parts.feeds.open(session, context)
        except Exception:
            await self._lost.add(row.account_id, row.session_id, row.epoch)
            raise
        live = LiveSession(session, feed, self._requests, parts.tasks, parts.limits.max_active_requests)
        older = self._live.pop(row.session_id, None)
        if older is not None:
            older.end(CLOSE_GOING_AWAY, "recovered on another connection")
        self._live[row.session_id] = live
        # A recovered session stands exactly where its token says, within a range: a client that is cut off again
        # before the next frame must come back with no less.
        place = Place(position, position, 0) if context is None else Place(context.before, context.last, context.done)
        session.details(place, parts.limits, recovery)
        socket.opened(live)
        if self._closed:
            live.end(CLOSE_GOING_AWAY, "server stops: reconnect and recover")
        await feed.release()
        return live

    async def disconnected(self, live: LiveSession) -> None:
        """The socket of `live` is gone: the recovery window opens."""
        session = live.session
        session.lost()
        live.feed.close()
        if self._live.get(session.session_id) is live:
            del self._live[session.session_id]
            await self._lost.add(session.account_id, session.session_id, session.epoch)

    def next_due_ms(self) -> int | None:
        """When the earliest recovery window closes."""
        return self._lost.next_due_ms()

    async def run_due(self) -> None:
        """Expire the sessions whose recovery window has closed, with what they subscribed to."""
        await self._lost.run_due()

    def tick(self) -> None:
        """Enforce the sockets' limits."""
        for live in list(self._live.values()):
            live.session.tick()

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """Look again at the logins that a change in the directory may have ended, or taken rights from."""
        changes = [entry for entry in entries if isinstance(entry, DirectoryChange)]
        if not changes:
            return
        self._directory_changes += 1
        concerned: dict[tuple[AccountId, SessionId], Identity] = {}
        for live in self._live.values():
            identity = live.session.identity
            if any(_concerns(change, account_id, identity) for change in changes):
                concerned[identity.account_id, identity.session_id] = identity
        for identity in concerned.values():
            self._parts.tasks.start(self._check_login(identity), "websocket.login")

    async def _check_login(self, identity: Identity) -> None:
        """Give the login's sessions its present rights, or end them. A refreshed login goes on."""
        try:
            current = await self._parts.tokens.identify(identity.account_id, identity.session_id)
        except Unauthenticated:
            self.end_login(identity.account_id, identity.session_id)
        except TocsinError:  # nobody can say now: they come back when somebody can
            for live in self._of_login(identity.account_id, identity.session_id):
                live.end(CLOSE_TRY_AGAIN, "reconnect and recover")
        else:
            for live in self._of_login(identity.account_id, identity.session_id):
                live.session.identity = current

    def end_login(self, account_id: AccountId, oauth_session_id: SessionId) -> None:
        """Close the sockets of a login that has ended."""
        for live in self._of_login(account_id, oauth_session_id):
            live.feed.close()
            live.session.fail(401, NOT_AUTHENTICATED, "The login of this session has ended", close_code=CLOSE_POLICY)

    def _of_login(self, account_id: AccountId, oauth_session_id: SessionId) -> list[LiveSession]:
        login = (account_id, oauth_session_id)
        return [
            live
            for live in self._live.values()
            if (live.session.identity.account_id, live.session.identity.session_id) == login
        ]

    def close(self) -> None:
        """Close all sockets so that they recover with the next process, and open none any more."""
        self._closed = True
        for live in list(self._live.values()):
            live.end(CLOSE_GOING_AWAY, "server stops: reconnect and recover")


def _concerns(change: DirectoryChange, account_id: AccountId, identity: Identity) -> bool:
    """Whether `change`, in the log of `account_id`, may end `identity` or change its rights."""
    if account_id == SYSTEM_ACCOUNT:
        return change.scope is DirectoryScope.APP and change.subject == identity.client_id
    if account_id != identity.account_id:
        return False
    match change.scope:
        case DirectoryScope.SESSION:
            return change.subject == identity.session_id
        case DirectoryScope.EXTENSION:
            return change.extension_id == identity.extension_id
        case DirectoryScope.ACCOUNT | DirectoryScope.APP:
            return True
        case DirectoryScope.NUMBER:
            return False
        case _:
            assert_never(change.scope)


def _refuse(socket: Socket, refused: _ConnectRefused) -> None:
    """Tell a client why it gets no session, and close."""
    socket.send(render_error(secrets.token_hex(16), refused.status, refused.code, str(refused)))
    socket.close(CLOSE_POLICY if refused.status < 500 else CLOSE_TRY_AGAIN, str(refused))
