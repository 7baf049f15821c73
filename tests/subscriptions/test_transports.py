from __future__ import annotations

import pytest

from tests.subscribing import ALL_SCOPES, SESSION, identity
from tocsin.domain.directory import Scope
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.subscription import TransportType
from tocsin.subscriptions.transports import check_transport, read_transport


@pytest.mark.parametrize("transport", TransportType)
def test_the_wires_words_are_read(transport: TransportType) -> None:
    assert read_transport(transport.value) is transport


@pytest.mark.parametrize("text", [None, "", "webhook", "Carrier pigeon"])
def test_any_other_word_is_an_invalid_parameter(text: str | None) -> None:
    with pytest.raises(InvalidParameter) as refused:
        read_transport(text)
    assert str(refused.value) == "Parameter [deliveryMode.transportType] value is invalid"
    assert refused.value.parameter == "deliveryMode.transportType"


@pytest.mark.parametrize("text", ["PubNub", "RC/APNS", "RC/GCM"])
def test_ringcentrals_other_transports_are_refused_with_what_to_use(text: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{text} is not served here; use WebHook or WebSocket"):
        read_transport(text)


@pytest.mark.parametrize(
    "transport, scope, message",
    [
        (
            TransportType.WEBHOOK,
            Scope.SUBSCRIPTION_WEBHOOK,
            "[SubscriptionWebhook] application permission is required for [WebHook] transport",
        ),
        (
            TransportType.WEBSOCKET,
            Scope.WEBSOCKET,
            "[SubscriptionWebSocket] application permission is required for [WebSocket] transport",
        ),
    ],
)
def test_each_transport_needs_its_app_permission(transport: TransportType, scope: Scope, message: str) -> None:
    check_transport(transport, identity(scopes=frozenset({scope})), SESSION)
    with pytest.raises(Refused) as refused:
        check_transport(transport, identity(scopes=ALL_SCOPES - {scope}), SESSION)
    assert (refused.value.code, str(refused.value)) == ("SUB-528", message)


def test_websocket_is_only_for_sessions() -> None:
    check_transport(TransportType.WEBHOOK, identity(), None)
    with pytest.raises(InvalidParameter, match="created through the WebSocket connection"):
        check_transport(TransportType.WEBSOCKET, identity(), None)
