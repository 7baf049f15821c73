"""The only table from error to HTTP status and RingCentral body; every reply that is not a success is made here.

A REST error says everything twice: at the top (where `errorCode` is a legacy name for a few codes) and in `errors[]`,
which clients read unguarded and so is always an array. The two OAuth endpoints answer in OAuth's own words.
Never says what went wrong inside: an error without a line here becomes CMN-203 and nothing more.
Source: RC doc "error handling" and the error lists of each operation; captures for the legacy names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tocsin.domain.errors import (
    GrantRefused,
    InvalidParameter,
    MissingPermission,
    MissingScope,
    NotFound,
    OtherExtension,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Stale,
    StoreUnavailable,
    TocsinError,
    Unauthenticated,
)

RETRY_AFTER_S = 1
"""What a client is told to wait when the store is busy or away. Our choice: a busy writer catches up that soon."""


class NoSuchResource(TocsinError):
    """Invalid URI"""


class UnknownHost(TocsinError):
    """Resource not found"""


class MethodNotAllowed(TocsinError):
    """The method is not supported by this resource"""

    def __init__(self, allowed: str) -> None:
        super().__init__()
        self.allowed = allowed


class BodyTooLarge(TocsinError):
    """Cannot parse request: the body is larger than this operation takes"""


class UnsupportedMediaType(TocsinError):
    """Cannot parse request: the media type is not supported by this operation"""


class MalformedRequest(TocsinError):
    """Cannot parse request"""


# 413 and 415 have no code of their own in any source. CMN-104 ("cannot parse request") is the documented one that is
# true of both; likewise CMN-202 ("not supported") is what is documented for a method that a resource does not have.
_BY_CLASS: Final[dict[type[TocsinError], tuple[int, str]]] = {
    InvalidParameter: (400, "CMN-101"),
    NotFound: (404, "CMN-102"),
    MissingScope: (403, "CMN-401"),
    MissingPermission: (403, "CMN-408"),
    OtherExtension: (403, "CMN-419"),
    Overloaded: (503, "CMN-201"),
    StoreUnavailable: (503, "CMN-201"),
    OutcomeUnknown: (503, "CMN-201"),
    Stale: (503, "CMN-201"),
    NoSuchResource: (404, "CMN-120"),
    UnknownHost: (404, "AGW-404"),
    MethodNotAllowed: (405, "CMN-202"),
    BodyTooLarge: (413, "CMN-104"),
    UnsupportedMediaType: (415, "CMN-104"),
    MalformedRequest: (400, "CMN-104"),
}

_CODES_BY_STATUS: Final[dict[int, str]] = {
    400: "CMN-101 CMN-102 CMN-103 CMN-104 CMN-105 CMN-106 CMN-108 CMN-110 CMN-406 CMN-407 "
    "OAU-111 OAU-147 OAU-148 OAU-150 OAU-232 OAU-236 "
    "SUB-508 SUB-515 SUB-516 SUB-520 SUB-521 SUB-522 SUB-523 SUB-524 SUB-525 "
    "MSG-243 MSG-245 MSG-246 MSG-247 MSG-310 MSG-316 MSG-324 MSG-331 MSG-332 MSG-333 MSG-335 MSG-337 MSG-338 "
    "MSG-347 MSG-349 MSG-350 MSG-351 MSG-365 MSG-381 MSG-390",
    401: "AGW-401 AGW-402 CMN-405 OAU-121 OAU-123 OAU-127 OAU-128 OAU-129 OAU-136 OAU-141 OAU-142 OAU-149 OAU-151 "
    "OAU-213",
    403: "CMN-109 CMN-401 CMN-402 CMN-403 CMN-404 CMN-408 CMN-419 BIL-103 "
    "SUB-402 SUB-403 SUB-404 SUB-405 SUB-406 SUB-407 SUB-408 SUB-505 SUB-518 SUB-527 SUB-528 SUB-530 SUB-531 "
    "MSG-240 MSG-241 MSG-242 MSG-304 MSG-309 MSG-314 MSG-325 MSG-326 MSG-330 MSG-340 MSG-341 MSG-367 MSG-380 MSG-383 "
    "MSG-384 MSG-397 MSG-403",
    404: "CMN-120 AGW-404 SUB-507",
    405: "SUB-511",
    406: "MSG-343",
    415: "MSG-348",
    416: "CMN-107",
    429: "CMN-301 CMN-302 CMN-303 CMN-304 CMN-310 MSG-305",
    500: "CMN-203 MSG-352",
    501: "CMN-202",
    503: "CMN-201 CMN-211 MSG-290",
}
STATUS_OF: Final[dict[str, int]] = {
    code: status for status, codes in _CODES_BY_STATUS.items() for code in codes.split()
}
"""HTTP status of each code that a use case may raise with `Refused` or `Unauthenticated`."""

OAUTH_STATUS_OF: Final[dict[str, tuple[int, str]]] = {
    "CMN-101": (400, "invalid_request"),
    "CMN-104": (415, "invalid_request"),
    "OAU-111": (400, "invalid_request"),
    "OAU-150": (400, "invalid_request"),
    "OAU-112": (400, "unsupported_grant_type"),
    "OAU-117": (400, "invalid_scope"),
    "OAU-125": (400, "unauthorized_client"),
    "OAU-120": (401, "invalid_client"),
    "OAU-123": (401, "invalid_client"),
    "OAU-146": (401, "invalid_client"),
    "OAU-140": (400, "invalid_grant"),
    "OAU-142": (400, "invalid_grant"),
    "OAU-213": (400, "invalid_grant"),
    "OAU-232": (400, "invalid_grant"),
    "OAU-236": (400, "invalid_grant"),
}
"""Status and OAuth word of each code that `GrantRefused` may carry. RC: getToken has 400 for every refused grant."""

_LEGACY_NAMES: Final[dict[str, str]] = {
    "CMN-101": "InvalidParameter",
    "CMN-102": "InvalidParameter",
    "OAU-129": "TokenInvalid",
    "OAU-149": "TokenInvalid",
    "OAU-213": "TokenInvalid",
    "CMN-401": "InsufficientPermissions",
    "CMN-408": "InsufficientPermissions",
    "MSG-240": "InternationalProhibited",
}
_PERMISSION_ERRORS = (MissingScope, MissingPermission, OtherExtension)


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A refusal as HTTP carries it; `body` is JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def render_error(error: Exception) -> ErrorReply:
    """Any exception as the reply that its caller gets. What is no `TocsinError` becomes 500 CMN-203, with no detail."""
    if isinstance(error, GrantRefused):
        return _oauth(error)
    if not isinstance(error, TocsinError):
        return ErrorReply(500, _rest_body("CMN-203", "Internal Server Error", {}))
    status, code = status_and_code(error)
    if isinstance(error, UnknownHost):
        return ErrorReply(status, msgspec.json.encode({"errorCode": code, "message": str(error), "errors": []}))
    message = "Service Temporary Unavailable" if code == "CMN-201" else str(error)
    return ErrorReply(status, _rest_body(code, message, _attributes(error)), _headers(error, status))


def status_and_code(error: TocsinError) -> tuple[int, str]:
    """HTTP status and modern code of `error`."""
    if isinstance(error, GrantRefused):
        return OAUTH_STATUS_OF[error.code][0], error.code
    if isinstance(error, Refused | Unauthenticated):
        # A test finds every code that the source raises; one that is missing here is our fault, hence 500.
        return STATUS_OF.get(error.code, 500), error.code
    return _BY_CLASS.get(type(error), (500, "CMN-203"))


def _attributes(error: TocsinError) -> dict[str, str]:
    if error.parameter is None:
        return {}
    if isinstance(error, _PERMISSION_ERRORS):
        return {"permissionName": error.parameter}
    extra = {"parameterName": error.parameter}
    return extra if error.value is None else extra | {"parameterValue": error.value}


def _rest_body(code: str, message: str, attributes: dict[str, str]) -> bytes:
    one: dict[str, Any] = {"errorCode": code, "message": message, **attributes}
    return msgspec.json.encode({**one, "errorCode": _LEGACY_NAMES.get(code, code), "errors": [one]})


def _oauth(error: GrantRefused) -> ErrorReply:
    status, word = OAUTH_STATUS_OF[error.code]
    return ErrorReply(
        status,
        msgspec.json.encode(
            {
                "error": word,
                "error_description": str(error),
                "errors": [{"errorCode": error.code, "message": str(error)}],
            }
        ),
        # RFC 6749, 5.1: neither tokens nor refusals of them are for caches.
        (("Cache-Control", "no-store"), ("Pragma", "no-cache")),
    )


def _headers(error: TocsinError, status: int) -> tuple[tuple[str, str], ...]:
    if isinstance(error, MethodNotAllowed):
        return (("Allow", error.allowed),)
    if status == 401:
        return (("WWW-Authenticate", 'Bearer realm="RingCentral REST API"'),)
    if status == 503:
        return (("Retry-After", str(RETRY_AFTER_S)),)
    return ()
