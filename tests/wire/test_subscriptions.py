from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.goldens import Golden
from tests.openapi import assert_matches, component
from tests.subscribing import ACCOUNT, ADDRESS, ADMIN_STORE, START_MS, USER, USER_STORE
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import ClientId, Seq, SessionId, SubscriptionId
from tocsin.domain.subscription import (
    DisabledFilter,
    StoredFilter,
    Subscription,
    SubscriptionStatus,
    TransportType,
)
from tocsin.wire.subscriptions import (
    CreateSubscriptionRequest,
    UpdateSubscriptionRequest,
    render_subscription,
    render_subscription_list,
)

BASE = "https://tocsin.example"
STORE = parse_event_filter(f"{USER_STORE}?direction=Inbound&type=SMS", ACCOUNT, USER)
OTHER = parse_event_filter(ADMIN_STORE, ACCOUNT, USER)
WEBHOOK = Subscription(
    account_id=ACCOUNT,
    subscription_id=SubscriptionId("0f6f8f2e-4a0b-4d3e-9a51-6a1f2c3d4e5f"),
    owner=USER,
    client_id=ClientId("app"),
    transport=TransportType.WEBHOOK,
    status=SubscriptionStatus.ACTIVE,
    created_ms=START_MS + 7,
    expires_ms=START_MS + 604_800_007,
    lifetime_s=604_800,
    modified_seq=Seq(9),
    filters=(StoredFilter(1, OTHER, Seq(1), Seq(4)), StoredFilter(2, STORE, Seq(4), None)),
    address=ADDRESS,
    verification_token="a secret that must not come out",
)
WEBSOCKET = replace(
    WEBHOOK,
    transport=TransportType.WEBSOCKET,
    expires_ms=START_MS + 86_400_007,
    address=None,
    verification_token=None,
    session_id=SessionId("websocket-1"),
)
BLACKLISTED = replace(
    WEBHOOK,
    status=SubscriptionStatus.BLACKLISTED,
    blacklisted_ms=START_MS + 600_000,
    blacklist_reason="Webhook responses with code: [404], reason: [Not Found]",
)
BOTH = replace(WEBHOOK, filters=(*WEBHOOK.filters, StoredFilter(3, OTHER, Seq(4), None)))
DISABLED = (DisabledFilter(OTHER, "SUB-405", "Not allowed subscribe for messages to other extensions"),)
NOW_MS = START_MS + 8

CASES: dict[str, dict[str, Any]] = {
    "webhook": render_subscription(WEBHOOK, BASE, NOW_MS),
    "websocket": render_subscription(WEBSOCKET, "", NOW_MS),
    "blacklisted": render_subscription(BLACKLISTED, BASE, NOW_MS),
    "disabled-filters": render_subscription(BOTH, BASE, NOW_MS, DISABLED),
}


@pytest.mark.parametrize("name", CASES)
def test_a_subscription_is_rendered_as_its_golden_file(name: str, golden: Golden) -> None:
    golden(f"subscription/{name}", CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_a_subscription_is_what_ringcentral_documents(name: str, reference: Path) -> None:
    assert_matches(reference, component("SubscriptionInfo"), CASES[name])


def test_the_list_is_rendered_as_its_golden_file(golden: Golden) -> None:
    golden("subscription/list", render_subscription_list([CASES["webhook"], CASES["blacklisted"]], BASE))


def test_the_list_is_what_ringcentral_documents(reference: Path) -> None:
    rendered = render_subscription_list([CASES["webhook"]], BASE)
    assert_matches(reference, component("SubscriptionListResource"), rendered)


@pytest.mark.parametrize("name", CASES)
def test_the_verification_token_never_comes_out(name: str) -> None:
    assert b"secret" not in msgspec.json.encode(CASES[name])


@pytest.mark.parametrize("left_ms, seconds", [(60_000, 60), (59_999, 59), (1_000, 1), (999, 1), (0, 1)])
def test_seconds_left_are_whole_and_at_least_one(left_ms: int, seconds: int) -> None:
    assert render_subscription(WEBHOOK, BASE, WEBHOOK.expires_ms - left_ms)["expiresIn"] == seconds


def test_replaced_filters_are_not_shown() -> None:
    assert CASES["webhook"]["eventFilters"] == [STORE.text]


def test_a_request_is_read_with_members_that_are_not_served() -> None:
    body = {
        "eventFilters": ["/x"],
        "expiresIn": 60,
        "colour": "red",
        "deliveryMode": {
            "transportType": "WebHook",
            "address": ADDRESS,
            "verificationToken": "v",
            "encryption": "true",
            "registrationId": "r",
        },
    }
    asked = msgspec.json.decode(msgspec.json.encode(body), type=CreateSubscriptionRequest)
    assert (asked.event_filters, asked.expires_in) == (("/x",), 60)
    assert (asked.delivery_mode.transport_type, asked.delivery_mode.address) == ("WebHook", ADDRESS)


@pytest.mark.parametrize(
    "members, token",
    [
        ({}, None),
        ({"verificationToken": "v"}, "v"),
        ({"validationToken": "w"}, "w"),
        ({"verificationToken": "v", "validationToken": "w"}, "v"),
    ],
)
def test_both_names_of_the_token_are_understood(members: dict[str, str], token: str | None) -> None:
    body = {"eventFilters": ["/x"], "deliveryMode": members}
    asked = msgspec.json.decode(msgspec.json.encode(body), type=CreateSubscriptionRequest)
    assert asked.delivery_mode.token == token


def test_an_update_ignores_all_but_filters_and_lifetime() -> None:
    body = {"eventFilters": ["/x"], "expiresIn": 5, "deliveryMode": {"transportType": 7}}
    asked = msgspec.json.decode(msgspec.json.encode(body), type=UpdateSubscriptionRequest)
    assert asked == UpdateSubscriptionRequest(("/x",), 5)
    assert msgspec.json.decode(b"{}", type=UpdateSubscriptionRequest) == UpdateSubscriptionRequest()
