"""Every RingCentral operation that we serve answers as RingCentral's own OpenAPI file says, success and error alike.

The file is not ours to ship, so the comparison is skipped where TOCSIN_REFERENCE names none. That each operation of the
route table is called here is checked always.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.openapi import assert_matches, assert_valid, component, operations
from tests.receiver import Behaviour, Receiver
from tests.sandbox import Sandbox
from tests.user import SUBSCRIPTIONS, User
from tocsin.api.call import Route
from tocsin.domain.clock import SystemClock
from tocsin.log.tail import LocalTail
from tocsin.server.settings import Settings
from tocsin.server.wiring import Surroundings, read_secrets, wire
from tocsin.storage.store import open_store
from tocsin.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
UNKNOWN_ID = "123456789"
ACCOUNT = "/restapi/v1.0/account/~"
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"
NOT_IN_THE_FILE = {"readAPIStatus"}
"""Served because SDKs and gateways ask it; RingCentral's file does not have it."""


@dataclass
class World:
    """Who calls, and whom."""

    sandbox: Sandbox
    ada: User
    uma: User
    receiver: Receiver

    async def get(self, path: str, **request: Any) -> httpx2.Response:
        return await self.ada.http.get(path, **request)

    async def arrived(self, **more: Any) -> str:
        """The id of an SMS that has just come for Ada."""
        [one] = await self.sandbox.receive_sms(OUTSIDE, [self.ada.number], "Hello", **more)
        return one["id"]

    async def subscribed(self) -> str:
        """The path of a subscription of Ada's."""
        made = await self.ada.subscribe(self.receiver.url, self.ada.store, self.ada.instant)
        return f"{SUBSCRIPTIONS}/{made['id']}"


@pytest.fixture
def world(sandbox: Sandbox, ada: User, uma: User, receiver: Receiver) -> World:
    return World(sandbox, ada, uma, receiver)


Calls = Callable[[World], Awaitable[list[httpx2.Response]]]
CALLS: dict[str, Calls] = {}


def operation(name: str) -> Callable[[Calls], Calls]:
    """Register the function that calls the operation in every way that matters, one answer each."""

    def register(calls: Calls) -> Calls:
        assert name not in CALLS
        CALLS[name] = calls
        return calls

    return register


@operation("readAPIVersions")
async def read_versions(world: World) -> list[httpx2.Response]:
    return [await world.get("/restapi")]


@operation("readAPIVersion")
async def read_version(world: World) -> list[httpx2.Response]:
    return [await world.get("/restapi/v1.0")]


@operation("getToken")
async def get_token(world: World) -> list[httpx2.Response]:
    control, env = world.sandbox.control, world.sandbox.env
    client = (env["RINGCENTRAL_CLIENT_ID"], env["RINGCENTRAL_CLIENT_SECRET"])
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": env["RINGCENTRAL_JWT_TOKEN"],
    }
    first = await control.post("/restapi/oauth/token", data=form, auth=client)
    refresh = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}
    return [
        first,
        await control.post("/restapi/oauth/token", data=refresh, auth=client),
        await control.post("/restapi/oauth/token", data={**form, "assertion": "no.such.thing"}, auth=client),
        await control.post("/restapi/oauth/token", data={"grant_type": "wish"}, auth=client),
        await control.post("/restapi/oauth/token", json=form, auth=client),
        await control.post("/restapi/oauth/token", data=form, auth=("nobody", "nothing")),
    ]


@operation("revokeToken")
async def revoke_token(world: World) -> list[httpx2.Response]:
    control, env = world.sandbox.control, world.sandbox.env
    client = (env["RINGCENTRAL_CLIENT_ID"], env["RINGCENTRAL_CLIENT_SECRET"])
    token = (await world.sandbox.token())["access_token"]
    return [
        await control.post("/restapi/oauth/revoke", data={"token": token}, auth=client),
        await control.post("/restapi/oauth/revoke", data={}, auth=client),
    ]


@operation("authWsToken")
async def get_websocket_token(world: World) -> list[httpx2.Response]:
    return [
        await world.ada.http.post("/restapi/oauth/wstoken"),
        await world.sandbox.control.post("/restapi/oauth/wstoken"),
    ]


@operation("readAccountInfo")
async def read_account(world: World) -> list[httpx2.Response]:
    return [await world.get(ACCOUNT), await world.get(f"/restapi/v1.0/account/{UNKNOWN_ID}")]


@operation("readExtension")
async def read_extension(world: World) -> list[httpx2.Response]:
    return [
        await world.get(world.ada.path),
        await world.get(world.uma.path),
        await world.uma.http.get(world.ada.path),
        await world.get(f"{ACCOUNT}/extension/{UNKNOWN_ID}"),
    ]


@operation("listExtensions")
async def list_extensions(world: World) -> list[httpx2.Response]:
    path = f"{ACCOUNT}/extension"
    return [
        await world.get(path),
        await world.get(path, params={"page": 2, "perPage": 1}),
        await world.get(path, params={"extensionNumber": "999"}),
        await world.get(path, params={"status": "Asleep"}),
    ]


@operation("listExtensionPhoneNumbers")
async def list_extension_numbers(world: World) -> list[httpx2.Response]:
    path = f"{world.ada.path}/phone-number"
    return [
        await world.get(path),
        await world.get(path, params={"usageType": "DirectNumber", "perPage": 1}),
        await world.get(f"{ACCOUNT}/extension/{UNKNOWN_ID}/phone-number"),
    ]


@operation("listAccountPhoneNumbers")
async def list_account_numbers(world: World) -> list[httpx2.Response]:
    path = f"{ACCOUNT}/phone-number"
    return [await world.get(path), await world.get(path, params={"usageType": "Imaginary"})]


@operation("createSMSMessage")
async def create_sms(world: World) -> list[httpx2.Response]:
    ada, path = world.ada, f"{world.ada.path}/sms"
    good = {"from": {"phoneNumber": ada.number}, "to": [{"phoneNumber": world.uma.number}], "text": "Hello"}
    return [
        await ada.http.post(path, json=good),
        await ada.http.post(path, json={**good, "to": [{"phoneNumber": OUTSIDE}, {"phoneNumber": world.uma.number}]}),
        await ada.http.post(path, json={**good, "to": []}),
        await world.uma.http.post(path, json=good),
    ]


@operation("createMMS")
async def create_mms(world: World) -> list[httpx2.Response]:
    ada, path = world.ada, f"{world.ada.path}/mms"
    document = f'{{"from":{{"phoneNumber":"{ada.number}"}},"to":[{{"phoneNumber":"{world.uma.number}"}}]}}'
    text_part, file_part = (None, document, "application/json"), ("dot.gif", GIF, "image/gif")
    return [
        await ada.http.post(path, files=[("json", text_part), ("attachment", file_part)]),
        await ada.http.post(path, files=[("json", text_part)]),
    ]


@operation("createInternalTextMessage")
async def create_pager(world: World) -> list[httpx2.Response]:
    path = f"{world.ada.path}/company-pager"
    return [
        await world.ada.http.post(path, json={"text": "Hello", "to": [{"extensionNumber": "102"}]}),
        await world.ada.http.post(path, json={"text": "Hello", "to": [{"extensionNumber": "999"}]}),
    ]


@operation("listMessages")
async def list_messages(world: World) -> list[httpx2.Response]:
    await world.arrived()
    await world.arrived(media=[{"contentType": "image/gif", "data": base64.b64encode(GIF).decode()}])
    store = world.ada.store
    return [
        await world.get(store),
        await world.get(store, params={"page": 2, "perPage": 1, "direction": "Inbound", "messageType": "SMS"}),
        await world.get(store, params={"phoneNumber": "+14155550000"}),
        await world.get(store, params={"direction": "Sideways"}),
        await world.get(world.uma.store),
        await world.uma.http.get(store),
    ]


@operation("readMessage")
async def read_message(world: World) -> list[httpx2.Response]:
    one, other, store = await world.arrived(), await world.arrived(), world.ada.store
    await world.ada.http.delete(f"{store}/{other}", params={"purge": "true"})
    return [
        await world.get(f"{store}/{one}"),
        await world.get(f"{store}/{other}"),
        await world.get(f"{store}/{UNKNOWN_ID}"),
        await world.get(
            f"{store}/{one},{UNKNOWN_ID}", headers={"Accept": "application/vnd.ringcentral.multipart+json"}
        ),
    ]


@operation("updateMessage")
async def update_message(world: World) -> list[httpx2.Response]:
    path = f"{world.ada.store}/{await world.arrived()}"
    return [
        await world.ada.http.put(path, json={"readStatus": "Read"}),
        await world.ada.http.put(path, json={"readStatus": "Skimmed"}),
    ]


@operation("deleteMessage")
async def delete_message(world: World) -> list[httpx2.Response]:
    path = f"{world.ada.store}/{await world.arrived()}"
    return [await world.ada.http.delete(path), await world.ada.http.delete(f"{world.ada.store}/{UNKNOWN_ID}")]


@operation("readMessageContent")
async def read_content(world: World) -> list[httpx2.Response]:
    path = f"{world.ada.store}/{await world.arrived()}/content"
    # What is downloaded is no JSON, so that only refusals can be compared.
    return [await world.get(f"{path}/{UNKNOWN_ID}"), await world.get(f"{world.ada.store}/1/content/1")]


@operation("createSubscription")
async def create_subscription(world: World) -> list[httpx2.Response]:
    hook = {"transportType": "WebHook", "address": world.receiver.url, "verificationToken": "a-token"}
    good = {"eventFilters": [world.ada.store, world.ada.instant], "deliveryMode": hook}
    async with Receiver() as poor:
        poor.on_handshake = lambda _: Behaviour(status=500)
        bad_hook = {**hook, "address": poor.url}
        return [
            await world.ada.http.post(SUBSCRIPTIONS, json={**good, "expiresIn": 3600}),
            await world.ada.http.post(SUBSCRIPTIONS, json={**good, "eventFilters": []}),
            await world.ada.http.post(SUBSCRIPTIONS, json={**good, "eventFilters": ["/restapi/v1.0/weather"]}),
            await world.ada.http.post(SUBSCRIPTIONS, json={**good, "deliveryMode": bad_hook}),
            await world.uma.http.post(SUBSCRIPTIONS, json=good),
        ]


@operation("listSubscriptions")
async def list_subscriptions(world: World) -> list[httpx2.Response]:
    empty = await world.get(SUBSCRIPTIONS)
    await world.subscribed()
    return [empty, await world.get(SUBSCRIPTIONS), await world.sandbox.control.get(SUBSCRIPTIONS)]


@operation("readSubscription")
async def read_subscription(world: World) -> list[httpx2.Response]:
    path = await world.subscribed()
    world.receiver.otherwise = lambda _: Behaviour(status=500)
    active = await world.get(path)
    await world.arrived()
    await world.receiver.next()
    await world.sandbox.advance(700)
    blacklisted = await world.get(path)
    assert blacklisted.json()["status"] == "Blacklisted"
    return [active, blacklisted, await world.get(f"{SUBSCRIPTIONS}/{UNKNOWN_ID}")]


@operation("updateSubscription")
async def update_subscription(world: World) -> list[httpx2.Response]:
    path = await world.subscribed()
    return [
        await world.ada.http.put(path, json={"eventFilters": [world.uma.store], "expiresIn": 600}),
        await world.ada.http.put(path, json={"eventFilters": ["nonsense"]}),
        await world.ada.http.put(f"{SUBSCRIPTIONS}/{UNKNOWN_ID}", json={}),
    ]


@operation("renewSubscription")
async def renew_subscription(world: World) -> list[httpx2.Response]:
    path = await world.subscribed()
    return [
        await world.ada.http.post(f"{path}/renew"),
        await world.ada.http.post(f"{SUBSCRIPTIONS}/{UNKNOWN_ID}/renew"),
    ]


@operation("deleteSubscription")
async def delete_subscription(world: World) -> list[httpx2.Response]:
    path = await world.subscribed()
    return [await world.ada.http.delete(path), await world.ada.http.delete(path)]


@pytest.mark.parametrize("name", CALLS)
async def test_its_answers_are_as_documented(name: str, world: World, reference: Path) -> None:
    for answer in await CALLS[name](world):
        try:
            check(reference, name, answer)
        except AssertionError as wrong:
            raise AssertionError(f"{name} {answer.status_code}: {wrong}\n{answer.text}") from wrong


def check(reference: Path, name: str, answer: httpx2.Response) -> None:
    """Fail unless the answer is as documented, or as we have a reason for."""
    match name, answer.status_code:
        case "readMessage", 200:
            # The file wants vmSideRecipients, one at least, of every message; only voicemails have them.
            assert_matches(reference, component("GetMessageInfoResponse"), answer.json())
        case "getToken", 415:
            # Documented without a body; every refusal of ours has one.
            assert_valid(reference, name, 400, answer.content)
        case "revokeToken", 200:
            # Documented without a body; SDKs parse what they get as JSON.
            assert answer.json() == {}
        case _, status:
            assert_valid(reference, name, status, answer.content)


async def route_table(folder: Path) -> list[Route]:
    """The routes of the whole server, put together as `tocsin dev` does."""
    clock, tail = SystemClock(), LocalTail()
    store = await open_store(folder, clock=clock, listener=tail)
    try:
        around = Surroundings(
            Settings(), True, clock, store, tail, Metrics(), lambda: "http://tocsin.example", "token", lambda: None
        )
        return list(wire(around, await read_secrets(store)).routes)
    finally:
        await store.close()


async def test_no_operation_is_served_that_is_not_called_here(tmp_path: Path) -> None:
    served = {route.operation for route in await route_table(tmp_path) if route.path.startswith("/restapi")}
    assert served - NOT_IN_THE_FILE == set(CALLS)


async def test_operations_are_where_the_file_has_them(tmp_path: Path, reference: Path) -> None:
    documented = operations(reference)
    for route in await route_table(tmp_path):
        if not route.path.startswith("/restapi") or route.operation in NOT_IN_THE_FILE:
            continue
        method, path = documented[route.operation]
        assert (route.method, route.path) == (method, path.replace("{apiVersion}", "v1.0"))
