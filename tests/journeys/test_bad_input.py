"""Bad input: each gets RingCentral's own error, with the parameter's name, and changes nothing.

`nothing_changes` compares mailboxes and subscriptions before and after, and lets one good message through at the end:
the next event that anyone hears must be of that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.receiver import Behaviour, Receiver
from tests.refusals import assert_refused
from tests.sandbox import Sandbox
from tests.user import SUBSCRIPTIONS, User

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
INBOUND = "/tocsin/v1/inbound/sms"
HOOK = {"transportType": "WebHook", "address": "http://127.0.0.1:9/hook"}
UNKNOWN_ID = "123456789"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Bad:
    """A request and the error that it must get. Paths begin at the extension's unless they begin with a slash."""

    method: str
    path: str
    status: int
    code: str
    parameter: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)


def sms(code: str, parameter: str | None, status: int = 400, /, **body: Any) -> Bad:
    """A request to send an SMS."""
    return Bad("POST", "sms", status, code, parameter, {"json": body})


def subscription(code: str, parameter: str | None, status: int = 400, /, **body: Any) -> Bad:
    return Bad("POST", SUBSCRIPTIONS, status, code, parameter, {"json": body})


def inbound(code: str, parameter: str | None, status: int = 400, /, **body: Any) -> Bad:
    return Bad("POST", INBOUND, status, code, parameter, {"json": body})


@pytest.fixture
async def nothing_changes(sandbox: Sandbox, ada: User, uma: User, receiver: Receiver) -> AsyncIterator[None]:
    async with undisturbed(sandbox, ada, uma, receiver):
        yield


@asynccontextmanager
async def undisturbed(sandbox: Sandbox, ada: User, uma: User, receiver: Receiver) -> AsyncIterator[None]:
    await ada.subscribe(receiver.url, ada.store, uma.store)
    before = [await everything(user) for user in (ada, uma)]
    yield
    assert [await everything(user) for user in (ada, uma)] == before
    marker = await sandbox.receive_sms(OUTSIDE, [ada.number, uma.number], "after all that")
    told = {}
    for _ in marker:
        body = (await receiver.next()).json()["body"]
        [told[body["extensionId"]]] = body["changes"]
    assert told == {
        one["extensionId"]: {"type": "SMS", "newCount": 1, "updatedCount": 0, "newMessageIds": [int(one["id"])]}
        for one in marker
    }


async def everything(user: User) -> dict[str, Any]:
    """All of a mailbox, deleted messages too, and the subscriptions, without what passing time changes in them."""
    listed = await user.ask("GET", user.store, params={"availability": "Alive,Deleted,Purged", "perPage": 1000})
    subscriptions = [{**one, "expiresIn": None} for one in await user.subscriptions()]
    return {"messages": listed["records"], "paging": listed["paging"], "subscriptions": subscriptions}


async def refuse(http: httpx2.AsyncClient, base: str, *cases: Bad) -> None:
    for bad in cases:
        path = bad.path if bad.path.startswith("/") else f"{base}/{bad.path}"
        answer = await http.request(bad.method, path, **bad.request)
        try:
            assert_refused(answer, bad.status, bad.code, bad.parameter)
        except AssertionError as wrong:
            raise AssertionError(f"{bad}: {wrong}") from wrong


@pytest.mark.usefixtures("nothing_changes")
async def test_what_can_not_be_sent(ada: User, uma: User, bob: User) -> None:
    own, to = {"phoneNumber": ada.number}, [{"phoneNumber": OUTSIDE}]
    await refuse(
        ada.http,
        ada.path,
        sms("CMN-101", "to", **{"from": own}, text="to nobody"),
        sms("CMN-101", "to", **{"from": own}, to=[], text="to nobody"),
        sms("CMN-101", "to", **{"from": own}, to=OUTSIDE, text="not a list"),
        sms("CMN-101", "to[0].phoneNumber", **{"from": own}, to=[{"phoneNumber": 14155550123}], text="a number"),
        sms("CMN-101", "to.phoneNumber", **{"from": own}, to=[{"phoneNumber": "+1415"}], text="too short"),
        sms("CMN-101", "to.phoneNumber", **{"from": own}, to=[{"phoneNumber": "+1415555012345678"}], text="too long"),
        sms("CMN-101", "to.phoneNumber", **{"from": own}, to=[{"phoneNumber": "call me"}], text="words"),
        sms("CMN-101", "to.phoneNumber", **{"from": own}, to=[{}], text="an empty recipient"),
        sms("MSG-247", "to.phoneNumber", **{"from": own}, to=[{"phoneNumber": "102"}], text="an extension"),
        sms("CMN-101", "from", to=to, text="from nobody"),
        sms("CMN-101", "from.phoneNumber", **{"from": {"phoneNumber": "me"}}, to=to, text="from a word"),
        sms("MSG-304", "from.phoneNumber", 403, **{"from": {"phoneNumber": uma.number}}, to=to, text="not hers"),
        sms("MSG-245", "from.phoneNumber", **{"from": {"phoneNumber": bob.number}}, to=to, text="another's"),
        sms("CMN-101", "text", **{"from": own}, to=to),
        sms("CMN-101", "text", **{"from": own}, to=to, text="x" * 1001),
        sms("CMN-101", "text", **{"from": own}, to=to, text=7),
        sms("MSG-381", "to", **{"from": own}, to=to * 11, text="to too many"),
        sms("MSG-240", "to.phoneNumber", 403, **{"from": own}, to=[{"phoneNumber": "+442079460000"}], text="abroad"),
        Bad("POST", "sms", 400, "CMN-101", "to", {}),
        Bad("POST", "sms", 400, "CMN-103", None, {"content": b'{"to": [', "headers": JSON}),
        Bad("POST", "sms", 400, "CMN-103", None, {"content": b'{"text": "\xff"}', "headers": JSON}),
        Bad("POST", "sms", 400, "CMN-101", "body", {"json": ["a list"]}),
        Bad("POST", "sms", 415, "CMN-104", None, {"content": b"<sms/>", "headers": {"Content-Type": "text/xml"}}),
        Bad("POST", "sms", 413, "CMN-104", None, {"content": bytes(11_000_000), "headers": JSON}),
        Bad("POST", "mms", 400, "CMN-101", "attachments", {"json": {"from": own, "to": to, "text": "no file"}}),
        Bad("POST", "company-pager", 400, "CMN-101", "to", {"json": {"text": "to nobody"}}),
        Bad("POST", "company-pager", 400, "CMN-102", "to", {"json": {"text": "?", "to": [{"extensionNumber": "999"}]}}),
        Bad("POST", "company-pager", 400, "CMN-102", "to", {"json": {"text": "?", "to": [{"extensionId": "1"}]}}),
    )


@pytest.mark.usefixtures("nothing_changes")
async def test_what_is_not_there(sandbox: Sandbox, ada: User, bob: User) -> None:
    [kept] = await sandbox.receive_sms(OUTSIDE, [bob.number], "for Bob alone")
    foreign, own = f"{bob.store}/{kept['id']}", f"/restapi/v1.0/account/{ada.account_id}"
    await refuse(
        ada.http,
        ada.path,
        Bad("GET", f"message-store/{UNKNOWN_ID}", 404, "CMN-102", "messageId"),
        Bad("GET", f"message-store/{kept['id']}", 404, "CMN-102", "messageId"),
        Bad("GET", "message-store/first", 404, "CMN-102", "messageId"),
        Bad("GET", f"message-store/{10**30}", 404, "CMN-102", "messageId"),
        Bad("PUT", f"message-store/{UNKNOWN_ID}", 404, "CMN-102", "messageId", {"json": {"readStatus": "Read"}}),
        Bad("DELETE", f"message-store/{UNKNOWN_ID}", 404, "CMN-102", "messageId"),
        Bad("GET", f"message-store/{UNKNOWN_ID}/content/{UNKNOWN_ID}", 404, "CMN-102", "messageId"),
        Bad("GET", f"{SUBSCRIPTIONS}/{UNKNOWN_ID}", 404, "CMN-102", "subscriptionId"),
        Bad("PUT", f"{SUBSCRIPTIONS}/{UNKNOWN_ID}", 404, "CMN-102", "subscriptionId", {"json": {}}),
        Bad("POST", f"{SUBSCRIPTIONS}/{UNKNOWN_ID}/renew", 404, "CMN-102", "subscriptionId"),
        Bad("DELETE", f"{SUBSCRIPTIONS}/{UNKNOWN_ID}", 404, "CMN-102", "subscriptionId"),
        Bad("GET", f"{own}/extension/{UNKNOWN_ID}/message-store", 404, "CMN-102", "extensionId"),
        Bad("GET", f"{own}/extension/{bob.extension_id}/message-store", 404, "CMN-102", "extensionId"),
        Bad("GET", bob.store, 404, "CMN-102", "accountId"),
        Bad("GET", foreign, 404, "CMN-102", "accountId"),
        Bad("PUT", foreign, 404, "CMN-102", "accountId", {"json": {"readStatus": "Read"}}),
        Bad("DELETE", foreign, 404, "CMN-102", "accountId"),
        Bad("POST", f"{bob.path}/sms", 404, "CMN-102", "accountId", {"json": {}}),
        Bad("GET", f"/restapi/v1.0/account/{UNKNOWN_ID}", 404, "CMN-102", "accountId"),
        Bad("GET", "/restapi/v1.0/account/~/nothing", 404, "CMN-120"),
        Bad("GET", "/restapi/v9", 404, "CMN-120"),
        Bad("GET", "/nothing/here", 404, "AGW-404"),
    )
    assert (await bob.message(kept["id"]))["readStatus"] == "Unread"


@pytest.mark.usefixtures("nothing_changes")
async def test_an_extension_is_its_own(ada: User, uma: User) -> None:
    await refuse(
        uma.http,
        ada.path,
        Bad("GET", "message-store", 403, "CMN-419"),
        Bad("POST", "sms", 403, "CMN-419", None, {"json": {}}),
    )
    await refuse(ada.http, uma.path, Bad("POST", "sms", 403, "CMN-419", None, {"json": {}}))


@pytest.mark.usefixtures("nothing_changes")
async def test_what_can_not_be_asked_of_messages(sandbox: Sandbox, ada: User) -> None:
    newest = (await ada.messages())[:1] or [{"id": UNKNOWN_ID}]
    message = f"message-store/{newest[0]['id']}"

    def listed(**query: str) -> Bad:
        return Bad("GET", "message-store", 400, "CMN-101", next(iter(query)), {"params": query})

    await refuse(
        ada.http,
        ada.path,
        listed(direction="Sideways"),
        listed(messageType="Telegram"),
        listed(readStatus="Skimmed"),
        listed(availability="Perhaps"),
        listed(dateFrom="yesterday"),
        listed(page="0"),
        listed(perPage="many"),
        listed(distinctConversations="maybe"),
        Bad("PUT", message, 400, "CMN-101", "readStatus", {"json": {"readStatus": "Skimmed"}}),
        Bad("PUT", message, 400, "CMN-101", "readStatus", {"json": {}}),
        Bad("PUT", message, 400, "CMN-101", "readStatus"),
        Bad("PUT", message, 400, "CMN-103", None, {"content": b"Read", "headers": JSON}),
        Bad("DELETE", message, 400, "CMN-101", "purge", {"params": {"purge": "a little"}}),
    )


@pytest.mark.usefixtures("nothing_changes")
async def test_what_can_not_be_subscribed_to(ada: User, uma: User, bob: User) -> None:
    foreign = f"/restapi/v1.0/account/{ada.account_id}/extension/{UNKNOWN_ID}/message-store"
    await refuse(
        ada.http,
        "",
        subscription("CMN-101", "eventFilters", deliveryMode=HOOK),
        subscription("CMN-101", "eventFilters", eventFilters=[], deliveryMode=HOOK),
        subscription("CMN-101", "eventFilters", eventFilters=ada.store, deliveryMode=HOOK),
        subscription("CMN-101", "eventFilters[0]", eventFilters=[7], deliveryMode=HOOK),
        subscription("SUB-508", "eventFilters", eventFilters=["/restapi/v1.0/weather"], deliveryMode=HOOK),
        subscription("SUB-508", "eventFilters", eventFilters=[f"{ada.store}?type=Telegram"], deliveryMode=HOOK),
        subscription("SUB-508", "eventFilters", eventFilters=[f"{ada.store}/instant?type=Fax"], deliveryMode=HOOK),
        subscription("SUB-508", "eventFilters", eventFilters=[ada.store, "?"], deliveryMode=HOOK),
        subscription("SUB-406", "eventFilters", 403, eventFilters=[bob.store], deliveryMode=HOOK),
        subscription("SUB-408", "eventFilters", 403, eventFilters=[foreign], deliveryMode=HOOK),
        subscription("CMN-101", "deliveryMode", eventFilters=[ada.store]),
        subscription("CMN-101", "deliveryMode.transportType", eventFilters=[ada.store], deliveryMode={}),
        subscription(
            "CMN-101",
            "deliveryMode.transportType",
            eventFilters=[ada.store],
            deliveryMode={**HOOK, "transportType": "Pigeon"},
        ),
        subscription(
            "CMN-101", "deliveryMode.address", eventFilters=[ada.store], deliveryMode={"transportType": "WebHook"}
        ),
        subscription(
            "CMN-101",
            "deliveryMode.address",
            eventFilters=[ada.store],
            deliveryMode={**HOOK, "address": "ftp://files"},
        ),
        subscription(
            "CMN-101",
            "deliveryMode.address",
            eventFilters=[ada.store],
            deliveryMode={**HOOK, "address": "http://10.1.2.3/hook"},
        ),
        subscription("CMN-101", "expiresIn", eventFilters=[ada.store], deliveryMode=HOOK, expiresIn=0),
        subscription("CMN-101", "expiresIn", eventFilters=[ada.store], deliveryMode=HOOK, expiresIn="long"),
        subscription("SUB-521", "deliveryMode.address", eventFilters=[ada.store], deliveryMode=HOOK),
        Bad("POST", SUBSCRIPTIONS, 400, "CMN-103", None, {"content": b"{]", "headers": JSON}),
        Bad("POST", SUBSCRIPTIONS, 400, "CMN-101", "eventFilters", {}),
        Bad("POST", SUBSCRIPTIONS, 413, "CMN-104", None, {"content": bytes(11_000_000), "headers": JSON}),
    )
    await refuse(
        uma.http,
        "",
        subscription("SUB-405", "eventFilters", 403, eventFilters=[ada.store], deliveryMode=HOOK),
    )


HANDSHAKES: dict[str, tuple[Behaviour, str, int]] = {
    "answers too slowly": (Behaviour(until=asyncio.Event()), "SUB-521", 400),
    "answers 500": (Behaviour(status=500, reason="Broken"), "SUB-522", 400),
    "answers 302": (Behaviour(status=302, reason="Elsewhere", headers={"Location": "/other"}), "SUB-522", 400),
    "does not return the token": (Behaviour(echo=False), "SUB-520", 400),
    "returns another token": (Behaviour(echo=False, headers={"Validation-Token": "mine"}), "SUB-520", 400),
    "answers with 2 KB": (Behaviour(body=b"x" * 2048), "SUB-525", 400),
    "hangs up": (Behaviour(drop=True), "SUB-521", 400),
    "speaks no HTTP": (Behaviour(raw=b"220 mail ready\r\n\r\n"), "SUB-525", 400),
}


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("receiver_that", HANDSHAKES)
async def test_a_receiver_that_fails_the_handshake(ada: User, receiver_that: str) -> None:
    behaviour, code, status = HANDSHAKES[receiver_that]
    async with Receiver() as poor:
        poor.on_handshake = lambda _: behaviour
        answer = await ada.http.post(
            SUBSCRIPTIONS,
            json={
                "eventFilters": [ada.store],
                "deliveryMode": {"transportType": "WebHook", "address": poor.url, "verificationToken": "a-secret"},
            },
            timeout=30,
        )
        assert_refused(answer, status, code, "deliveryMode.address")
        assert len(poor.handshakes) == 1
        assert poor.received == []


@pytest.mark.usefixtures("nothing_changes")
async def test_who_is_not_logged_in(sandbox: Sandbox, ada: User, uma: User) -> None:
    async with httpx2.AsyncClient(base_url=sandbox.url) as nobody:
        for method, path, code, headers in (
            ("GET", ada.store, "AGW-401", {}),
            ("POST", f"{ada.path}/sms", "AGW-401", {}),
            ("POST", SUBSCRIPTIONS, "AGW-401", {}),
            ("POST", "/restapi/oauth/wstoken", "AGW-401", {}),
            ("GET", ada.store, "AGW-402", {"Authorization": "Bearer"}),
            ("GET", ada.store, "AGW-402", {"Authorization": "Basic YTpi"}),
            ("GET", ada.store, "AGW-402", {"Authorization": "token"}),
            ("GET", ada.store, "OAU-149", {"Authorization": "Bearer not-a-token"}),
            ("GET", f"{ada.store}?access_token=not-a-token", "OAU-149", {}),
            ("POST", INBOUND, "AGW-401", {}),
            ("POST", INBOUND, "AGW-402", {"Authorization": "Bearer not-the-admin's"}),
            ("POST", INBOUND, "AGW-402", {"Authorization": ada.http.headers["authorization"]}),
            ("GET", "/tocsin/v1/attempts", "AGW-401", {}),
            ("POST", "/tocsin/v1/clock/advance", "AGW-401", {}),
        ):
            answer = await nobody.request(method, path, headers=headers, json={} if method == "POST" else None)
            assert_refused(answer, 401, code)
        admin = {"Authorization": sandbox.control.headers["authorization"]}
        assert (await nobody.get(ada.store, headers=admin)).status_code == 401


@pytest.mark.usefixtures("nothing_changes")
async def test_a_revoked_token(sandbox: Sandbox, ada: User) -> None:
    env, gone = sandbox.env, await sandbox.login()
    token = gone.headers["authorization"].removeprefix("Bearer ")
    await gone.post(
        "/restapi/oauth/revoke",
        data={"token": token},
        auth=(env["RINGCENTRAL_CLIENT_ID"], env["RINGCENTRAL_CLIENT_SECRET"]),
    )
    assert_refused(await gone.get(ada.store), 401, "OAU-213")
    assert_refused(await gone.post(f"{ada.path}/sms", json=good_sms(ada)), 401, "OAU-213")
    await gone.aclose()


async def test_an_expired_token(sandbox: Sandbox, ada: User) -> None:
    await sandbox.advance(3601)
    assert_refused(await ada.http.get(ada.store), 401, "OAU-128")
    assert_refused(await ada.http.post(f"{ada.path}/sms", json=good_sms(ada, "too late")), 401, "OAU-128")
    assert_refused(await ada.http.post(SUBSCRIPTIONS, json={}), 401, "OAU-128")
    again = await sandbox.login()
    newest = (await again.get(ada.store, params={"direction": "Outbound"})).json()["records"][:1]
    assert [one.get("subject") for one in newest] != ["too late"]
    await again.aclose()


def good_sms(user: User, text: str = "fine") -> dict[str, Any]:
    return {"from": {"phoneNumber": user.number}, "to": [{"phoneNumber": OUTSIDE}], "text": text}


@pytest.mark.usefixtures("nothing_changes")
async def test_what_can_not_come_in(sandbox: Sandbox, ada: User) -> None:
    to, png = [ada.number], {"contentType": "image/png", "fileName": "a.png", "data": "bm90IGEgcG5n"}
    await refuse(
        sandbox.control,
        "",
        inbound("CMN-101", "to", **{"from": OUTSIDE}, text="to nobody"),
        inbound("CMN-101", "to", **{"from": OUTSIDE}, to=[], text="to nobody"),
        inbound("CMN-101", "to", **{"from": OUTSIDE}, to=ada.number, text="not a list"),
        inbound("CMN-101", "to", **{"from": OUTSIDE}, to=["+1650"], text="too short"),
        inbound("CMN-101", "to", **{"from": OUTSIDE}, to=[ada.number, "nobody"], text="a word"),
        inbound("CMN-102", "to", 404, **{"from": OUTSIDE}, to=["+14155550199"], text="nobody here"),
        inbound("CMN-101", "from", to=to, text="from nobody"),
        inbound("CMN-101", "from", **{"from": ""}, to=to, text="from nobody"),
        inbound("CMN-101", "from", **{"from": "a friend"}, to=to, text="from a word"),
        inbound("CMN-101", "text", **{"from": OUTSIDE}, to=to),
        inbound("CMN-101", "text", **{"from": OUTSIDE}, to=to, text=None),
        inbound("CMN-101", "media[0].data", **{"from": OUTSIDE}, to=to, media=[{**png, "data": "not base64!"}]),
        inbound("MSG-348", "media", 415, **{"from": OUTSIDE}, to=to, media=[png]),
        Bad("POST", INBOUND, 400, "CMN-103", None, {"content": b"from=me", "headers": JSON}),
        Bad("POST", INBOUND, 413, "CMN-104", None, {"content": bytes(11_000_000), "headers": JSON}),
        Bad("POST", INBOUND, 400, "CMN-101", "from"),
        Bad("POST", "/tocsin/v1/clock/advance", 400, "CMN-101", "seconds", {"json": {"seconds": -1}}),
        Bad("POST", "/tocsin/v1/clock/advance", 400, "CMN-101", "seconds", {"json": {"seconds": "long"}}),
        Bad("POST", "/tocsin/v1/clock/advance", 400, "CMN-101", "seconds", {"json": {}}),
    )


@pytest.mark.usefixtures("nothing_changes")
async def test_methods_that_a_resource_does_not_have(ada: User) -> None:
    for method, path, allowed in (
        ("DELETE", SUBSCRIPTIONS, "GET, HEAD, OPTIONS, POST"),
        ("GET", f"{ada.path}/sms", "OPTIONS, POST"),
        ("POST", ada.store, "GET, HEAD, OPTIONS"),
        ("PATCH", f"{ada.store}/1", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ):
        answer = await ada.http.request(method, path)
        assert_refused(answer, 405, "CMN-202")
        assert answer.headers["allow"] == allowed


async def test_unknown_query_parameters_are_ignored(ada: User) -> None:
    plain = await ada.ask("GET", ada.store, params={"perPage": 1})
    assert (await ada.ask("GET", ada.store, params={"perPage": 1, "colour": "blue"}))["records"] == plain["records"]
    assert await ada.ask("GET", SUBSCRIPTIONS, params={"colour": "blue"}) is not None


async def test_a_refused_body_leaves_the_connection_usable(sandbox: Sandbox, ada: User) -> None:
    one_connection = httpx2.Limits(max_connections=1)
    async with httpx2.AsyncClient(
        base_url=sandbox.url, headers=dict(ada.http.headers), limits=one_connection, timeout=20
    ) as http:
        large = await http.post(f"{ada.path}/sms", content=bytes(11_000_000), headers=JSON)
        assert_refused(large, 413, "CMN-104")
        assert (await http.get(ada.store)).status_code == 200
