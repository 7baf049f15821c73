from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.company import ADMIN_TOKEN, BASE, Company, open_company
from tests.goldens import Golden
from tocsin.api.call import Access, Call, Query, Reply, Route, json_reply
from tocsin.api.dispatch import RouteTable
from tocsin.api.request import Request, held_body
from tocsin.directory.seed_file import parse_seed
from tocsin.domain.directory import Permission, Scope
from tocsin.domain.errors import (
    InvalidParameter,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Refused,
    StoreUnavailable,
)
from tocsin.wire.errors import MethodNotAllowed, NoSuchResource, UnknownHost

PLAN = """
[[account]]
main_number = "+16505550100"
[[account.extension]]
number = "101"
role = "admin"
[[account.extension]]
number = "102"
[[account.extension]]
number = "103"
permissions = ["OutboundSMS"]

[[account]]
main_number = "+16505550200"
[[account.extension]]
number = "201"
role = "admin"
"""
MAILBOX = "/restapi/v1.0/account/{accountId}/extension/{extensionId}/mailbox"
ERRORS: dict[str, Exception] = {
    "invalid-parameter": InvalidParameter("Parameter [to] value is invalid", parameter="to", value="x"),
    "not-found": NotFound("Resource for parameter [messageId] is not found", parameter="messageId"),
    "overloaded": Overloaded(),
    "unavailable": StoreUnavailable("disk full at /secret/place"),
    "outcome-unknown": OutcomeUnknown(),
    "unexpected": RuntimeError("the password is hunter2"),
    "refused": Refused("MSG-240", "International SMS is not supported"),
    "code-without-line": Refused("XYZ-1", "nobody knows this"),
}


async def answer(call: Call) -> Reply:
    return json_reply(
        {
            "accountId": call.account_id,
            "extensionId": call.extension_id,
            "params": dict(call.params),
            "query": call.query.pairs,
            "method": call.method,
            "session": call.websocket_session,
            "body": call.body.decode(),
        }
    )


async def fail(call: Call) -> Reply:
    raise ERRORS[call.params["name"]]


ROUTES = [
    Route("GET", MAILBOX, "read", answer, scope=Scope.READ_MESSAGES, permission=Permission.READ_MESSAGES),
    Route("POST", MAILBOX, "write", answer, permission=Permission.OUTBOUND_SMS, admin_may_act=False),
    Route("GET", "/restapi/v1.0/fail/{name}", "fail", fail, Access.PUBLIC),
    Route("POST", "/restapi/v1.0/subscription", "subscribe", answer, Access.PUBLIC),
    Route("PUT", "/restapi/v1.0/subscription/{subscriptionId}", "update", answer, Access.PUBLIC),
    Route("POST", "/tocsin/v1/control", "control", answer, Access.ADMIN),
]


@pytest.fixture
async def company(tmp_path: Path) -> AsyncGenerator[Company]:
    async with open_company(tmp_path, parse_seed(PLAN), routes=ROUTES) as opened:
        yield opened


def mailbox(company: Company, account: str = "~", extension: str = "~") -> str:
    if extension.isdigit():
        extension = str(company.extension_id(extension))
    return MAILBOX.format(accountId=account, extensionId=extension)


@pytest.mark.anyio
async def test_ids_are_resolved_to_the_callers(company: Company) -> None:
    await company.login("102")
    wanted = {"accountId": company.account_id, "extensionId": company.extension_id("102")}
    for path in (mailbox(company), mailbox(company, str(company.account_id), "102")):
        shown = (await company.client.get(path)).json()
        assert {key: shown[key] for key in wanted} == wanted


@pytest.mark.anyio
@pytest.mark.parametrize(
    "who, whose, method, code",
    [
        ("101", "101", "GET", None),
        ("101", "102", "GET", None),
        ("102", "102", "GET", None),
        ("102", "101", "GET", "CMN-419"),
        ("103", "103", "GET", "CMN-408"),
        ("103", "102", "GET", "CMN-419"),
        ("101", "101", "POST", None),
        ("101", "102", "POST", "CMN-419"),
        ("103", "103", "POST", None),
    ],
)
async def test_who_may_do_what(
    company: Company, golden: Golden, who: str, whose: str, method: str, code: str | None
) -> None:
    await company.login(who)
    answer = await company.client.request(method, mailbox(company, "~", whose))
    assert answer.status_code == (200 if code is None else 403)
    if code is not None:
        assert answer.json()["errors"][0]["errorCode"] == code
        golden(f"errors/{code}-{method.lower()}", answer.json())


@pytest.mark.anyio
async def test_the_app_needs_its_scope(company: Company, golden: Golden) -> None:
    await company.login(scope="ReadAccounts")
    refused = await company.client.get(mailbox(company))
    assert refused.status_code == 403
    golden("errors/CMN-401", refused.json())
    await company.login(scope="SMS")
    assert (await company.client.get(mailbox(company))).status_code == 200


@pytest.mark.anyio
async def test_unknown_and_foreign_ids_are_not_found_alike(company: Company, golden: Golden) -> None:
    await company.login()
    foreign = next(one.extension for one in company.seeded.extensions if one.extension.number == "201")
    accounts = ["1", str(foreign.account_id), "me", "9" * 40, "-1", "٣"]
    answers = [await company.client.get(mailbox(company, account)) for account in accounts]
    assert [(one.status_code, one.json()["parameterName"]) for one in answers] == [(404, "accountId")] * len(accounts)
    assert len({one.content for one in answers}) == 1
    golden("errors/CMN-102", answers[0].json())
    for extension in (str(foreign.extension_id), "1", "x", "9" * 40):
        answer = await company.client.get(MAILBOX.format(accountId="~", extensionId=extension))
        assert (answer.status_code, answer.json()["parameterName"]) == (404, "extensionId")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header, code",
    [(None, "AGW-401"), ("Basic eDp5", "AGW-402"), ("Bearer", "AGW-402"), ("Bearer undefined", "OAU-149")],
)
async def test_who_says_nothing_or_nonsense_is_401(
    company: Company, golden: Golden, header: str | None, code: str
) -> None:
    answer = await company.client.get(mailbox(company), headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    golden(f"errors/{code}", answer.json())


@pytest.mark.anyio
async def test_the_control_api_takes_the_admin_token_alone(company: Company) -> None:
    info = await company.grant()
    for token, status in ((ADMIN_TOKEN, 200), (info["access_token"], 401), (ADMIN_TOKEN + "x", 401), ("", 401)):
        answer = await company.client.post("/tocsin/v1/control", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    answer = await company.client.get(mailbox(company), headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize("name", ERRORS)
async def test_every_error_has_the_one_shape(company: Company, golden: Golden, name: str) -> None:
    answer = await company.client.get(f"/restapi/v1.0/fail/{name}")
    golden(f"errors/{name}", answer.json())
    assert answer.json()["errors"][0]["errorCode"]
    assert answer.json()["message"] == answer.json()["errors"][0]["message"]
    assert ("Retry-After" in answer.headers) == (answer.status_code == 503)


@pytest.mark.anyio
async def test_the_unexpected_is_logged_once_and_told_to_nobody(company: Company) -> None:
    with capture_logs() as lines:
        answer = await company.client.get("/restapi/v1.0/fail/unexpected")
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "CMN-203")
    assert [(line["event"], line["request_id"], line["operation"]) for line in lines] == [
        ("request.failed", answer.headers["RCRequestId"], "fail")
    ]
    assert "hunter2" not in answer.text
    assert "secret" not in (await company.client.get("/restapi/v1.0/fail/unavailable")).text


@pytest.mark.anyio
async def test_every_route_refuses_in_the_same_shape(company: Company) -> None:
    served = company.dispatcher.table.routes
    assert len(served) > len(ROUTES)
    for route in served:
        if route.access is Access.PUBLIC:
            continue
        path = route.path.format(accountId="~", extensionId="~")
        body = (await company.client.request(route.method, path)).json()
        first = body["errors"][0]
        assert (body["errorCode"], body["message"]) == (first["errorCode"], first["message"])
        assert first["errorCode"] == "AGW-401"


@pytest.mark.anyio
async def test_a_trailing_slash_is_forgiven(company: Company) -> None:
    assert (await company.client.post("/restapi/v1.0/subscription/")).status_code == 200
    answer = await company.client.put("/restapi/v1.0/subscription/abc/")
    assert answer.json()["params"] == {"subscriptionId": "abc"}


@pytest.mark.anyio
async def test_a_request_from_a_websocket_needs_no_header(company: Company) -> None:
    info = await company.grant("102")
    identity = await company.sessions.authenticate(info["access_token"])
    request = Request(
        "GET", mailbox(company), Query((("a", "1"),)), {}, BASE, held_body(b"{}"), identity, "the-session"
    )
    reply = await company.dispatcher.dispatch(request)
    assert reply.status == 200
    assert b'"session":"the-session"' in reply.body
    assert b'"body":"{}"' in reply.body


def test_a_literal_part_wins_over_a_parameter() -> None:
    table = RouteTable(
        [
            Route("GET", "/restapi/v1.0/thing/{thingId}", "one", answer),
            Route("GET", "/restapi/v1.0/thing/special", "special", answer),
            Route("DELETE", "/restapi/v1.0/thing/{id}/part/{partId}", "part", answer),
        ]
    )
    assert table.find("GET", "/restapi/v1.0/thing/special")[0].operation == "special"
    assert table.find("GET", "/restapi/v1.0/thing/7")[1] == {"thingId": "7"}
    assert table.find("DELETE", "/restapi/v1.0/thing/7/part/8/")[1] == {"id": "7", "partId": "8"}
    with pytest.raises(MethodNotAllowed) as refused:
        table.find("PUT", "/restapi/v1.0/thing/7")
    assert refused.value.allowed == "GET, HEAD, OPTIONS"
    for path in ("/restapi/v1.0/thing", "/restapi/v1.0/thing/", "/restapi/v1.0/thing/7/part", "/restapi/v1.0/nothing"):
        with pytest.raises(NoSuchResource):
            table.find("GET", path)
    with pytest.raises(UnknownHost):
        table.find("GET", "/nothing")


def test_two_routes_for_one_thing_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes"):
        RouteTable([Route("GET", "/a/{b}", "one", answer), Route("GET", "/a/{c}", "two", answer)])
