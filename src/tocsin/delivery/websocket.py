"""One WebSocket session as the server holds it: what is written to its socket, in which order, and until when.

It knows frames and time limits; it reads no messages, cuts no notifications (its feed does) and opens no sockets (the
edge does).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tocsin.delivery.wsc import SessionContext, sign_context
from tocsin.domain.clock import Clock
from tocsin.domain.directory import Identity
from tocsin.domain.ids import AccountId, SessionId
from tocsin.wire.frames import (
    SessionLimits,
    render_connection_details,
    render_error,
    render_notification,
    render_wsc,
)

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_POLICY = 1008
CLOSE_TRY_AGAIN = 1013


class Place(NamedTuple):
    """Where a session stands: `done` notifications of `before` < seq <= `last` are written, and all up to `before`."""

    before: int
    last: int
    done: int


class Connection(Protocol):
    """The socket, as the edge answers it."""

    def send(self, frame: bytes) -> None:
        """Put one text frame into the write buffer."""
        ...

    def ping(self) -> None:
        """Send a protocol ping; the answer is reported by `WebSocketSession.alive`."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, give the client a moment to answer it, and end the socket."""
        ...


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """Limits on a socket's life, in seconds of monotonic time."""

    idle_s: float = 1800
    absolute_s: float = 86_400
    ping_every_s: float = 30
    pong_within_s: float = 10
    write_stalled_s: float = 30


class WebSocketSession:
    """A session with an open socket; recovered, it is a new object with the same id and a higher epoch."""

    def __init__(
        self,
        identity: Identity,
        session_id: SessionId,
        epoch: int,
        connection: Connection,
        key: bytes,
        clock: Clock,
        times: SessionTimes,
    ) -> None:
        self.identity = identity
        self.session_id = session_id
        self.epoch = epoch
        self.open = True
        self._connection = connection
        self._key = key
        self._clock = clock
        self._times = times
        # Not from 0: a client that has to begin anew, without recovery, keeps its old token until it sees a higher
        # sequence (@rc-ex/ws), and would come back with the wrong one.
        self._sequence = clock.now_ms()
        now = clock.monotonic()
        self._opened = self._active = self._pinged = now
        self._pong_due: float | None = None
        self._stalled_since: float | None = None

    @property
    def account_id(self) -> AccountId:
        """The account of its user."""
        return self.identity.account_id

    @property
    def writable(self) -> bool:
        """Whether the socket takes more: its write buffer is the only bound on what is in flight."""
        return self.open and self._stalled_since is None

    def details(self, place: Place, limits: SessionLimits, recovery: tuple[bool, str | None] | None) -> None:
        """Write the first frame. `place` is where the session stands; see wire.frames for `recovery`."""
        message_id = secrets.token_hex(16)
        frame = render_connection_details(message_id, self._wsc(place), limits, self._clock.now_ms(), recovery)
        self._connection.send(frame)

    def reply(self, frame: bytes) -> None:
        """Write the answer to a request or a heartbeat."""
        if self.open:
            self._connection.send(frame)

    def notify(self, uuid: str, envelope: bytes, before: int, last: int, done: int) -> None:
        """Write one notification of the range `before` < seq <= `last`, of which `done` are then written.

        It counts as activity: @rc-ex/ws sends no heartbeat while frames arrive.
        """
        if self.open:
            wsc = self._wsc(Place(before, last, done))
            self._connection.send(render_notification(uuid, secrets.token_hex(16), wsc, envelope))
            self.active()

    def _wsc(self, place: Place) -> bytes:
        self._sequence += 1
        context = SessionContext(self.account_id, self.session_id, self.epoch, *place)
        return render_wsc(sign_context(context, self._key), self._sequence)

    def active(self) -> None:
        """A frame went either way (heartbeats count, protocol pings don't): the idle limit starts anew."""
        self._active = self._clock.monotonic()

    def alive(self) -> None:
        """Anything at all came, a pong included."""
        self._pong_due = None

    def stalled(self) -> None:
        """The write buffer is full."""
        self._stalled_since = self._clock.monotonic()

    def drained(self) -> None:
        """The write buffer takes more again."""
        self._stalled_since = None

    def tick(self) -> None:
        """Ping, and close what has outlived a limit. Called every few seconds for all sessions by one timer."""
        now = self._clock.monotonic()
        if self._stalled_since is not None and now - self._stalled_since >= self._times.write_stalled_s:
            self.close(CLOSE_TRY_AGAIN, "too slow: reconnect and recover")
        elif now - self._opened >= self._times.absolute_s:
            self.fail(408, "WSG-903", "Absolute timeout expired")
        elif now - self._active >= self._times.idle_s:
            self.fail(408, "WSG-902", "Idle timeout expired")
        elif self._pong_due is not None and now >= self._pong_due:
            self.close(CLOSE_POLICY, "no pong")
        elif self._pong_due is None and now - self._pinged >= self._times.ping_every_s:
            self._pinged = now
            self._pong_due = now + self._times.pong_within_s
            self._connection.ping()

    def fail(self, status: int, code: str, message: str, *, close_code: int = CLOSE_NORMAL) -> None:
        """Write an Error frame, then close."""
        if self.open:
            self._connection.send(render_error(secrets.token_hex(16), status, code, message))
            self.close(close_code, message)

    def give_up(self) -> None:
        """Close because its notifications can't go on here: the client recovers from what it has seen."""
        self.close(CLOSE_TRY_AGAIN, "notifications interrupted: reconnect and recover")

    def close(self, code: int, reason: str) -> None:
        """End the socket; the session itself waits for its recovery."""
        if self.open:
            self.open = False
            self._connection.close(code, reason)

    def lost(self) -> None:
        """The socket is gone."""
        self.open = False
