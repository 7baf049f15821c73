"""What a refusal of RingCentral's API must look like, whoever makes it."""

from __future__ import annotations

from typing import Any

import httpx2

LEGACY_NAMES = {
    "CMN-101": "InvalidParameter",
    "CMN-102": "InvalidParameter",
    "OAU-149": "TokenInvalid",
    "OAU-213": "TokenInvalid",
    "CMN-401": "InsufficientPermissions",
    "CMN-408": "InsufficientPermissions",
    "MSG-240": "InternationalProhibited",
}
"""Codes whose top level says an older name, which clients branch on first."""


def assert_refused(answer: httpx2.Response, status: int, code: str, parameter: str | None = None) -> dict[str, Any]:
    """Fail unless `answer` is an error with this modern `code`, said twice, naming the `parameter` at fault."""
    told = f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:400]}"
    assert answer.status_code == status, told
    assert answer.headers["content-type"] == "application/json;charset=UTF-8", told
    assert answer.headers["rcrequestid"], told
    body: dict[str, Any] = answer.json()
    if code != "AGW-404":
        first = body["errors"][0]
        assert first["errorCode"] == code, told
        assert first["message"], told
        assert first.get("parameterName") == parameter, told
        assert {**first, "errorCode": LEGACY_NAMES.get(code, code)} == {
            name: value for name, value in body.items() if name != "errors"
        }, told
    else:
        assert (body["errorCode"], body["errors"]) == (code, []), told
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer"), told
    return body
