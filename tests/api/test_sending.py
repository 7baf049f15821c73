"""Inbound control API and sending over HTTP, in front of the real use cases."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.correspondents import (
    ANN,
    ANN_NUMBER,
    BASE_URL,
    BOB,
    BOB_NUMBER,
    ONE,
    OUTSIDE,
    PNG,
    Correspondents,
    open_correspondents,
)
from tests.goldens import Golden
from tests.openapi import assert_valid
from tocsin.api.app import make_app
from tocsin.api.dispatch import Dispatcher
from tocsin.api.inbound import Inbound
from tocsin.api.request import BaseUrl
from tocsin.api.sending import SentMessages
from tocsin.domain.directory import Identity, Scope
from tocsin.domain.errors import Unauthenticated
from tocsin.domain.ids import ClientId, ExtensionId, SessionId

pytestmark = pytest.mark.anyio
EXTENSION = "/restapi/v1.0/account/~/extension/~"
SMS = {"from": {"phoneNumber": ANN_NUMBER}, "to": [{"phoneNumber": OUTSIDE}], "text": "Hi there"}
INBOUND = {"from": OUTSIDE, "to": [ANN_NUMBER], "text": "Hi there"}
PICTURE = {"contentType": "image/png", "fileName": "cat.png", "data": b64encode(PNG).decode()}
TOKENS = {
    "ann": (ANN, frozenset({Scope.SMS, Scope.INTERNAL_MESSAGES})),
    "reader": (ANN, frozenset({Scope.READ_MESSAGES})),
}


async def authenticate(token: str) -> Identity:
    if token not in TOKENS:
        raise Unauthenticated("OAU-213", "Token not found")
    extension_id, scopes = TOKENS[token]
    return Identity(ONE, ExtensionId(extension_id), ClientId("app"), SessionId("session"), scopes, 2**52)


@dataclass
class Served:
    people: Correspondents
    client: httpx2.AsyncClient

    async def send(self, path: str, body: object, token: str = "ann") -> httpx2.Response:
        url = path if path.startswith("/restapi") else f"{EXTENSION}/{path}"
        return await self.client.post(url, json=body, headers={"authorization": f"Bearer {token}"})

    async def come_in(self, body: object, token: str = "control") -> httpx2.Response:
        return await self.client.post("/tocsin/v1/inbound/sms", json=body, headers={"authorization": f"Bearer {token}"})


@asynccontextmanager
async def serve(folder: Path) -> AsyncGenerator[Served]:
    async with open_correspondents(folder) as people:
        routes = [*Inbound(people.receiving).routes(), *SentMessages(people.sending, people.pager).routes()]
        dispatcher = Dispatcher(
            routes, authenticate=authenticate, find_account=people.directory.account, admin_token="control"
        )
        transport = httpx2.ASGITransport(make_app(dispatcher, BaseUrl(BASE_URL)))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            yield Served(people, client)


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    error = answer.json()["errors"][0]
    return answer.status_code, error["errorCode"], error.get("parameterName", error.get("permissionName"))


async def test_an_sms_comes_in(tmp_path: Path, golden: Golden) -> None:
    async with serve(tmp_path) as served:
        body = {**INBOUND, "to": [ANN_NUMBER, BOB_NUMBER, OUTSIDE], "media": [PICTURE], "carrierMessageId": "c-1"}
        answer = await served.come_in(body)
        assert answer.status_code == 202
        messages = answer.json()["messages"]
        assert [(one["accountId"], one["extensionId"]) for one in messages] == [
            (str(ONE), str(ANN)),
            (str(ONE), str(BOB)),
        ]
        golden("control/received", answer.json())
        assert (await served.come_in(body)).json() == answer.json()
        assert len(served.people.heard.messages()) == 2


@pytest.mark.parametrize(
    "change, status, code, parameter",
    [
        ({"from": None}, 400, "CMN-101", "from"),
        ({"from": "nobody"}, 400, "CMN-101", "from"),
        ({"to": None}, 400, "CMN-101", "to"),
        ({"to": []}, 400, "CMN-101", "to"),
        ({"to": ANN_NUMBER}, 400, "CMN-101", "to"),
        ({"to": [ANN_NUMBER, "1"]}, 400, "CMN-101", "to"),
        ({"to": [OUTSIDE]}, 404, "CMN-102", "to"),
        ({"text": None}, 400, "CMN-101", "text"),
        ({"text": ""}, 400, "CMN-101", "text"),
        ({"fromName": 1}, 400, "CMN-101", "fromName"),
        ({"fromLocation": "x" * 201}, 400, "CMN-101", "fromLocation"),
        ({"carrierMessageId": ""}, 400, "CMN-101", "carrierMessageId"),
        ({"media": {}}, 400, "CMN-101", "media"),
        ({"media": [{**PICTURE, "data": "%"}]}, 400, "CMN-101", "media[0].data"),
        ({"media": [{**PICTURE, "contentType": "image/gif"}]}, 415, "MSG-348", "media"),
        ({"media": [{**PICTURE, "data": ""}]}, 400, "MSG-347", "media"),
    ],
)
async def test_what_can_not_come_in(
    tmp_path: Path, change: dict[str, Any], status: int, code: str, parameter: str
) -> None:
    async with serve(tmp_path) as served:
        assert refusal(await served.come_in({**INBOUND, **change})) == (status, code, parameter)
        assert served.people.heard.all == {}


@pytest.mark.parametrize("missing", ["from", "to"])
async def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    async with serve(tmp_path) as served:
        body = {name: value for name, value in INBOUND.items() if name != missing}
        assert refusal(await served.come_in(body)) == (400, "CMN-101", missing)


async def test_only_the_admin_token_lets_messages_in(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        assert (await served.come_in(INBOUND, token="ann")).status_code == 401
        assert served.people.heard.all == {}


async def test_a_text_is_sent(tmp_path: Path, golden: Golden) -> None:
    async with serve(tmp_path) as served:
        answer = await served.send("sms", SMS)
        assert answer.status_code == 200
        golden("message-store/sms-queued", answer.json())


async def test_a_text_is_sent_as_multipart_too(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        json = httpx2.Request("POST", BASE_URL, json=SMS).read()
        files = [
            ("request.json", ("request.json", json, "application/json")),
            ("attachments", ("cat.png", PNG, "undefined")),
        ]
        answer = await served.client.post(f"{EXTENSION}/mms", files=files, headers={"authorization": "bearer ann"})
        assert answer.status_code == 200, answer.text
        assert [part["type"] for part in answer.json()["attachments"]] == ["Text", "MmsAttachment"]
        assert answer.json()["attachments"][1]["fileName"] == "cat.png"


async def test_a_pager_is_sent(tmp_path: Path, golden: Golden) -> None:
    async with serve(tmp_path) as served:
        body = {"from": {"extensionNumber": "101"}, "to": [{"extensionId": BOB}], "text": "Lunch?"}
        answer = await served.send("company-pager", body)
        assert answer.status_code == 200, answer.text
        golden("message-store/pager-sent", answer.json())


@pytest.mark.parametrize(
    "path, body, expected",
    [
        ("sms", {"from": SMS["from"], "text": "Hi"}, (400, "CMN-101", "to")),
        ("sms", {**SMS, "to": []}, (400, "CMN-101", "to")),
        ("sms", {**SMS, "to": [{}]}, (400, "CMN-101", "to.phoneNumber")),
        ("sms", {**SMS, "to": [{"phoneNumber": "+1"}]}, (400, "CMN-101", "to.phoneNumber")),
        ("sms", {"to": SMS["to"], "text": "Hi"}, (400, "CMN-101", "from")),
        ("sms", {**SMS, "text": "x" * 1001}, (400, "CMN-101", "text")),
        ("sms", {**SMS, "country": {"id": "1", "isoCode": "US"}}, (400, "MSG-365", "country")),
        ("sms", {**SMS, "from": {"phoneNumber": BOB_NUMBER}}, (403, "MSG-304", "from.phoneNumber")),
        ("mms", SMS, (400, "CMN-101", "attachments")),
        ("company-pager", {"text": "Hi"}, (400, "CMN-101", "to")),
        ("company-pager", {"to": [{"extensionNumber": "102"}]}, (400, "CMN-101", "text")),
        (f"/restapi/v1.0/account/~/extension/{BOB}/sms", SMS, (403, "CMN-419", "OutboundSMS")),
        ("/restapi/v1.0/account/~/extension/1/sms", SMS, (404, "CMN-102", "extensionId")),
    ],
)
async def test_what_is_refused_changes_nothing(
    tmp_path: Path, path: str, body: object, expected: tuple[int, str, str]
) -> None:
    async with serve(tmp_path) as served:
        assert refusal(await served.send(path, body)) == expected
        assert served.people.heard.all == {}


async def test_other_bodies_are_refused(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        url, headers = f"{EXTENSION}/sms", {"authorization": "Bearer ann"}
        nothing = await served.client.post(url, content=b"{", headers={**headers, "content-type": "application/json"})
        assert refusal(nothing) == (400, "CMN-103", None)
        form = await served.client.post(url, data={"to": OUTSIDE}, headers=headers)
        assert form.status_code == 415
        nameless = await served.client.post(
            url,
            files=[
                ("json", (None, httpx2.Request("POST", url, json=SMS).read(), "application/json")),
                ("attachment", (None, PNG)),
            ],
            headers=headers,
        )
        assert refusal(nameless) == (400, "MSG-351", "attachments")
        large = await served.client.post(url, content=b" " * 11_000_000, headers=headers)
        assert large.status_code == 413
        assert served.people.heard.all == {}


async def test_the_app_s_scope_is_needed(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        assert refusal(await served.send("sms", SMS, token="reader")) == (403, "CMN-401", "SMS")
        pager = await served.send("company-pager", {}, token="reader")
        assert refusal(pager) == (403, "CMN-401", "InternalMessages")


async def test_answers_are_as_documented(tmp_path: Path, reference: Path) -> None:
    async with serve(tmp_path) as served:
        sms = await served.send("sms", SMS)
        assert_valid(reference, "createSMSMessage", 200, sms.content)
        pager = await served.send("company-pager", {"to": [{"extensionNumber": "102"}], "text": "Lunch?"})
        assert_valid(reference, "createInternalTextMessage", 200, pager.content)
        files = [
            ("json", (None, httpx2.Request("POST", BASE_URL, json=SMS).read(), "application/json")),
            ("attachment", ("cat.png", PNG, "image/png")),
        ]
        mms = await served.client.post(f"{EXTENSION}/mms", files=files, headers={"authorization": "bearer ann"})
        assert_valid(reference, "createMMS", 200, mms.content)
        refused = await served.send("sms", {})
        assert_valid(reference, "createSMSMessage", 400, refused.content)
