"""WebSocket frames: every frame is a text message holding a JSON array `[meta]` or `[meta, body]`.

Source: RC doc notifications/websockets; the reference page websocket.md lists what the SDKs read. Bodies are spliced as
the bytes they already are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tocsin.wire.times import render_time

_encode = msgspec.json.encode


class MalformedFrame(ValueError):
    """The client sent something that is no frame; the message says what. `message_id` is the client's, where known."""

    def __init__(self, message: str, message_id: str = "") -> None:
        super().__init__(message)
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A REST request inside a frame. `body` is its JSON as sent, empty where there is none."""

    message_id: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life, to be echoed."""

    message_id: str


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What ConnectionDetails promises; all times in seconds."""

    max_connections: int = 50
    recovery_buffer: int = 100
    recovery_timeout_s: int = 180
    idle_timeout_s: int = 1800
    absolute_timeout_s: int = 86_400
    max_active_requests: int = 10


class _Meta(msgspec.Struct):
    type: str
    messageId: str = ""  # the wire's name
    method: str = "GET"
    path: str = ""
    query: dict[str, Any] | None = None
    headers: dict[str, Any] | None = None


_parts = msgspec.json.Decoder(list[msgspec.Raw])
_meta = msgspec.json.Decoder(_Meta)


def parse_frame(text: bytes) -> ClientRequest | Heartbeat:
    """Read a client's frame. Raises MalformedFrame."""
    try:
        parts = _parts.decode(text)
        meta = _meta.decode(parts[0])
    except (msgspec.MsgspecError, IndexError, UnicodeDecodeError) as wrong:
        raise MalformedFrame("a frame is a JSON array of meta and an optional body") from wrong
    if meta.type == "Heartbeat":
        return Heartbeat(meta.messageId)
    if meta.type != "ClientRequest":
        raise MalformedFrame("clients send ClientRequest and Heartbeat, nothing else", meta.messageId)
    if not meta.path.startswith("/"):
        raise MalformedFrame("path is missing or does not begin with /", meta.messageId)
    body = bytes(parts[1]) if len(parts) > 1 else b""
    headers = {name.lower(): str(value) for name, value in (meta.headers or {}).items()}
    return ClientRequest(
        meta.messageId,
        meta.method.upper(),
        meta.path,
        _flatten(meta.query or {}),
        headers,
        b"" if body == b"null" else body,
    )


def _flatten(query: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Scalars once, arrays repeated, what has no value left out: as the same query over HTTP would be."""
    return tuple(
        (name, _scalar(value))
        for name, values in query.items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None and value != ""
    )


def _scalar(value: Any) -> str:
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


def render_wsc(token: str, sequence: int) -> bytes:
    """The context token as it stands in a frame's meta."""
    return b'{"token":"%b","sequence":%d}' % (token.encode(), sequence)


def render_notification(uuid: str, request_id: str, wsc: bytes, envelope: bytes) -> bytes:
    """A ServerNotification; its messageId is the notification's uuid."""
    return (
        b'[{"type":"ServerNotification","messageId":"%b","status":200,"wsc":%b,"headers":{"RCRequestId":"%b"}},%b]'
        % (uuid.encode(), wsc, request_id.encode(), envelope)
    )


def render_connection_details(
    message_id: str,
    wsc: bytes,
    limits: SessionLimits,
    created_ms: int,
    recovery: tuple[bool, str | None] | None,
) -> bytes:
    """The first frame. `recovery` is None on a fresh connection, else (successful, error code of a failure)."""
    body: dict[str, object] = {
        "creationTime": render_time(created_ms),
        "maxConnectionsPerSession": limits.max_connections,
        "recoveryBufferSize": limits.recovery_buffer,
        "recoveryTimeout": limits.recovery_timeout_s,
        "idleTimeout": limits.idle_timeout_s,
        "absoluteTimeout": limits.absolute_timeout_s,
        "maxActiveRequests": limits.max_active_requests,
    }
    if recovery is not None:
        successful, code = recovery
        body["recoveryState"] = "Successful" if successful else "Failed"
        if code is not None:
            body["recoveryErrorCode"] = code
    meta = b'{"type":"ConnectionDetails","messageId":"%b","status":200,"wsc":%b,"headers":{"RCRequestId":"%b"}}' % (
        message_id.encode(),
        wsc,
        message_id.encode(),
    )
    return b"[%b,%b]" % (meta, _encode(body))


def render_reply(message_id: str, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """The answer to a ClientRequest; without a body it is a one-element array. A multipart body goes in as raw text."""
    meta = _encode({"type": "ClientRequest", "messageId": message_id, "status": status, "headers": headers})
    return b"[%b,%b]" % (meta, body) if body else b"[%b]" % meta


def render_heartbeat(message_id: str) -> bytes:
    """The echo of a heartbeat."""
    return _encode([{"type": "Heartbeat", "messageId": message_id}])


def render_error(message_id: str, status: int, code: str, message: str) -> bytes:
    """An Error frame, after which the connection is usually closed."""
    return _encode(
        [
            {"type": "Error", "messageId": message_id, "status": status, "headers": {"RCRequestId": message_id}},
            {"errorCode": code, "message": message},
        ]
    )
