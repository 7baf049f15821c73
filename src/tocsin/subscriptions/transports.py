"""Which transport a subscription asks for, and whether this app may have it, this way.

Source: RC createSubscription, error code SUB-528; RC doc notifications/websockets for how WebSocket ones are made.
"""

from __future__ import annotations

from typing import Final

from tocsin.domain.directory import Identity, Scope
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.ids import SessionId
from tocsin.domain.subscription import TransportType

TRANSPORT_TYPE = "deliveryMode.transportType"

_SCOPES: Final[dict[TransportType, tuple[Scope, str]]] = {
    TransportType.WEBHOOK: (Scope.SUBSCRIPTION_WEBHOOK, "SubscriptionWebhook"),
    TransportType.WEBSOCKET: (Scope.WEBSOCKET, "SubscriptionWebSocket"),
}
"""The app permission that each transport needs, and its name in SUB-528."""

_NOT_SERVED = frozenset({"PubNub", "RC/APNS", "RC/GCM"})
"""RingCentral's other transports: each needs somebody else's service, which a self-hosted store can't stand in for."""


def read_transport(text: str | None) -> TransportType:
    """Return the transport that `text` names, or raise CMN-101, saying which there are."""
    try:
        return TransportType(text or "")
    except ValueError:
        detail = f": {text} is not served here; use WebHook or WebSocket" if text in _NOT_SERVED else ""
        raise InvalidParameter(
            f"Parameter [{TRANSPORT_TYPE}] value is invalid{detail}", parameter=TRANSPORT_TYPE, value=text
        ) from None


def check_transport(transport: TransportType, identity: Identity, session_id: SessionId | None) -> None:
    """Raise SUB-528 where the app lacks the transport's permission, CMN-101 for WebSocket outside a session."""
    scope, name = _SCOPES[transport]
    if scope not in identity.scopes:
        raise Refused(
            "SUB-528",
            f"[{name}] application permission is required for [{transport}] transport",
            parameter=TRANSPORT_TYPE,
            value=transport.value,
        )
    if transport is TransportType.WEBSOCKET and session_id is None:
        raise InvalidParameter(
            f"Parameter [{TRANSPORT_TYPE}] value is invalid: a WebSocket subscription is created through the "
            "WebSocket connection that it is for",
            parameter=TRANSPORT_TYPE,
            value=transport.value,
        )
