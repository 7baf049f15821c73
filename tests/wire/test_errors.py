from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import tocsin
from tests.openapi import assert_matches, component
from tocsin.domain import errors
from tocsin.domain.errors import GrantRefused, MissingScope, Refused, TocsinError, Unauthenticated
from tocsin.wire.errors import OAUTH_STATUS_OF, STATUS_OF, render_error, status_and_code

SOURCE = Path(tocsin.__file__).parent
RAISED = re.compile(r"(Refused|Unauthenticated|GrantRefused)\(\s*\"([A-Z]{3}-\d+)\"")


def test_every_code_that_the_source_raises_has_a_line_in_the_table() -> None:
    raised = {found for path in SOURCE.rglob("*.py") for found in RAISED.findall(path.read_text(encoding="utf-8"))}
    assert len(raised) > 10
    missing = {
        (kind, code) for kind, code in raised if code not in (OAUTH_STATUS_OF if kind == "GrantRefused" else STATUS_OF)
    }
    assert missing == set()


def test_every_class_of_error_has_a_status() -> None:
    # Those with a code of their own have it from the table by code; nothing else may fall to 500.
    coded = (Refused, Unauthenticated, GrantRefused, TocsinError)
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, TocsinError)]
    statuses = {one: status_and_code(one("message"))[0] for one in classes if one not in coded}
    assert len(statuses) > 8
    assert {status for status in statuses.values() if status not in (400, 403, 404, 503)} == set()


@pytest.mark.parametrize("code", STATUS_OF)
def test_every_body_says_it_at_both_levels(code: str) -> None:
    reply = render_error(Refused(code, "Some words", parameter="thing", value="7"))
    assert reply.status == STATUS_OF[code]
    body = msgspec.json.decode(reply.body)
    message = "Service Temporary Unavailable" if code == "CMN-201" else "Some words"
    one = {"errorCode": code, "message": message, "parameterName": "thing", "parameterValue": "7"}
    assert body["errors"] == [one]
    assert {key: body[key] for key in one if key != "errorCode"} == {
        key: value for key, value in one.items() if key != "errorCode"
    }


def test_every_body_is_what_the_reference_documents(reference: Path) -> None:
    for code in STATUS_OF:
        body = msgspec.json.decode(render_error(Refused(code, "Some words", parameter="thing")).body)
        assert_matches(reference, component("ApiErrorResponseModel"), body)


@pytest.mark.parametrize(
    "code, legacy",
    [
        ("CMN-101", "InvalidParameter"),
        ("CMN-102", "InvalidParameter"),
        ("OAU-213", "TokenInvalid"),
        ("CMN-408", "InsufficientPermissions"),
        ("MSG-240", "InternationalProhibited"),
        ("SUB-524", "SUB-524"),
        ("CMN-419", "CMN-419"),
    ],
)
def test_some_codes_have_an_old_name_at_the_top(code: str, legacy: str) -> None:
    assert msgspec.json.decode(render_error(Refused(code, "x")).body)["errorCode"] == legacy


def test_a_permission_is_named_as_such() -> None:
    body = msgspec.json.decode(render_error(MissingScope("x", parameter="ReadMessages")).body)
    assert body["permissionName"] == body["errors"][0]["permissionName"] == "ReadMessages"
    assert "parameterName" not in body
