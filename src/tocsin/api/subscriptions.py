"""The subscription resource: create, list, get, update, renew, cancel, over HTTP and through a WebSocket session.

Holds no rules: those are subscriptions/'s.
"""

from __future__ import annotations

from tocsin.api.call import Call, Reply, Route, json_reply
from tocsin.domain.clock import Clock
from tocsin.domain.ids import SessionId, SubscriptionId
from tocsin.subscriptions.manage import JudgedSubscription, NewSubscription, Subscriptions, SubscriptionUpdate
from tocsin.wire.subscriptions import (
    COLLECTION,
    CreateSubscriptionRequest,
    UpdateSubscriptionRequest,
    render_subscription,
    render_subscription_list,
)


class SubscriptionRoutes:
    """Handlers of RingCentral's subscription operations."""

    def __init__(self, subscriptions: Subscriptions, clock: Clock) -> None:
        self._subscriptions = subscriptions
        self._clock = clock

    def routes(self) -> list[Route]:
        """The lines of the route table."""
        one = COLLECTION + "/{subscriptionId}"
        return [
            Route("POST", COLLECTION, "createSubscription", self.create_subscription, group="medium"),
            Route("GET", COLLECTION, "listSubscriptions", self.list_subscriptions),
            Route("GET", one, "readSubscription", self.get_subscription),
            Route("PUT", one, "updateSubscription", self.update_subscription, group="medium"),
            Route("DELETE", one, "deleteSubscription", self.delete_subscription, group="medium"),
            Route("POST", one + "/renew", "renewSubscription", self.renew_subscription),
        ]

    async def create_subscription(self, call: Call) -> Reply:
        """RC: createSubscription; answers 200, not 201."""
        asked = call.decode(CreateSubscriptionRequest)
        wanted = NewSubscription(
            asked.event_filters,
            asked.delivery_mode.transport_type,
            asked.delivery_mode.address,
            asked.delivery_mode.token,
            asked.expires_in,
        )
        return self._reply(call, await self._subscriptions.create(call.caller, wanted, _session(call)))

    async def list_subscriptions(self, call: Call) -> Reply:
        """RC: listSubscriptions; those of this user through this app."""
        own = await self._subscriptions.list_own(call.caller)
        now_ms = self._clock.now_ms()
        records = (render_subscription(one.subscription, _base(call), now_ms, one.disabled) for one in own)
        return json_reply(render_subscription_list(records, _base(call)))

    async def get_subscription(self, call: Call) -> Reply:
        """RC: readSubscription."""
        return self._reply(call, await self._subscriptions.get(call.caller, _id(call)))

    async def update_subscription(self, call: Call) -> Reply:
        """RC: updateSubscription; an empty body renews."""
        # Some clients send the JSON literal null for "no body".
        empty = call.body.strip() in (b"", b"null")
        asked = UpdateSubscriptionRequest() if empty else call.decode(UpdateSubscriptionRequest)
        wanted = SubscriptionUpdate(asked.event_filters, asked.expires_in)
        return self._reply(call, await self._subscriptions.update(call.caller, _id(call), wanted, _session(call)))

    async def renew_subscription(self, call: Call) -> Reply:
        """RC: renewSubscription; a body, if any, says nothing."""
        return self._reply(call, await self._subscriptions.renew(call.caller, _id(call)))

    async def delete_subscription(self, call: Call) -> Reply:
        """RC: deleteSubscription; a body, if any, says nothing."""
        await self._subscriptions.cancel(call.caller, _id(call))
        return Reply(204)

    def _reply(self, call: Call, judged: JudgedSubscription) -> Reply:
        rendered = render_subscription(judged.subscription, _base(call), self._clock.now_ms(), judged.disabled)
        return json_reply(rendered)


def _base(call: Call) -> str:
    """What uris begin with: nothing over WebSocket, where RC's own captures show them relative."""
    return call.base_url if call.websocket_session is None else ""


def _id(call: Call) -> SubscriptionId:
    return SubscriptionId(call.params["subscriptionId"])


def _session(call: Call) -> SessionId | None:
    return None if call.websocket_session is None else SessionId(call.websocket_session)
