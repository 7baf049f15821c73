"""RingCentral's published Python SDK, unmodified, against `tocsin dev`: the whole journey of an integrator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ringcentral import SDK
from ringcentral.http.api_exception import ApiException
from ringcentral.websocket.events import WebSocketEvents

from tests.peers.told import Arrived, check_events
from tests.receiver import Receiver
from tests.sandbox import Sandbox, running_sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.sdk]

OUTSIDE = "+16508974563"
SENDER = {
    "phoneNumber": OUTSIDE,
    "location": "California",
    "name": "Ada Lovelace",
    "phoneNumberInfo": {"countryCode": "1", "nationalDestinationCode": "650", "subscriberNumber": "8974563"},
}
STORE = "/restapi/v1.0/account/~/extension/~/message-store"
PATIENCE_S = 15


def new_sdk(sandbox: Sandbox, jwt: str = "RINGCENTRAL_JWT_TOKEN") -> Any:
    """The SDK, logged in. Its calls block: they run in threads here."""
    env = sandbox.env
    sdk = SDK(env["RINGCENTRAL_CLIENT_ID"], env["RINGCENTRAL_CLIENT_SECRET"], env["RINGCENTRAL_SERVER_URL"])
    sdk.platform().login(jwt=env[jwt])
    return sdk


@asynccontextmanager
async def listening(sdk: Any, filters: list[str]) -> AsyncIterator[asyncio.Queue[Any]]:
    """The SDK's own WebSocket client, subscribed; yields its notifications as it hands them out."""
    notifications: asyncio.Queue[Any] = asyncio.Queue()
    created: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    client = sdk.create_web_socket_client()
    client.on(WebSocketEvents.receiveSubscriptionNotification, notifications.put_nowait)
    client.on(WebSocketEvents.subscriptionCreated, lambda one: None if created.done() else created.set_result(one))
    running: list[asyncio.Task[Any]] = []
    client.on(
        WebSocketEvents.connectionCreated,
        lambda _: running.append(asyncio.ensure_future(client.create_subscription(filters))),
    )
    running.append(asyncio.ensure_future(client.create_new_connection()))
    await asyncio.wait_for(created, PATIENCE_S)
    try:
        yield notifications
    finally:
        await client.close_connection()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_receives_lists_downloads_and_reads_an_sms(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        sdk = await asyncio.to_thread(new_sdk, sandbox)
        platform = sdk.platform()
        own = sandbox.env["RINGCENTRAL_SENDER"]
        filters = [f"{STORE}/instant?type=SMS", STORE]
        async with listening(sdk, filters) as notifications:
            [stored] = await sandbox.receive_sms(OUTSIDE, [own], "Hello from outside", fromName="Ada Lovelace")
            envelopes = []
            for _ in filters:
                meta, envelope = await asyncio.wait_for(notifications.get(), PATIENCE_S)
                assert meta["type"] == "ServerNotification"
                assert meta["messageId"] == envelope["uuid"]
                envelopes.append(envelope)
            subscription_id = envelopes[0]["subscriptionId"]
            kept = await asyncio.to_thread(
                lambda: platform.get(f"/restapi/v1.0/subscription/{subscription_id}").json_dict()
            )
            assert kept["deliveryMode"]["transportType"] == "WebSocket"
            arrived = Arrived(stored, SENDER, own, "Hello from outside", sandbox.url)
            instant = check_events(envelopes, subscription_id, arrived)

            listed = await asyncio.to_thread(lambda: platform.get(STORE, {"messageType": "SMS"}).json_dict())
            assert [record["id"] for record in listed["records"]] == [int(stored["id"])]
            assert listed["records"][0]["from"]["name"] == "Ada Lovelace"
            for uri in (instant["attachments"][0]["uri"], listed["records"][0]["attachments"][0]["uri"]):
                content = await asyncio.to_thread(platform.get, uri)
                assert content.body() == b"Hello from outside"

            await asyncio.to_thread(platform.put, f"{STORE}/{stored['id']}", {"readStatus": "Read"})
            _, updated = await asyncio.wait_for(notifications.get(), PATIENCE_S)
            assert updated["body"]["changes"] == [{"type": "SMS", "newCount": 0, "updatedCount": 1}]


async def test_webhook_subscription_hears_an_inbound_sms(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox, Receiver() as receiver:
        platform = (await asyncio.to_thread(new_sdk, sandbox)).platform()
        wanted = {
            "eventFilters": [f"{STORE}/instant?type=SMS", STORE],
            "deliveryMode": {"transportType": "WebHook", "address": receiver.url},
        }
        created = await asyncio.to_thread(lambda: platform.post("/restapi/v1.0/subscription", wanted).json_dict())
        own = sandbox.env["RINGCENTRAL_SENDER"]
        [stored] = await sandbox.receive_sms(OUTSIDE, [own], "Grüße", fromName="Ada Lovelace")
        envelopes = [(await receiver.next()).json() for _ in created["eventFilters"]]
        check_events(envelopes, created["id"], Arrived(stored, SENDER, own, "Grüße", sandbox.url))


async def test_webhook_subscription_hears_an_outbound_sms(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox, Receiver() as receiver:
        platform = (await asyncio.to_thread(new_sdk, sandbox)).platform()
        created = await asyncio.to_thread(
            lambda: platform.post(
                "/restapi/v1.0/subscription",
                {
                    "eventFilters": [STORE],
                    "deliveryMode": {
                        "transportType": "WebHook",
                        "address": receiver.url,
                        "verificationToken": "for-your-eyes",
                    },
                },
            ).json_dict()
        )
        assert created["status"] == "Active"
        assert len(receiver.handshakes) == 1
        env = sandbox.env
        sent = await asyncio.to_thread(
            lambda: platform.post(
                "/restapi/v1.0/account/~/extension/~/sms",
                {
                    "from": {"phoneNumber": env["RINGCENTRAL_SENDER"]},
                    "to": [{"phoneNumber": env["RINGCENTRAL_RECEIVER"]}],
                    "text": "Hello inside",
                },
            ).json_dict()
        )
        assert sent["messageStatus"] == "Queued"
        first = await receiver.next()
        assert first.headers["verification-token"] == "for-your-eyes"
        [change] = first.json()["body"]["changes"]
        assert change["newMessageIds"] == [sent["id"]]

        other = (await asyncio.to_thread(new_sdk, sandbox, "RINGCENTRAL_RECEIVER_JWT_TOKEN")).platform()
        while True:
            delivered = await asyncio.to_thread(lambda: platform.get(f"{STORE}/{sent['id']}").json_dict())
            if delivered["messageStatus"] == "Delivered":
                break
            await receiver.next()
        arrived = await asyncio.to_thread(lambda: other.get(STORE).json_dict())
        assert [record["subject"] for record in arrived["records"]] == ["Hello inside"]


async def test_refreshes_and_revokes(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        platform = (await asyncio.to_thread(new_sdk, sandbox)).platform()
        before = platform.auth().access_token()
        await asyncio.to_thread(platform.refresh)
        assert platform.auth().access_token() != before
        me = await asyncio.to_thread(lambda: platform.get("/restapi/v1.0/account/~/extension/~").json_dict())
        assert me["extensionNumber"] == "101"
        token = platform.auth().access_token()
        await asyncio.to_thread(platform.logout)
        client = await sandbox.login()
        refused = await client.get(STORE, headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 401
        await client.aclose()


async def test_errors_reach_the_user(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        platform = (await asyncio.to_thread(new_sdk, sandbox)).platform()
        with pytest.raises(ApiException) as refused:
            await asyncio.to_thread(platform.post, "/restapi/v1.0/account/~/extension/~/sms", {"text": "to nobody"})
        body = json.loads(refused.value.api_response().body())
        assert refused.value.api_response().response().status_code == 400
        assert body["errors"][0]["errorCode"] == "CMN-101"
