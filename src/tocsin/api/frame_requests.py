"""REST inside frames, entering the same API as HTTP, as the session's own user.

Knows what frames can't carry and which headers the SDKs look for in their answers; knows no sockets.
Source: RC doc notifications/websockets; the SDKs' sources for `WSG-SubscriptionId`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from tocsin.api.call import Query, Reply
from tocsin.api.dispatch import Dispatcher, error_reply
from tocsin.api.request import Request, held_body, parse_query
from tocsin.delivery.live_session import Answer
from tocsin.domain.directory import Identity
from tocsin.domain.errors import Refused
from tocsin.domain.ids import SessionId
from tocsin.wire.errors import UnsupportedMediaType
from tocsin.wire.frames import ClientRequest
from tocsin.wire.subscriptions import COLLECTION

_OAUTH = "/restapi/oauth/"


class FrameRequests:
    """Answers the gateway's Requests. `base_url` says what absolute uris in bodies begin with."""

    def __init__(self, dispatcher: Dispatcher, base_url: Callable[[], str]) -> None:
        self._dispatcher = dispatcher
        self._base_url = base_url

    async def answer(self, frame: ClientRequest, identity: Identity, session_id: SessionId) -> Answer:
        """See Requests."""
        raw_path, _, query = frame.path.partition("?")
        request = Request(
            frame.method,
            unquote(raw_path),
            Query((*parse_query(query).pairs, *frame.query)),
            {"content-type": "application/json", **frame.headers},
            self._base_url(),
            held_body(frame.body),
            identity=identity,
            websocket_session=session_id,
        )
        reply = await self._reply(request)
        headers = {"RCRequestId": request.request_id, **dict(reply.headers)}
        if reply.body:
            headers["Content-Type"] = reply.content_type
        if 200 <= reply.status < 300 and (subscription_id := _subscription_id(request.path, reply.body)):
            headers["WSG-SubscriptionId"] = subscription_id
        return Answer(reply.status, headers, reply.body)

    async def _reply(self, request: Request) -> Reply:
        if request.path.startswith(_OAUTH):
            return error_reply(Refused("CMN-202", "Authorization is not available over WebSocket; use HTTP"))
        if request.headers["content-type"].startswith("multipart/form-data"):
            return error_reply(UnsupportedMediaType("Form data can't be sent over WebSocket; use HTTP"))
        reply = await self._dispatcher.dispatch(request)
        if reply.stream is None and reply.content_type.startswith(("application/json", "multipart/mixed")):
            return reply
        return error_reply(Refused("CMN-202", "Binary content is not available over WebSocket; use HTTP"))


class _Named(msgspec.Struct):
    id: str = ""


def _subscription_id(path: str, body: bytes) -> str:
    """The id of the one subscription that is answered about: the body's, or of a cancelled one the path's."""
    collection, _, rest = path.strip("/").partition(COLLECTION.strip("/"))
    if collection or (rest and not rest.startswith("/")):
        return ""
    named = msgspec.json.decode(body, type=_Named).id if body else ""
    return named or rest.strip("/").partition("/")[0]
