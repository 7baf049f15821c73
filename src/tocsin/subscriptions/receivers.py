"""What a client may name as the receiver of a webhook, and what it is told when the handshake with it fails.

Pure: the handshake itself is sent by delivery/, which also decides which addresses may be reached at all.
Source: RC createSubscription, error codes SUB-520 to SUB-525 and CMN-101 for `deliveryMode`.
"""

from __future__ import annotations

from typing import assert_never
from urllib.parse import urlsplit

from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.handshake import (
    BadCertificate,
    HandshakePassed,
    HandshakeResult,
    HttpsRequired,
    InvalidResponse,
    NotReturned,
    RefusedAddress,
    Unreachable,
    WrongStatus,
)

ADDRESS = "deliveryMode.address"
VERIFICATION_TOKEN = "deliveryMode.verificationToken"  # noqa: S105  # a parameter's name

MAX_ADDRESS_CHARS = 2_048
MAX_TOKEN_CHARS = 1_024
"""Our choice: what common servers take as a request line and as a header. No source names limits."""


def check_address(address: str | None, *, https_only: bool) -> str:
    """Return `address` if a webhook may be sent there. Raises CMN-101 for what is no such address, SUB-523 for http.

    User and password in the address are refused: every answer would show them (our choice).
    """
    if address is None or not 0 < len(address) <= MAX_ADDRESS_CHARS or not _is_visible(address):
        raise _invalid(ADDRESS, address)
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        sound, parts = False, urlsplit("")
    if not sound or parts.username is not None or parts.fragment or "\\" in address:
        raise _invalid(ADDRESS, address)
    if https_only and parts.scheme != "https":
        raise refusal_of(HttpsRequired())
    return address


def check_verification_token(token: str | None) -> str | None:
    """Return `token` if it can be sent as a header's value; None where none was given. Raises CMN-101."""
    if token is None:
        return None
    if not 0 < len(token) <= MAX_TOKEN_CHARS or not _is_visible(token.replace(" ", "_")) or token.strip() != token:
        raise _invalid(VERIFICATION_TOKEN, None)
    return token


def check_handshake(result: HandshakeResult) -> None:
    """Return if the handshake passed; else raise what the client is told."""
    if not isinstance(result, HandshakePassed):
        raise refusal_of(result)


def refusal_of(
    result: NotReturned | Unreachable | WrongStatus | BadCertificate | InvalidResponse | RefusedAddress | HttpsRequired,
) -> Refused:
    """Return the error for a handshake that did not pass."""
    match result:
        case NotReturned():
            code, message = "SUB-520", "Validation Token is not returned"
        case Unreachable(detail):
            code, message = "SUB-521", f"WebHook is not reachable: {detail}"
        case RefusedAddress():
            # Without the guard's detail: which inner address a name stands for is nothing that a client may learn.
            code, message = "CMN-101", f"Parameter [{ADDRESS}] value is invalid: nothing is sent to such an address"
        case WrongStatus(status):
            code, message = "SUB-522", f"WebHook responds with incorrect HTTP status. HTTP status is {status}"
        case HttpsRequired():
            code, message = "SUB-523", "HTTPS is required"
        case BadCertificate(detail):
            code, message = "SUB-524", f"HTTPS certificate is not valid: {detail}"
        case InvalidResponse(detail):
            code, message = "SUB-525", f"WebHook server response is invalid: {detail}"
        case _:
            assert_never(result)
    return Refused(code, message, parameter=ADDRESS)


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _invalid(parameter: str, value: str | None) -> InvalidParameter:
    return InvalidParameter(f"Parameter [{parameter}] value is invalid", parameter=parameter, value=value)
