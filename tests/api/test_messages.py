from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from tests.clocks import ManualClock
from tests.goldens import Golden
from tests.openapi import assert_valid
from tests.stored_messages import (
    ACCOUNT,
    CREATED_MS,
    INBOUND_SMS,
    MAILBOX,
    OTHER_MAILBOX,
    media,
    store_messages,
    with_id,
)
from tests.storing import open_test_store
from tocsin.api.app import make_app
from tocsin.api.dispatch import Dispatcher
from tocsin.api.messages import Messages
from tocsin.api.request import BaseUrl
from tocsin.domain.directory import Account, Extension, ExtensionStatus, Identity, Permission, Role, Scope
from tocsin.domain.errors import Unauthenticated
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, SessionId
from tocsin.domain.message import AttachmentType
from tocsin.messaging.changing import Changing
from tocsin.messaging.reading import Reading
from tocsin.storage.store import Store
from tocsin.wire.batch import JSON_FORM

BASE = "https://tocsin.example"
STORE = "/restapi/v1.0/account/~/extension/~/message-store"
ID = INBOUND_SMS.message_id
HTML = b"<script>alert(1)</script>"
NOW_MS = CREATED_MS + 60_000


def extension(extension_id: ExtensionId, number: str, role: Role, *permissions: Permission) -> Extension:
    return Extension(
        ACCOUNT, extension_id, number, f"Name {number}", None, role, ExtensionStatus.ENABLED, frozenset(permissions)
    )


ADMIN = extension(MAILBOX, "101", Role.ADMIN)
USER = extension(OTHER_MAILBOX, "102", Role.USER, Permission.READ_MESSAGES)
COMPANY = Account(ACCOUNT, "Company", "+16505550100", True, 0, {one.extension_id: one for one in (ADMIN, USER)})
TOKENS = {
    "admin": (MAILBOX, {Scope.READ_MESSAGES, Scope.EDIT_MESSAGES}),
    "user": (OTHER_MAILBOX, {Scope.READ_MESSAGES, Scope.EDIT_MESSAGES}),
    "reader": (MAILBOX, {Scope.READ_MESSAGES}),
    "nothing": (MAILBOX, {Scope.READ_ACCOUNTS}),
}


async def authenticate(token: str) -> Identity:
    if token not in TOKENS:
        raise Unauthenticated("OAU-213", "Token not found")
    mailbox, scopes = TOKENS[token]
    return Identity(ACCOUNT, mailbox, ClientId("app"), SessionId("session"), frozenset(scopes), NOW_MS * 2)


async def find_account(account_id: AccountId) -> Account | None:
    return COMPANY if account_id == ACCOUNT else None


@dataclass
class Served:
    """The message store of one account behind HTTP."""

    store: Store
    client: httpx2.AsyncClient

    async def ask(
        self, path: str, method: str = "GET", *, token: str = "admin", json: object = None, **headers: str
    ) -> httpx2.Response:
        url = path if path.startswith("/restapi") else STORE + path
        return await self.client.request(
            method,
            url,
            headers={"authorization": f"bearer {token}", **headers},
            content=None if json is None else httpx2.Request("POST", BASE, json=json).read(),
        )


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    clock = ManualClock(NOW_MS)
    async with open_test_store(tmp_path, clock=clock) as store:
        messages = Messages(Reading(store.readers, store.blobs, clock), Changing(store.readers, store.writer, clock))
        dispatcher = Dispatcher(
            messages.routes(), authenticate=authenticate, find_account=find_account, admin_token=None
        )
        transport = httpx2.ASGITransport(make_app(dispatcher, BaseUrl(BASE)))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Served(store, client)


def assert_refused(answer: httpx2.Response, status: int, code: str, parameter: str | None) -> None:
    body = answer.json()
    assert (answer.status_code, body["errors"][0]["errorCode"]) == (status, code)
    assert body["errors"][0].get("parameterName", body["errors"][0].get("permissionName")) == parameter


@pytest.mark.anyio
async def test_a_list_has_resolved_ids_and_effective_parameters(served: Served, golden: Golden) -> None:
    await store_messages(served.store, INBOUND_SMS)
    answer = await served.ask("?messageType=SMS&perPage=5&unknown=1&access_token=never-repeated")
    assert answer.status_code == 200
    golden("message-store/list-over-http", answer.json())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query, count",
    [
        ("", 1),
        ("?availability=Deleted", 0),
        ("?availability=Alive&availability=Deleted", 1),
        ("?availability=Deleted,Purged", 0),
        ("?messageType=voicemail", 0),
        ("?messageType=Text", 1),
        ("?direction=Outbound", 0),
        ("?readStatus=Unread", 1),
        ("?distinctConversations=True", 1),
        ("?conversationId=7876416245344257449", 1),
        ("?conversationId=1", 0),
        ("?phoneNumber=+14155550199", 1),
        ("?phoneNumber=%2B14155550199", 1),
        ("?phoneNumber=14155550199", 1),
        ("?phoneNumber=%2B1415555019", 0),
        ("?dateFrom=2027-01-15T08:00:00.000Z", 1),
        ("?dateTo=2027-01-15T08:00:00.000Z", 1),
        ("?dateTo=2027-01-15", 0),
        ("?dateFrom=2027&dateTo=2027-02", 1),
        ("?dateFrom=2027-01-15T09:00:00.123+01:00", 1),
        ("?dateFrom=", 1),
        ("?dateTo=0001-01-01", 0),
    ],
)
async def test_each_filter_is_understood(served: Served, query: str, count: int) -> None:
    await store_messages(served.store, INBOUND_SMS)
    answer = await served.ask(query)
    assert (answer.status_code, len(answer.json()["records"])) == (200, count), answer.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query, parameter",
    [
        ("availability=Gone", "availability"),
        ("direction=Sideways", "direction"),
        ("messageType=Telegram", "messageType"),
        ("readStatus=Skimmed", "readStatus"),
        ("dateFrom=yesterday", "dateFrom"),
        ("dateTo=2027-13-01", "dateTo"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("perPage=many", "perPage"),
        ("distinctConversations=perhaps", "distinctConversations"),
        ("conversationId=abc", "conversationId"),
        ("conversationId=9223372036854775808", "conversationId"),
        ("phoneNumber=nobody", "phoneNumber"),
    ],
)
async def test_a_bad_parameter_is_named(served: Served, query: str, parameter: str) -> None:
    assert_refused(await served.ask(f"?{query}"), 400, "CMN-101", parameter)


@pytest.mark.anyio
async def test_pages_are_walked_by_their_links_and_clamped(served: Served) -> None:
    await store_messages(served.store, *(with_id(INBOUND_SMS, ID + one) for one in range(5)))
    seen, link = [], f"{BASE}{STORE}?perPage=2"
    while link:
        body = (await served.ask(link.removeprefix(BASE))).json()
        seen += [record["id"] for record in body["records"]]
        link = body["navigation"].get("nextPage", {}).get("uri", "")
    assert seen == [ID + one for one in (4, 3, 2, 1, 0)]
    assert (await served.ask("?perPage=5000")).json()["paging"]["perPage"] == 1000
    empty = (await served.ask("?perPage=0")).json()
    assert (empty["records"], empty["paging"]["totalElements"]) == ([], 5)
    beyond = (await served.ask("?page=9")).json()
    assert (beyond["records"], beyond["paging"]["totalElements"]) == ([], 5)


@pytest.mark.anyio
async def test_reading_marking_and_deleting_one_message(served: Served) -> None:
    await store_messages(served.store, INBOUND_SMS)
    assert (await served.ask(f"/{ID}")).json()["readStatus"] == "Unread"
    marked = await served.ask(f"/{ID}", "PUT", json={"readStatus": "Read"})
    assert (marked.status_code, marked.json()["readStatus"]) == (200, "Read")
    assert marked.json()["lastModifiedTime"] == "2027-01-15T08:01:00.123Z"
    availability = []
    for _ in range(3):
        deleted = await served.ask(f"/{ID}", "DELETE", json=[])
        assert (deleted.status_code, deleted.content) == (204, b"")
        availability.append((await served.ask(f"/{ID}")).json()["availability"])
    assert availability == ["Deleted", "Purged", "Purged"]
    assert_refused(await served.ask(f"/{ID}/content/{ID}"), 404, "CMN-102", "attachmentId")


@pytest.mark.anyio
async def test_purge_and_type_are_parameters_of_delete(served: Served) -> None:
    await store_messages(served.store, INBOUND_SMS)
    assert (await served.ask(f"/{ID}?type=Fax&purge=true", "DELETE")).status_code == 204
    assert (await served.ask(f"/{ID}")).json()["availability"] == "Alive"
    assert_refused(await served.ask(f"/{ID}?type=Telegram", "DELETE"), 400, "CMN-101", "type")
    assert_refused(await served.ask(f"/{ID}?purge=perhaps", "DELETE"), 400, "CMN-101", "purge")
    assert (await served.ask(f"/{ID}?type=Text&purge=true", "DELETE")).status_code == 204
    assert (await served.ask(f"/{ID}")).json()["availability"] == "Purged"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/1"),
        ("GET", "/abc"),
        ("GET", "/99999999999999999999"),
        ("GET", "/9999999999999999"),
        ("PUT", "/1"),
        ("DELETE", "/1"),
        ("GET", "/1/content/1"),
    ],
)
async def test_an_unknown_id_is_not_found(served: Served, method: str, path: str) -> None:
    body = {"readStatus": "Read"} if method == "PUT" else None
    assert_refused(await served.ask(path, method, json=body), 404, "CMN-102", "messageId")


@pytest.mark.anyio
async def test_a_message_of_another_mailbox_is_unknown_even_to_an_admin(served: Served) -> None:
    await store_messages(served.store, INBOUND_SMS)
    assert_refused(await served.ask(f"/{ID}", token="user"), 404, "CMN-102", "messageId")
    theirs = STORE.replace("extension/~", f"extension/{OTHER_MAILBOX}")
    assert_refused(await served.ask(f"{theirs}/{ID}"), 404, "CMN-102", "messageId")
    assert (await served.ask(theirs)).json()["records"] == []


@pytest.mark.anyio
async def test_scopes_permissions_and_extended_scope(served: Served) -> None:
    await store_messages(served.store, INBOUND_SMS)
    assert_refused(await served.ask("", token="nothing"), 403, "CMN-401", "ReadMessages")
    assert_refused(await served.ask(f"/{ID}", "DELETE", token="reader"), 403, "CMN-401", "EditMessages")
    assert_refused(await served.ask(f"/{ID}", "PUT", token="user", json={}), 403, "CMN-408", "EditMessages")
    theirs = STORE.replace("extension/~", f"extension/{MAILBOX}")
    assert_refused(await served.ask(f"{theirs}/{ID}", token="user"), 403, "CMN-419", "ReadMessages")
    assert (await served.ask("", token="forged")).status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body, code, parameter",
    [
        (b'{"readStatus":"Skimmed"}', "CMN-101", "readStatus"),
        (b"{}", "CMN-101", "readStatus"),
        (b'{"readStatus":', "CMN-103", None),
    ],
)
async def test_a_bad_update_changes_nothing(served: Served, body: bytes, code: str, parameter: str | None) -> None:
    await store_messages(served.store, INBOUND_SMS)
    answer = await served.client.put(f"{STORE}/{ID}", content=body, headers={"authorization": "Bearer admin"})
    assert_refused(answer, 400, code, parameter)
    assert (await served.ask(f"/{ID}")).json()["readStatus"] == "Unread"


@pytest.mark.anyio
@pytest.mark.parametrize("accept", ["*/*", JSON_FORM])
async def test_several_messages_are_read_at_once(served: Served, accept: str) -> None:
    await store_messages(served.store, INBOUND_SMS, with_id(INBOUND_SMS, ID + 1))
    answer = await served.ask(f"/{ID},7,nonsense,{ID + 1}", accept=accept)
    assert answer.status_code == 207
    if accept == JSON_FORM:
        assert [(one["resourceId"], one["status"]) for one in answer.json()] == [
            (str(ID), 200),
            ("7", 404),
            ("nonsense", 404),
            (str(ID + 1), 200),
        ]
        assert answer.json()[3]["body"]["id"] == ID + 1
        assert answer.json()[1]["body"]["errors"][0]["parameterName"] == "messageId"
    else:
        boundary = answer.headers["content-type"].split("boundary=")[1].split(";")[0]
        assert answer.content.count(f"--{boundary}\r\n".encode()) == 5


@pytest.mark.anyio
async def test_a_batch_has_its_limit(served: Served) -> None:
    assert (await served.ask("/" + ",".join(["1"] * 50))).status_code == 207
    assert_refused(await served.ask("/" + ",".join(["1"] * 51)), 400, "CMN-106", "messageId")


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("ids", ["1,2", "*"])
async def test_changing_several_is_refused_in_words(served: Served, method: str, ids: str) -> None:
    body = {"readStatus": "Read"} if method == "PUT" else None
    assert_refused(await served.ask(f"/{ids}", method, json=body), 501, "CMN-202", "messageId")


@pytest.mark.anyio
async def test_a_text_is_served_as_text_and_in_ranges(served: Served) -> None:
    await store_messages(served.store, INBOUND_SMS)
    uri = (await served.ask(f"/{ID}")).json()["attachments"][0]["uri"]
    text = "Grüße 👋".encode()
    whole = await served.client.get(f"{uri}?access_token=admin&shouldCache=true")
    assert (whole.status_code, whole.content) == (200, text)
    assert whole.headers["content-type"] == "text/plain;charset=UTF-8"
    assert whole.headers["content-length"] == str(len(text))
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "content-disposition" not in whole.headers
    part = await served.ask(f"/{ID}/content/{ID}", range="bytes=2-4")
    assert (part.status_code, part.content) == (206, text[2:5])
    assert part.headers["content-range"] == f"bytes 2-4/{len(text)}"
    refused = await served.ask(f"/{ID}/content/{ID}", range="bytes=99-")
    assert_refused(refused, 416, "CMN-107", "Range")
    assert refused.headers["content-range"] == f"bytes */{len(text)}"


@pytest.mark.anyio
async def test_a_stored_web_page_can_do_nothing(served: Served) -> None:
    blob = await served.store.blobs.put(ACCOUNT, HTML)
    part = replace(media(ID + 1, blob.key, "text/html", blob.size), type=AttachmentType.MMS_ATTACHMENT, file_name=None)
    await store_messages(served.store, replace(INBOUND_SMS, attachments=(*INBOUND_SMS.attachments, part)))
    content = f"/{ID}/content/{ID + 1}"
    shown = await served.ask(f"{content}?contentDisposition=Inline")
    assert (shown.content, shown.headers["content-type"]) == (HTML, "text/html")
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in shown.headers["content-security-policy"]
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["content-disposition"] == f'inline; filename="{ID + 1}.html"'
    tail = await served.ask(content, range="bytes=-5")
    assert (tail.status_code, tail.content) == (206, HTML[-5:])
    assert_refused(await served.ask(f"{content}?contentDisposition=Sideways"), 400, "CMN-101", "contentDisposition")
    assert_refused(await served.ask(f"/{ID}/content/7"), 404, "CMN-102", "attachmentId")


@pytest.mark.anyio
async def test_a_file_name_cannot_leave_its_header(served: Served) -> None:
    await store_messages(served.store, INBOUND_SMS)
    name = "a%22%0d%0aX-Evil:%201%2F..%2Fü.txt"
    answer = await served.ask(f"/{ID}/content/{ID}?contentDisposition=Attachment&contentDispositionFilename={name}")
    assert "x-evil" not in answer.headers
    plain, extended = answer.headers["content-disposition"].split("; filename*=")
    assert plain == 'attachment; filename="a___X-Evil_ 1_..__.txt"'
    assert extended == "UTF-8''a___X-Evil_%201_.._%C3%BC.txt"


@pytest.mark.anyio
async def test_every_answer_is_what_the_openapi_file_documents(served: Served, reference: Path) -> None:
    await store_messages(served.store, INBOUND_SMS)
    listed = await served.ask("?page=1")
    assert_valid(reference, "listMessages", 200, listed.content)
    marked = await served.ask(f"/{ID}", "PUT", json={"readStatus": "Read"})
    assert_valid(reference, "updateMessage", 200, marked.content)
    several = await served.ask(f"/{ID},1", accept=JSON_FORM)
    assert_valid(reference, "readMessage", 207, several.content)
    refused = await served.ask("/1")
    assert_valid(reference, "readMessage", 404, refused.content)
    refused = await served.ask(f"/{ID}/content/1")
    assert_valid(reference, "readMessageContent", 404, refused.content)
    deleted = await served.ask(f"/{ID}", "DELETE")
    assert_valid(reference, "deleteMessage", 204, deleted.content)
