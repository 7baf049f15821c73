"""MMS: pictures in and out, groups, `target`, and the bytes downloaded in every way that clients do it."""

from __future__ import annotations

import asyncio
import base64

import httpx2
import pytest

from tests.receiver import Behaviour, Receiver
from tests.sandbox import Sandbox
from tests.user import User

pytestmark = pytest.mark.anyio

OUTSIDE, FRIEND = "+14155550123", "+14155550188"
ADAS_SECOND = "+16505550111"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"


def media(content_type: str, name: str, data: bytes) -> dict[str, str]:
    return {"contentType": content_type, "fileName": name, "data": base64.b64encode(data).decode()}


async def test_a_group_mms_reaches_each_mailbox_once(
    sandbox: Sandbox, ada: User, uma: User, receiver: Receiver
) -> None:
    await ada.subscribe(receiver.url, ada.store, ada.instant, uma.instant)
    stored = await sandbox.receive_sms(
        OUTSIDE,
        [ada.number, ADAS_SECOND, uma.number, FRIEND],
        "Look at this",
        media=[media("image/png", "dot.png", PNG), media("image/gif", "dot.gif", GIF)],
    )
    assert {one["extensionId"] for one in stored} == {ada.extension_id, uma.extension_id}
    by_event = {}
    for _ in range(3):
        envelope = (await receiver.next()).json()
        by_event[envelope["event"]] = envelope["body"]
    [change] = by_event[ada.store]["changes"]
    assert (change["type"], change["newCount"]) == ("SMS", 1)

    adas, umas = by_event[ada.instant], by_event[uma.instant]
    assert (adas["type"], adas["subject"]) == ("SMS", "Look at this")
    assert [(one["phoneNumber"], one.get("target", False)) for one in adas["to"]] == [
        (ada.number, True),
        (ADAS_SECOND, True),
        (uma.number, False),
        (FRIEND, False),
    ]
    assert [one.get("target", False) for one in umas["to"]] == [False, False, True, False]
    for body, user in ((adas, ada), (umas, uma)):
        text, *files = body["attachments"]
        assert (text["type"], text["contentType"], text["id"]) == ("Text", "text/plain", body["id"])
        assert [(one["type"], one["contentType"], one["size"]) for one in files] == [
            ("MmsAttachment", "image/png", len(PNG)),
            ("MmsAttachment", "image/gif", len(GIF)),
        ]
        assert [(await user.http.get(one["uri"])).content for one in files] == [PNG, GIF]


async def test_the_bytes_of_a_picture(sandbox: Sandbox, ada: User, uma: User) -> None:
    [stored] = await sandbox.receive_sms(OUTSIDE, [ada.number], "", media=[media("image/png", "naïve dot.png", PNG)])
    message = await ada.message(stored["id"])
    [picture] = [one for one in message["attachments"] if one["type"] == "MmsAttachment"]
    assert picture["fileName"] == "naïve dot.png"
    uri = picture["uri"]

    whole = await ada.http.get(uri)
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.content == PNG
    head = await ada.http.head(uri)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(PNG)))

    part = await ada.http.get(uri, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, PNG[4:8])
    assert part.headers["content-range"] == f"bytes 4-7/{len(PNG)}"
    rest = await ada.http.get(uri, headers={"Range": "bytes=60-"})
    assert (rest.status_code, rest.content) == (206, PNG[60:])
    beyond = await ada.http.get(uri, headers={"Range": "bytes=1000-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(PNG)}"

    token = ada.http.headers["authorization"].removeprefix("Bearer ")
    async with httpx2.AsyncClient() as browser:
        assert (await browser.get(uri, params={"access_token": token})).content == PNG
        assert (await browser.get(uri)).status_code == 401
    # An admin may read it, another user may not.
    assert (await uma.http.get(uri)).status_code == 403


async def test_an_mms_sent_within_the_system_keeps_its_files(ada: User, uma: User, receiver: Receiver) -> None:
    await uma.subscribe(receiver.url, uma.instant)
    sent = await ada.ask(
        "POST",
        f"{ada.path}/mms",
        files=[
            ("json", (None, SMS_TO.format(ada.number, uma.number), "application/json")),
            ("attachment", ("dot.png", PNG, "image/png")),
        ],
    )
    assert (sent["type"], sent["messageStatus"]) == ("SMS", "Queued")
    arrived = (await receiver.next()).json()["body"]
    [picture] = [one for one in arrived["attachments"] if one["type"] == "MmsAttachment"]
    assert (await uma.http.get(picture["uri"])).content == PNG


SMS_TO = '{{"from": {{"phoneNumber": "{}"}}, "to": [{{"phoneNumber": "{}"}}], "text": "With love"}}'


async def test_several_types_change_in_one_mailbox(sandbox: Sandbox, ada: User, uma: User, receiver: Receiver) -> None:
    # While the first notification is in flight, a text and a pager message pile up; the next tells of both.
    await uma.subscribe(receiver.url, uma.store)
    answer = asyncio.Event()
    receiver.answers(Behaviour(until=answer))
    await sandbox.receive_sms(OUTSIDE, [uma.number], "one")
    await receiver.next()
    [text] = await sandbox.receive_sms(OUTSIDE, [uma.number], "two")
    await ada.ask("POST", f"{ada.path}/company-pager", json={"text": "three", "to": [{"extensionNumber": "102"}]})
    await uma.ask("PUT", f"{uma.store}/{text['id']}", json={"readStatus": "Read"})
    answer.set()
    changes = (await receiver.next()).json()["body"]["changes"]
    by_type = {change["type"]: change for change in changes}
    assert by_type["SMS"]["newMessageIds"] == [int(text["id"])]
    assert (by_type["SMS"]["newCount"], by_type["SMS"]["updatedCount"]) == (1, 0)
    assert (by_type["Pager"]["newCount"], by_type["Pager"]["updatedCount"]) == (1, 0)
