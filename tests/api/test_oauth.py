from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.company import ACCOUNT, BASE, EXTENSION, REVOKE, TOKEN, Company, open_company
from tests.goldens import GOLDEN_DIR, Golden
from tests.openapi import assert_valid
from tocsin.directory.grants import JWT_BEARER
from tocsin.directory.seed_file import SeedPlan, parse_seed
from tocsin.domain.directory import Scope
from tocsin.domain.entry import DirectoryScope

PLAN = """
[[app]]
name = "Confidential"
[[app]]
name = "Public"
public = true
[[app]]
name = "Reader"
scopes = ["ReadAccounts"]

[[account]]
main_number = "+16505550100"
[[account.extension]]
number = "101"
name = "Ada Admin"
role = "admin"
password = "correct horse"
phone_numbers = [{ number = "+16505550101" }]
[[account.extension]]
number = "102"
password = "battery staple"
[[account.extension]]
number = "103"
status = "Disabled"
"""


def plan() -> SeedPlan:
    return parse_seed(PLAN)


@pytest.fixture
async def company(tmp_path: Path) -> AsyncGenerator[Company]:
    async with open_company(tmp_path, plan()) as opened:
        yield opened


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.anyio
async def test_a_jwt_gives_a_pair_with_every_field(company: Company) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("101"), "client_id": company.basic[0]}
    answer = await company.client.post(TOKEN, data=form, auth=company.basic)
    assert answer.status_code == 200
    assert "application/json" in answer.headers["Content-Type"]
    assert answer.headers["Cache-Control"] == "no-store"
    info = answer.json()
    assert info["token_type"] == "bearer"
    assert (info["expires_in"], info["refresh_token_expires_in"]) == (3600, 604_800)
    assert info["owner_id"] == str(company.extension_id("101"))
    assert set(info["scope"].split()) == {scope.value for scope in Scope}
    assert info["access_token"].isascii()
    assert await company.status_of(info["access_token"]) == 200


@pytest.mark.anyio
async def test_answers_are_what_the_reference_documents(company: Company, reference: Path) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("101")}
    answer = await company.client.post(TOKEN, data=form, auth=company.basic)
    assert_valid(reference, "getToken", 200, answer.content)
    await company.login()
    answer = await company.client.post("/restapi/oauth/wstoken")
    assert_valid(reference, "authWsToken", 200, answer.content)
    for name, (_, _, status, _) in REFUSALS.items():
        if status == 400:
            assert_valid(reference, "getToken", 400, (GOLDEN_DIR / f"errors/oauth-{name}.json").read_bytes())


@pytest.mark.anyio
async def test_tokens_are_stored_as_hashes_only(company: Company, tmp_path: Path) -> None:
    info = await company.grant()
    await company.refresh(info["refresh_token"])
    secrets = [info["access_token"], info["refresh_token"], company.assertion("101"), company.basic[1]]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert company.basic[0].encode() in kept
    assert [secret for secret in secrets if secret.encode() in kept] == []


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_of_a_token_has_any_case(company: Company, scheme: str) -> None:
    info = await company.grant()
    answer = await company.client.get(ACCOUNT, headers={"Authorization": f"{scheme} {info['access_token']}"})
    assert answer.status_code == 200


@pytest.mark.anyio
async def test_a_token_may_stand_in_the_query_and_is_not_repeated_in_links(company: Company) -> None:
    info = await company.grant()
    answer = await company.client.get(f"{ACCOUNT}/extension", params={"access_token": info["access_token"]})
    assert answer.status_code == 200
    assert info["access_token"] not in answer.text


@pytest.mark.anyio
async def test_public_apps_name_themselves_with_or_without_basic(company: Company) -> None:
    public = company.seeded.apps[1]
    assert public.secret is None
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("102")}
    named = await company.client.post(TOKEN, data={**form, "client_id": public.client_id})
    empty = await company.client.post(TOKEN, data=form, headers=basic(public.client_id, ""))
    assert (named.status_code, empty.status_code) == (200, 200)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "form",
    [
        {"username": "+16505550101", "password": "correct horse"},
        {"username": "16505550101", "password": "correct horse", "extension": "101"},
        {"username": "+16505550100", "password": "correct horse"},
        {"username": "+16505550100", "password": "battery staple", "extension": "102"},
        {"username": "+16505550100*102", "password": "battery staple"},
    ],
)
async def test_a_password_gives_a_pair(company: Company, form: dict[str, str]) -> None:
    answer = await company.client.post(TOKEN, data={"grant_type": "password", **form}, auth=company.basic)
    assert answer.status_code == 200
    wanted = "102" if form["password"] == "battery staple" else "101"
    assert answer.json()["owner_id"] == str(company.extension_id(wanted))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "asked, given",
    [("600", 600), ("10", 600), ("3600", 3600), ("7200", 3600), ("NaN", 3600), ("inf", 3600), ("soon", 3600)],
)
async def test_times_to_live_are_clamped_and_nonsense_ignored(company: Company, asked: str, given: int) -> None:
    info = await company.grant(access_token_ttl=asked, refresh_token_ttl="9999999999")
    assert (info["expires_in"], info["refresh_token_expires_in"]) == (given, 2_592_000)


@pytest.mark.anyio
async def test_a_scope_narrows_what_the_token_may(company: Company) -> None:
    info = await company.grant(scope="ReadMessages")
    assert info["scope"] == "ReadMessages"
    assert await company.status_of(info["access_token"]) == 403


@pytest.mark.anyio
async def test_a_token_expires(company: Company) -> None:
    info = await company.grant(access_token_ttl="600")
    assert await company.status_of(info["access_token"]) == 200
    company.clock.advance(599)
    assert await company.status_of(info["access_token"]) == 200
    company.clock.advance(1)
    answer = await company.client.get(ACCOUNT, headers={"Authorization": f"Bearer {info['access_token']}"})
    assert (answer.status_code, answer.json()["errors"][0]["errorCode"]) == (401, "OAU-128")


@pytest.mark.anyio
async def test_a_refresh_gives_a_new_pair_and_ends_the_old_access_token_at_once(company: Company) -> None:
    first = await company.grant(endpoint_id="my-device")
    assert await company.status_of(first["access_token"]) == 200
    second = (await company.refresh(first["refresh_token"])).json()
    assert second["access_token"] != first["access_token"]
    assert second["session_id"] == first["session_id"]
    assert second["endpoint_id"] == "my-device"
    assert await company.status_of(first["access_token"]) == 401
    assert await company.status_of(second["access_token"]) == 200


@pytest.mark.anyio
async def test_a_used_refresh_token_gives_the_same_pair_while_nothing_used_it(company: Company) -> None:
    first = await company.grant()
    second = (await company.refresh(first["refresh_token"])).json()
    company.clock.advance(3000)
    again = (await company.refresh(first["refresh_token"])).json()
    assert again["access_token"] == second["access_token"]
    assert again["refresh_token"] == second["refresh_token"]
    assert again["expires_in"] == 600
    company.clock.advance(600)
    assert (await company.refresh(first["refresh_token"])).status_code == 400


@pytest.mark.anyio
async def test_a_used_refresh_token_ends_ten_seconds_after_its_pair_is_used(company: Company) -> None:
    first = await company.grant()
    second = (await company.refresh(first["refresh_token"])).json()
    assert await company.status_of(second["access_token"]) == 200
    company.clock.advance(9)
    assert await company.status_of(second["access_token"]) == 200
    assert (await company.refresh(first["refresh_token"])).json()["access_token"] == second["access_token"]
    company.clock.advance(1)
    late = await company.refresh(first["refresh_token"])
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")
    assert (await company.refresh(second["refresh_token"])).status_code == 200


@pytest.mark.anyio
async def test_the_next_refresh_ends_the_grace_of_the_one_before(company: Company) -> None:
    first = await company.grant()
    second = (await company.refresh(first["refresh_token"])).json()
    third = (await company.refresh(second["refresh_token"])).json()
    assert (await company.refresh(first["refresh_token"])).status_code == 400
    assert await company.status_of(second["access_token"]) == 401
    assert await company.status_of(third["access_token"]) == 200


@pytest.mark.anyio
async def test_a_refresh_token_expires(company: Company) -> None:
    info = await company.grant(refresh_token_ttl="3600")
    company.clock.advance(3600)
    assert (await company.refresh(info["refresh_token"])).json()["errors"][0]["errorCode"] == "OAU-213"


@pytest.mark.anyio
async def test_a_refresh_token_is_for_its_own_app(company: Company) -> None:
    info = await company.grant()
    other = company.seeded.apps[1]
    form = {"grant_type": "refresh_token", "refresh_token": info["refresh_token"], "client_id": other.client_id}
    assert (await company.client.post(TOKEN, data=form)).json()["error"] == "invalid_grant"
    assert (await company.refresh(info["refresh_token"])).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revoking_either_token_kills_the_session_at_once(company: Company, which: str) -> None:
    info, other = await company.grant(), await company.grant()
    assert await company.status_of(info["access_token"]) == 200
    answer = await company.client.post(REVOKE, data={"token": info[which]}, auth=company.basic)
    assert (answer.status_code, answer.json()) == (200, {})
    assert await company.status_of(info["access_token"]) == 401
    assert (await company.refresh(info["refresh_token"])).status_code == 400
    assert await company.status_of(other["access_token"]) == 200
    assert company.caches.changes[-1].scope is DirectoryScope.SESSION
    assert company.caches.changes[-1].subject == info["session_id"]


@pytest.mark.anyio
async def test_a_token_to_revoke_may_stand_in_the_query(company: Company) -> None:
    info = await company.grant()
    answer = await company.client.post(REVOKE, params={"token": info["access_token"]}, auth=company.basic)
    assert answer.status_code == 200
    assert await company.status_of(info["access_token"]) == 401


@pytest.mark.anyio
async def test_an_unknown_token_is_as_good_as_revoked_and_another_apps_stays(company: Company) -> None:
    info = await company.grant()
    other = company.seeded.apps[1]
    for token in ("nothing", "1_nothing", info["access_token"]):
        answer = await company.client.post(REVOKE, data={"token": token, "client_id": other.client_id})
        assert answer.status_code == 200
    assert await company.status_of(info["access_token"]) == 200


@pytest.mark.anyio
async def test_a_sixth_session_ends_the_first(company: Company) -> None:
    sessions = []
    for _ in range(6):
        sessions.append(await company.grant())
        company.clock.advance(1)
    statuses = [await company.status_of(one["access_token"]) for one in sessions]
    assert statuses == [401, 200, 200, 200, 200, 200]


@pytest.mark.anyio
async def test_a_websocket_token_is_reusable_for_half_a_minute(company: Company) -> None:
    info = await company.login()
    answer = await company.client.post("/restapi/oauth/wstoken", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    token = answer.json()
    assert token["uri"] == BASE.replace("https", "wss") + "/ws"
    assert token["expires_in"] == 30
    for _ in range(2):
        identity = await company.sessions.redeem_websocket_token(token["ws_access_token"])
        assert identity.session_id == info["session_id"]
    company.clock.advance(30)
    with pytest.raises(Exception, match="expired"):
        await company.sessions.redeem_websocket_token(token["ws_access_token"])


@pytest.mark.anyio
async def test_a_websocket_token_ends_with_its_session_and_can_not_be_made_up(company: Company) -> None:
    info = await company.login()
    token = (await company.client.post("/restapi/oauth/wstoken")).json()["ws_access_token"]
    for forged in ("", "x", token[:-1], token[:-1] + ("A" if token[-1] != "A" else "B"), f"9{token}", "é" * 60):
        with pytest.raises(Exception, match="invalid"):
            await company.sessions.redeem_websocket_token(forged)
    await company.client.post(REVOKE, data={"token": info["access_token"]}, auth=company.basic)
    with pytest.raises(Exception, match="not found"):
        await company.sessions.redeem_websocket_token(token)


@pytest.mark.anyio
async def test_a_websocket_token_needs_the_scope(company: Company) -> None:
    await company.login(scope="ReadAccounts")
    answer = await company.client.post("/restapi/oauth/wstoken")
    assert (answer.status_code, answer.json()["permissionName"]) == (403, "WebSocketsSubscription")


REFUSALS: dict[str, tuple[dict[str, str], str | None, int, str]] = {
    # name: form, Authorization ("" the right one, None none), status, OAuth word
    "no-client": ({}, None, 401, "invalid_client"),
    "wrong-secret": ({}, "wrong", 401, "invalid_client"),
    "unknown-client": ({}, "unknown", 401, "invalid_client"),
    "bad-basic": ({}, "Basic ???", 401, "invalid_client"),
    "not-basic": ({}, "Digest abc", 401, "invalid_client"),
    "two-clients": ({"client_id": "another"}, "", 400, "invalid_request"),
    "no-grant-type": ({"grant_type": ""}, "", 400, "invalid_request"),
    "unknown-grant-type": ({"grant_type": "magic"}, "", 400, "unsupported_grant_type"),
    "no-assertion": ({"assertion": ""}, "", 400, "invalid_request"),
    "bad-assertion": ({"assertion": "a.b.c"}, "", 400, "invalid_grant"),
    "unknown-scope": ({"scope": "World"}, "", 400, "invalid_scope"),
    "unknown-user": (
        {"grant_type": "password", "username": "+16505559999", "password": "x"},
        "",
        400,
        "invalid_grant",
    ),
    "no-such-extension": (
        {"grant_type": "password", "username": "+16505550100*999", "password": "x"},
        "",
        400,
        "invalid_grant",
    ),
    "wrong-password": (
        {"grant_type": "password", "username": "+16505550101", "password": "x"},
        "",
        400,
        "invalid_grant",
    ),
    "bad-refresh-token": ({"grant_type": "refresh_token", "refresh_token": "1_x"}, "", 400, "invalid_grant"),
    "no-token-of-ours": ({"grant_type": "refresh_token", "refresh_token": "x"}, "", 400, "invalid_grant"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_speaks_oauth(company: Company, golden: Golden, name: str) -> None:
    more, authorization, status, word = REFUSALS[name]
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("101"), **more}
    client_id, secret = company.basic
    headers = {
        "": basic(client_id, secret),
        None: {},
        "wrong": basic(client_id, "wrong"),
        "unknown": basic("unknown", "wrong"),
    }.get(authorization, {"Authorization": authorization or ""})
    answer = await company.client.post(TOKEN, data={key: one for key, one in form.items() if one}, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, word)
    golden(f"errors/oauth-{name}", answer.json())
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.anyio
async def test_a_confidential_app_must_authenticate(company: Company) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("101"), "client_id": company.basic[0]}
    answer = await company.client.post(TOKEN, data=form)
    assert (answer.status_code, answer.json()["errors"][0]["errorCode"]) == (401, "OAU-123")
    public = company.seeded.apps[1]
    answer = await company.client.post(TOKEN, data=form, headers=basic(public.client_id, "some secret"))
    assert answer.status_code == 400


@pytest.mark.anyio
@pytest.mark.parametrize("path", [TOKEN, REVOKE])
async def test_another_media_type_is_415(company: Company, path: str) -> None:
    answer = await company.client.post(path, json={"token": "x"}, auth=company.basic)
    assert (answer.status_code, answer.json()["error"]) == (415, "invalid_request")


@pytest.mark.anyio
async def test_a_form_says_each_thing_once(company: Company) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    answer = await company.client.post(TOKEN, content=b"grant_type=a&grant_type=b", headers=headers, auth=company.basic)
    assert answer.json()["errors"][0]["errorCode"] == "OAU-111"
    answer = await company.client.post(TOKEN, content=b"\xff=1", headers=headers, auth=company.basic)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    many = b"&".join(b"a%d=1" % number for number in range(100))
    answer = await company.client.post(TOKEN, content=many, headers=headers, auth=company.basic)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.anyio
async def test_revoke_needs_a_token_and_only_one(company: Company) -> None:
    answer = await company.client.post(REVOKE, auth=company.basic)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = await company.client.post(REVOKE, params={"token": "a"}, data={"token": "b"}, auth=company.basic)
    assert answer.json()["errors"][0]["errorCode"] == "OAU-150"


@pytest.mark.anyio
async def test_a_disabled_extension_gets_no_tokens(company: Company) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("103")}
    answer = await company.client.post(TOKEN, data=form, auth=company.basic)
    assert answer.json()["errors"][0]["errorCode"] == "OAU-236"


@pytest.mark.anyio
async def test_an_app_gets_no_more_than_its_scopes(company: Company) -> None:
    reader = company.seeded.apps[2]
    form = {"grant_type": JWT_BEARER, "assertion": company.assertion("101"), "scope": "SMS"}
    answer = await company.client.post(TOKEN, data=form, headers=basic(reader.client_id, reader.secret or ""))
    assert answer.json()["error"] == "invalid_scope"
    del form["scope"]
    answer = await company.client.post(TOKEN, data=form, headers=basic(reader.client_id, reader.secret or ""))
    assert answer.json()["scope"] == "ReadAccounts"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "token, code",
    [("nonsense", "OAU-149"), ("1_nonsense", "OAU-213"), ("9" * 17 + "_x", "OAU-149"), ("é_x", "OAU-149")],
)
async def test_what_is_no_token_is_refused(company: Company, token: str, code: str) -> None:
    answer = await company.client.get(EXTENSION, params={"access_token": token})
    assert (answer.status_code, answer.json()["errors"][0]["errorCode"]) == (401, code)
    assert answer.json()["errorCode"] == "TokenInvalid"


@pytest.mark.anyio
async def test_a_refresh_token_is_no_access_token(company: Company) -> None:
    info = await company.grant()
    assert await company.status_of(info["refresh_token"]) == 401
    assert (await company.refresh(info["access_token"])).status_code == 400
