from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.goldens import Golden
from tests.openapi import assert_valid
from tests.subscribing import (
    ADDRESS,
    ADMIN,
    ADMIN_STORE,
    ALL_SCOPES,
    INSTANT,
    SESSION,
    STORE,
    USER,
    USER_STORE,
    World,
    extension,
    identity,
    open_world,
)
from tocsin.api.app import make_app
from tocsin.api.call import Query, Reply
from tocsin.api.dispatch import Dispatcher
from tocsin.api.request import BaseUrl, Request, held_body
from tocsin.api.subscriptions import SubscriptionRoutes
from tocsin.domain.directory import ExtensionStatus, Identity, Role, Scope
from tocsin.domain.errors import Unauthenticated
from tocsin.domain.handshake import (
    BadCertificate,
    HandshakeResult,
    InvalidResponse,
    NotReturned,
    RefusedAddress,
    Unreachable,
    WrongStatus,
)
from tocsin.domain.ids import SessionId
from tocsin.subscriptions.blacklisting import Blacklisting
from tocsin.subscriptions.manage import NewSubscription

pytestmark = pytest.mark.anyio

BASE = "https://tocsin.example"
PATH = "/restapi/v1.0/subscription"
IDENTITIES = {
    "user": identity(),
    "admin": identity(ADMIN),
    "other-app": identity(client_id="other"),
    "no-messages": identity(scopes=ALL_SCOPES - {Scope.READ_MESSAGES}),
    "no-transports": identity(scopes=frozenset({Scope.READ_MESSAGES})),
}

Body = dict[str, Any]


async def authenticate(token: str) -> Identity:
    if token not in IDENTITIES:
        raise Unauthenticated("OAU-213", "Token not found")
    return IDENTITIES[token]


@dataclass(frozen=True, slots=True)
class Served:
    """The subscriptions of one company behind HTTP, and behind a WebSocket session."""

    world: World
    dispatcher: Dispatcher
    client: httpx2.AsyncClient

    async def ask(
        self, method: str, path: str = "", body: Body | bytes | None = None, token: str = "user"
    ) -> httpx2.Response:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self.client.request(method, PATH + path, content=content, headers=headers)

    async def ask_in_session(self, method: str, path: str = "", body: Body | None = None) -> Reply:
        request = Request(
            method,
            PATH + path,
            Query(),
            {"content-type": "application/json"},
            "",
            held_body(b"" if body is None else json.dumps(body).encode()),
            identity=IDENTITIES["user"],
            websocket_session=SESSION,
        )
        return await self.dispatcher.dispatch(request)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    async with open_world(tmp_path) as world:
        routes = SubscriptionRoutes(world.subscriptions, world.clock).routes()
        dispatcher = Dispatcher(routes, authenticate=authenticate, find_account=world.people.account, admin_token=None)
        transport = httpx2.ASGITransport(make_app(dispatcher, BaseUrl(BASE)))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Served(world, dispatcher, client)


def webhook(*filters: str, **changes: object) -> Body:
    mode = {"transportType": "WebHook", "address": ADDRESS, "verificationToken": "secret"}
    return {"eventFilters": list(filters or (STORE,)), "deliveryMode": mode, **changes}


def with_mode(**changes: object) -> Body:
    body = webhook()
    mode = {key: value for key, value in {**body["deliveryMode"], **changes}.items() if value is not None}
    return {**body, "deliveryMode": mode}


# --- what goes well


async def test_create_answers_200_with_what_was_made(served: Served, golden: Golden) -> None:
    answer = await served.ask("POST", body=webhook(STORE, INSTANT, expiresIn=3600))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json;charset=UTF-8")
    golden("subscription/create", answer.json())
    assert "secret" not in answer.text
    assert (await served.ask("GET", "/sub-1")).json() == answer.json()


async def test_a_slash_at_the_end_is_no_other_resource(served: Served) -> None:
    made = await served.ask("POST", "/", webhook())
    assert made.status_code == 200
    assert (await served.ask("GET", "/sub-1/")).json() == made.json()
    assert (await served.ask("GET", "/")).json()["records"] == [made.json()]
    assert (await served.ask("PUT", "/sub-1/", {})).status_code == 200
    assert (await served.ask("POST", "/sub-1/renew/")).status_code == 200
    assert (await served.ask("DELETE", "/sub-1/")).status_code == 204


async def test_the_list_holds_the_callers_own(served: Served) -> None:
    assert (await served.ask("GET")).json() == {"uri": f"{BASE}{PATH}", "records": []}
    first = (await served.ask("POST", body=webhook())).json()
    await served.ask("POST", body=webhook(), token="admin")
    await served.ask("POST", body=webhook(), token="other-app")
    second = (await served.ask("POST", body=webhook(INSTANT))).json()
    assert (await served.ask("GET")).json()["records"] == [first, second]


async def test_an_update_replaces_filters_and_lifetime_and_nothing_else(served: Served) -> None:
    made = (await served.ask("POST", body=webhook(expiresIn=60))).json()
    elsewhere = {"transportType": "WebSocket", "address": "https://elsewhere.example/"}
    answer = await served.ask("PUT", "/sub-1", {"eventFilters": [INSTANT], "expiresIn": 600, "deliveryMode": elsewhere})
    assert answer.status_code == 200
    assert answer.json() == {
        **made,
        "eventFilters": [f"{USER_STORE}/instant?type=SMS"],
        "expiresIn": 600,
        "expirationTime": "2027-01-15T08:10:00.000Z",
    }


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b" "])
async def test_an_update_without_a_body_renews(served: Served, body: bytes) -> None:
    made = (await served.ask("POST", body=webhook(expiresIn=60))).json()
    served.world.clock.advance(30)
    answer = await served.ask("PUT", "/sub-1", body)
    assert answer.json() == {**made, "expirationTime": "2027-01-15T08:01:30.000Z"}


@pytest.mark.parametrize("body", [None, {}, b"null", b"not JSON"])
async def test_renew_and_cancel_read_no_body(served: Served, body: Body | bytes | None) -> None:
    await served.ask("POST", body=webhook(expiresIn=60))
    served.world.clock.advance(30)
    assert (await served.ask("POST", "/sub-1/renew", body)).json()["expiresIn"] == 60
    gone = await served.ask("DELETE", "/sub-1", body)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await served.ask("GET", "/sub-1")).status_code == 404


async def test_a_blacklisted_one_says_so(served: Served, golden: Golden) -> None:
    await served.ask("POST", body=webhook())
    world = served.world
    await Blacklisting(world.store.writer, world.store.readers, world.clock).blacklist(
        await world.stored("sub-1"), "I/O operation is failed. Details: [Read timed out]"
    )
    golden("subscription/get-blacklisted", (await served.ask("GET", "/sub-1")).json())


async def test_filters_that_the_owner_lost_the_right_to_are_shown_apart(served: Served) -> None:
    await served.ask("POST", body=webhook())
    served.world.people.change(extension(USER, Role.USER))
    shown = (await served.ask("GET", "/sub-1")).json()
    assert shown["eventFilters"] == []
    assert shown["disabledFilters"] == [
        {"filter": USER_STORE, "reason": "SUB-412", "message": "Extension permission [ReadMessages] is missing"}
    ]


async def test_over_a_websocket_uris_are_relative(served: Served, golden: Golden) -> None:
    body = {"eventFilters": [STORE], "deliveryMode": {"transportType": "WebSocket"}}
    made = await served.ask_in_session("POST", "/", body)
    assert made.status == 200
    golden("subscription/create-websocket", json.loads(made.body))
    updated = await served.ask_in_session("PUT", "/sub-1", {**body, "eventFilters": [INSTANT]})
    assert json.loads(updated.body)["eventFilters"] == [f"{USER_STORE}/instant?type=SMS"]
    assert json.loads((await served.ask_in_session("GET")).body)["uri"] == PATH
    gone = await served.ask_in_session("DELETE", "/sub-1")
    assert (gone.status, gone.body) == (204, b"")


async def test_answers_are_what_ringcentral_documents(served: Served, reference: Path) -> None:
    made = await served.ask("POST", body=webhook())
    assert_valid(reference, "createSubscription", 200, made.content)
    for operation, answer in [
        ("listSubscriptions", await served.ask("GET")),
        ("readSubscription", await served.ask("GET", "/sub-1")),
        ("updateSubscription", await served.ask("PUT", "/sub-1", {"eventFilters": [INSTANT]})),
        ("renewSubscription", await served.ask("POST", "/sub-1/renew")),
        ("deleteSubscription", await served.ask("DELETE", "/sub-1")),
        ("readSubscription", await served.ask("GET", "/sub-1")),
        ("createSubscription", await served.ask("POST", body=webhook("/nonsense"))),
    ]:
        assert_valid(reference, operation, answer.status_code, answer.content)


# --- what is refused: each code of the operation, its whole body, and no change


REFUSED: dict[str, tuple[str, Body | bytes, int]] = {
    "no-body": ("user", b"", 400),
    "not-json": ("user", b"{", 400),
    "no-filters": ("user", {"deliveryMode": webhook()["deliveryMode"]}, 400),
    "empty-filters": ("user", {**webhook(), "eventFilters": []}, 400),
    "filters-no-list": ("user", {**webhook(), "eventFilters": STORE}, 400),
    "unknown-filter": ("user", webhook(STORE, "/restapi/v1.0/account/~/extension/~/presence"), 400),
    "no-delivery-mode": ("user", {"eventFilters": [STORE]}, 400),
    "no-transport": ("user", with_mode(transportType=None), 400),
    "unknown-transport": ("user", with_mode(transportType="Pigeon"), 400),
    "pubnub": ("user", with_mode(transportType="PubNub"), 400),
    "websocket-over-http": ("user", with_mode(transportType="WebSocket"), 400),
    "no-address": ("user", with_mode(address=None), 400),
    "bad-address": ("user", with_mode(address="not a url"), 400),
    "plain-http": ("user", with_mode(address="http://receiver.example/"), 400),
    "bad-token": ("user", with_mode(verificationToken="a\r\nb"), 400),
    "zero-lifetime": ("user", webhook(expiresIn=0), 400),
    "lifetime-no-number": ("user", webhook(expiresIn="soon"), 400),
    "other-mailbox": ("user", webhook(ADMIN_STORE), 403),
    "other-account": ("admin", webhook("/restapi/v1.0/account/7/extension/~/message-store"), 403),
    "unknown-extension": ("admin", webhook("/restapi/v1.0/account/~/extension/7/message-store"), 403),
    "no-transport-scope": ("no-transports", webhook(), 403),
    "no-messages-scope": ("no-messages", webhook(), 403),
    "no-login": ("expired", webhook(), 401),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_not_be_made_is_refused_as_its_golden_file(served: Served, golden: Golden, name: str) -> None:
    token, body, status = REFUSED[name]
    answer = await served.ask("POST", body=body, token=token)
    assert answer.status_code == status
    golden(f"errors/subscription-{name}", answer.json())
    assert served.world.listener.commits == []
    assert served.world.handshakes.asked == []


@pytest.mark.parametrize(
    "name, result",
    [
        ("token-not-returned", NotReturned()),
        ("unreachable", Unreachable("the receiver did not answer within 3 s")),
        ("wrong-status", WrongStatus(500)),
        ("bad-certificate", BadCertificate("the certificate has expired")),
        ("invalid-response", InvalidResponse("the answer is larger than 1024 bytes")),
        ("refused-address", RefusedAddress("10.0.0.7 is not on the public internet")),
    ],
)
async def test_a_failed_handshake_is_refused_as_its_golden_file(
    served: Served, golden: Golden, name: str, result: HandshakeResult
) -> None:
    served.world.handshakes.result = result
    answer = await served.ask("POST", body=webhook())
    assert answer.status_code == 400
    golden(f"errors/subscription-{name}", answer.json())
    assert served.world.listener.commits == []


async def test_who_may_not_read_messages_may_not_subscribe(served: Served, golden: Golden) -> None:
    served.world.people.change(extension(USER, Role.USER))
    answer = await served.ask("POST", body=webhook())
    assert answer.status_code == 403
    golden("errors/subscription-no-permission", answer.json())


async def test_who_is_not_enabled_may_not_subscribe(served: Served, golden: Golden) -> None:
    disabled = replace(extension(USER, Role.ADMIN), status=ExtensionStatus.DISABLED)
    served.world.people.change(disabled)
    answer = await served.ask("POST", body=webhook())
    assert answer.status_code == 400
    golden("errors/subscription-disabled-owner", answer.json())


async def test_the_thirty_first_is_refused(served: Served, golden: Golden) -> None:
    for _ in range(30):
        assert (await served.ask("POST", body=webhook())).status_code == 200
    answer = await served.ask("POST", body=webhook())
    assert answer.status_code == 403
    golden("errors/subscription-limit", answer.json())


async def test_nobody_elses_subscription_is_found(served: Served, golden: Golden) -> None:
    await served.ask("POST", body=webhook())
    for token, path in [("admin", "/sub-1"), ("other-app", "/sub-1"), ("user", "/sub-2")]:
        for method, form in [("GET", path), ("PUT", path), ("DELETE", path), ("POST", f"{path}/renew")]:
            answer = await served.ask(method, form, b"", token)
            assert answer.status_code == 404
            golden("errors/subscription-not-found", answer.json())
    assert len(served.world.listener.commits) == 1


async def test_a_websocket_one_is_not_updated_from_elsewhere(served: Served, golden: Golden) -> None:
    body = {"eventFilters": [STORE], "deliveryMode": {"transportType": "WebSocket"}}
    await served.ask_in_session("POST", "", body)
    answer = await served.ask("PUT", "/sub-1", {"eventFilters": [INSTANT]})
    assert answer.status_code == 405
    golden("errors/subscription-update-over-http", answer.json())
    assert (await served.world.stored("sub-1")).modified_seq == 1


async def test_one_of_a_session_that_is_over_has_expired(served: Served, golden: Golden) -> None:
    body = {"eventFilters": [STORE], "deliveryMode": {"transportType": "WebSocket"}}
    wanted = NewSubscription((STORE,), "WebSocket")
    await served.world.subscriptions.create(identity(), wanted, SessionId("an-earlier-one"))
    answer = await served.ask_in_session("PUT", "/sub-1", body)
    assert answer.status == 404
    golden("errors/subscription-of-other-session", json.loads(answer.body))


async def test_a_method_that_the_resource_lacks_is_refused(served: Served) -> None:
    assert (await served.ask("PATCH", "/sub-1")).status_code == 405
    assert (await served.ask("DELETE")).status_code == 405
