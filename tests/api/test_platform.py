from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.company import ACCOUNT, BASE, EXTENSION, Company, open_company
from tests.goldens import GOLDEN_DIR, Golden
from tests.openapi import assert_valid
from tocsin.directory.seed_file import parse_seed

PLAN = """
[[account]]
name = "Example Company"
main_number = "+18005550199"

[[account.extension]]
number = "101"
name = "Ada Admin"
role = "admin"
email = "ada@example.com"
phone_numbers = [{ number = "+16505550101" }]

[[account.extension]]
number = "102"
name = "Uma"
permissions = ["ReadMessages", "OutboundSMS"]
phone_numbers = [
    { number = "+14165550102", features = ["CallerId"] },
    { number = "+442079460958", features = ["SmsSender", "InternationalSmsSender"] },
]

[[account.extension]]
number = "103"
status = "Disabled"
"""
RESOURCES = {
    "readAPIVersions": "/restapi",
    "readAPIVersion": "/restapi/v1.0",
    "readAccountInfo": ACCOUNT,
    "readExtension": EXTENSION,
    "listExtensions": f"{ACCOUNT}/extension",
    "listExtensionPhoneNumbers": f"{EXTENSION}/phone-number",
    "listAccountPhoneNumbers": f"{ACCOUNT}/phone-number",
}


@pytest.fixture
async def company(tmp_path: Path) -> AsyncGenerator[Company]:
    async with open_company(tmp_path, parse_seed(PLAN)) as opened:
        yield opened


async def records(company: Company, path: str, **params: str | list[str]) -> list[str]:
    """What names each record of a list: its extension or phone number."""
    answer = await company.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [one.get("phoneNumber") or one["extensionNumber"] for one in answer.json()["records"]]


@pytest.mark.anyio
@pytest.mark.parametrize("operation", RESOURCES)
@pytest.mark.parametrize("number", ["101", "102"])
async def test_each_resource_to_the_letter(company: Company, golden: Golden, operation: str, number: str) -> None:
    await company.login(number)
    answer = await company.client.get(RESOURCES[operation])
    assert answer.status_code == 200, answer.text
    golden(f"platform/{operation}-{number}", answer.json())


@pytest.mark.parametrize("operation", RESOURCES)
@pytest.mark.parametrize("number", ["101", "102"])
def test_each_resource_is_what_the_reference_documents(reference: Path, operation: str, number: str) -> None:
    assert_valid(reference, operation, 200, (GOLDEN_DIR / f"platform/{operation}-{number}.json").read_bytes())


@pytest.mark.anyio
async def test_uris_have_ids_and_work(company: Company) -> None:
    await company.login()
    for path in (ACCOUNT, EXTENSION, f"{ACCOUNT}/extension", f"{EXTENSION}/phone-number", f"{ACCOUNT}/phone-number"):
        shown = (await company.client.get(path)).json()
        assert "~" not in shown["uri"]
        assert (await company.client.get(shown["uri"])).json() == shown


@pytest.mark.anyio
async def test_ids_are_numbers_but_for_the_account_of_an_extension(company: Company) -> None:
    await company.login()
    account, extension = [(await company.client.get(path)).json() for path in (ACCOUNT, EXTENSION)]
    assert (account["id"], extension["id"]) == (company.account_id, company.extension_id("101"))
    assert extension["account"]["id"] == str(company.account_id)
    assert account["operator"]["id"] == company.extension_id("101")


@pytest.mark.anyio
async def test_service_features_follow_permissions_and_numbers(company: Company) -> None:
    async def enabled(number: str) -> set[str]:
        await company.login(number)
        features = (await company.client.get(EXTENSION)).json()["serviceFeatures"]
        assert all("reason" in one for one in features if not one["enabled"])
        return {one["featureName"] for one in features if one["enabled"]}

    assert await enabled("101") == {"SMS", "SMSReceiving", "MMS", "Pager", "PagerReceiving"}
    assert await enabled("102") == {"SMS", "SMSReceiving", "InternationalSMS", "PagerReceiving"}


@pytest.mark.anyio
async def test_the_extension_list_filters(company: Company) -> None:
    await company.login()
    path = f"{ACCOUNT}/extension"
    assert await records(company, path) == ["101", "102", "103"]
    assert await records(company, path, extensionNumber="102") == ["102"]
    assert await records(company, path, email="ADA@example.com") == ["101"]
    assert await records(company, path, status=["Enabled", "Frozen"]) == ["101", "102"]
    assert await records(company, path, status="Disabled") == ["103"]
    assert await records(company, path, type="Department") == []
    assert await records(company, path, type=["User", "Department"]) == ["101", "102", "103"]


@pytest.mark.anyio
async def test_the_number_lists_filter(company: Company) -> None:
    await company.login("102")
    own, all_of = f"{EXTENSION}/phone-number", f"{ACCOUNT}/phone-number"
    assert await records(company, own) == ["+14165550102", "+442079460958", "+18005550199"]
    assert await records(company, own, usageType="DirectNumber") == ["+14165550102", "+442079460958"]
    assert await records(company, own, usageType=["MainCompanyNumber", "NumberPool"]) == ["+18005550199"]
    assert await records(company, own, status="Pending") == []
    assert await records(company, all_of) == ["+18005550199", "+16505550101", "+14165550102", "+442079460958"]
    assert await records(company, all_of, paymentType="TollFree") == ["+18005550199"]
    assert await records(company, all_of, extensionStatus="Disabled") == []
    assert len(await records(company, all_of, extensionStatus="Enabled")) == 3


@pytest.mark.anyio
async def test_lists_have_pages(company: Company) -> None:
    await company.login()
    path, seen = f"{ACCOUNT}/extension?perPage=2&status=Enabled&status=Disabled", []
    shown: dict[str, Any] = {}
    while path:
        shown = (await company.client.get(path)).json()
        seen += [one["extensionNumber"] for one in shown["records"]]
        path = shown["navigation"].get("nextPage", {}).get("uri", "")
    assert seen == ["101", "102", "103"]
    assert shown["paging"] == {
        "page": 2,
        "perPage": 2,
        "pageStart": 2,
        "pageEnd": 2,
        "totalPages": 2,
        "totalElements": 3,
    }
    assert set(shown["navigation"]) == {"firstPage", "lastPage", "previousPage"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path, parameter",
    [
        (f"{ACCOUNT}/extension?status=Sleeping", "status"),
        (f"{ACCOUNT}/extension?type=Robot", "type"),
        (f"{ACCOUNT}/extension?page=0", "page"),
        (f"{ACCOUNT}/extension?perPage=many", "perPage"),
        (f"{EXTENSION}/phone-number?usageType=Mine", "usageType"),
        (f"{EXTENSION}/phone-number?status=Odd", "status"),
        (f"{ACCOUNT}/phone-number?paymentType=Cash", "paymentType"),
        (f"{ACCOUNT}/phone-number?extensionStatus=Odd", "extensionStatus"),
    ],
)
async def test_a_bad_filter_is_named(company: Company, path: str, parameter: str) -> None:
    await company.login()
    answer = await company.client.get(path)
    assert (answer.status_code, answer.json()["parameterName"]) == (400, parameter)


@pytest.mark.anyio
async def test_versions_and_status_need_no_token(company: Company) -> None:
    shown = (await company.client.get("/restapi/v1.0")).json()
    assert shown["uriString"] == "v1.0"
    assert shown["apiVersions"][0]["uri"] == f"{BASE}/restapi/v1.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", shown["serverVersion"])
    answer = await company.client.get("/restapi/v1.0/status", headers={"Authorization": "Bearer expired"})
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.anyio
async def test_a_limited_system_says_when_to_come_back(company: Company) -> None:
    company.limited.append("the disk is full")
    answer = await company.client.get("/restapi/v1.0/status")
    assert (answer.status_code, answer.json()["errorCode"]) == (503, "CMN-211")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.anyio
async def test_any_user_sees_the_companys_extensions_but_not_their_number_lists(company: Company) -> None:
    await company.login("102")
    other = f"{ACCOUNT}/extension/{company.extension_id('101')}"
    assert (await company.client.get(other)).json()["extensionNumber"] == "101"
    refused = await company.client.get(f"{other}/phone-number")
    assert (refused.status_code, refused.json()["errors"][0]["errorCode"]) == (403, "CMN-419")
    await company.login("101")
    other = f"{ACCOUNT}/extension/{company.extension_id('102')}/phone-number"
    assert (await company.client.get(other)).json()["records"][0]["phoneNumber"] == "+14165550102"
