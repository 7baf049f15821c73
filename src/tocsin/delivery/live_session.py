"""A session with an open socket, and the reading of its frames: heartbeats echoed, requests answered by the API.

The feed is held while a request about subscriptions is under way, so that its answer is written before the first
notification. Knows no sockets and no store.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

from tocsin.delivery.websocket import WebSocketSession
from tocsin.domain.directory import Identity
from tocsin.domain.errors import Refused
from tocsin.domain.ids import SessionId
from tocsin.telemetry.logs import get_logger
from tocsin.telemetry.tasks import Tasks
from tocsin.wire.errors import render_error as render_rest_error
from tocsin.wire.frames import (
    ClientRequest,
    Heartbeat,
    MalformedFrame,
    parse_frame,
    render_error,
    render_heartbeat,
    render_reply,
)

log = get_logger(__name__)

MALFORMED = "WSG-400"


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


class LiveSession:
    """A session, its feed, and at most `max_active` requests under way."""

    def __init__(
        self, session: WebSocketSession, feed: Feed, requests: Requests, tasks: Tasks, max_active: int
    ) -> None:
        self.session = session
        self.feed = feed
        self._requests = requests
        self._tasks = tasks
        self._max_active = max_active
        self._active = 0

    def received(self, text: bytes) -> None:
        """Handle one text frame of the client's. A malformed one is told and costs nobody the session."""
        self.session.active()
        try:
            frame = parse_frame(text)
        except MalformedFrame as wrong:
            message_id = wrong.message_id or secrets.token_hex(16)
            self.session.reply(render_error(message_id, 400, MALFORMED, str(wrong)))
            return
        if isinstance(frame, Heartbeat):
            self.session.reply(render_heartbeat(frame.message_id))
        elif self._active >= self._max_active:
            # Our choice: no source names a code for more than maxActiveRequests.
            refusal = Refused("CMN-301", f"More than {self._max_active} active requests on this session")
            self._reply(frame, error_answer(refusal))
        else:
            self._active += 1
            self._tasks.start(self._serve(frame), "websocket.request")

    async def _serve(self, frame: ClientRequest) -> None:
        held = frame.method != "GET" and "/subscription" in frame.path
        if held:
            self.feed.hold()
        try:
            self._reply(frame, await self._answer(frame))
        finally:
            self._active -= 1
            if held:
                await self.feed.release()

    async def _answer(self, frame: ClientRequest) -> Answer:
        try:
            return await self._requests.answer(frame, self.session.identity, self.session.session_id)
        except Exception as unexpected:
            log.exception("websocket.request_failed", method=frame.method)
            return error_answer(unexpected)

    def _reply(self, frame: ClientRequest, answer: Answer) -> None:
        self.session.reply(render_reply(frame.message_id, answer.status, answer.headers, answer.body))

    def end(self, code: int, reason: str) -> None:
        """Close the socket and write nothing more; the session itself waits for its recovery."""
        self.feed.close()
        self.session.close(code, reason)


def error_answer(error: Exception) -> Answer:
    """The API's own error body for `error`."""
    rendered = render_rest_error(error)
    headers = {"Content-Type": "application/json;charset=UTF-8", "RCRequestId": secrets.token_hex(16)}
    return Answer(rendered.status, headers | dict(rendered.headers), rendered.body)
