"""Subscriptions on the wire: the requests as clients send them, and SubscriptionInfo.

Unknown members of a request are ignored: SDKs repeat `deliveryMode` in updates, and old apps send members of transports
that are not served. The verification token goes in and never out.
Source: RC createSubscription, updateSubscription, SubscriptionInfo; captures for the relative `uri` over WebSocket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, assert_never

import msgspec

from tocsin.domain.subscription import DisabledFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.wire.times import render_time

COLLECTION: Final = "/restapi/v1.0/subscription"

_Seconds = Annotated[int, msgspec.Meta(ge=1)]


class DeliveryModeRequest(msgspec.Struct, rename="camel", frozen=True):
    """Where to deliver. `validation_token` is what the current documentation calls `verification_token`."""

    transport_type: str | None = None
    address: str | None = None
    verification_token: str | None = None
    validation_token: str | None = None

    @property
    def token(self) -> str | None:
        """What the receiver wants in each notification's Verification-Token header."""
        return self.validation_token if self.verification_token is None else self.verification_token


class CreateSubscriptionRequest(msgspec.Struct, rename="camel", frozen=True):
    """The body of createSubscription."""

    event_filters: tuple[str, ...]
    delivery_mode: DeliveryModeRequest
    expires_in: _Seconds | None = None


class UpdateSubscriptionRequest(msgspec.Struct, rename="camel", frozen=True):
    """The body of updateSubscription, as much of it as counts; an empty one renews."""

    event_filters: tuple[str, ...] | None = None
    expires_in: _Seconds | None = None


def render_subscription(
    subscription: Subscription, base_url: str, now_ms: int, disabled: Sequence[DisabledFilter] = ()
) -> dict[str, Any]:
    """Return SubscriptionInfo. `base_url` begins the uri: "" makes it relative, as WebSocket clients expect it.

    Filters in `disabled` are told apart from the others, which alone are subscribed to at present.
    """
    off = {one.filter.text for one in disabled}
    rendered: dict[str, Any] = {
        "uri": f"{base_url}{COLLECTION}/{subscription.subscription_id}",
        "id": subscription.subscription_id,
        "creationTime": render_time(subscription.created_ms),
        "expirationTime": render_time(subscription.expires_ms),
        # RC: expiresIn has a minimum of 1; the last second counts whole.
        "expiresIn": max(1, (subscription.expires_ms - now_ms) // 1000),
        "status": subscription.status.value,
        "eventFilters": [one.filter.text for one in subscription.current_filters if one.filter.text not in off],
        "deliveryMode": _delivery_mode(subscription),
    }
    if disabled:
        rendered["disabledFilters"] = [
            {"filter": one.filter.text, "reason": one.reason, "message": one.message} for one in disabled
        ]
    if subscription.status is SubscriptionStatus.BLACKLISTED and subscription.blacklisted_ms is not None:
        rendered["blacklistedData"] = {
            "blacklistedAt": render_time(subscription.blacklisted_ms),
            "reason": subscription.blacklist_reason or "",
        }
    return rendered


def render_subscription_list(records: Iterable[dict[str, Any]], base_url: str) -> dict[str, Any]:
    """Return the list of rendered subscriptions; RC gives it no paging."""
    return {"uri": f"{base_url}{COLLECTION}", "records": list(records)}


def _delivery_mode(subscription: Subscription) -> dict[str, Any]:
    match subscription.transport:
        case TransportType.WEBHOOK:
            return {
                "transportType": subscription.transport.value,
                "encryption": False,
                "address": subscription.address,
            }
        case TransportType.WEBSOCKET:
            return {"transportType": subscription.transport.value, "encryption": False}
        case _:
            assert_never(subscription.transport)
