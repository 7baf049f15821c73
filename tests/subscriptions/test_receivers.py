from __future__ import annotations

import pytest

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
from tocsin.subscriptions.receivers import MAX_ADDRESS_CHARS, check_address, check_handshake, check_verification_token


@pytest.mark.parametrize(
    "address",
    [
        "https://receiver.example/hook",
        "https://receiver.example",
        "HTTPS://receiver.example/hook?key=a%20b&x=1",
        "https://127.0.0.1:8443/hook",
        "https://[::1]:8443/hook",
    ],
)
def test_an_https_address_is_taken_as_it_is(address: str) -> None:
    assert check_address(address, https_only=True) == address


def test_plain_http_is_a_matter_of_the_setting() -> None:
    assert check_address("http://receiver.example/", https_only=False) == "http://receiver.example/"
    with pytest.raises(Refused) as refused:
        check_address("http://receiver.example/", https_only=True)
    assert (refused.value.code, str(refused.value)) == ("SUB-523", "HTTPS is required")


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "receiver.example/hook",
        "/hook",
        "ftp://receiver.example/",
        "https://",
        "https:///hook",
        "https://receiver.example:port/",
        "https://receiver.example:0/",
        "https://receiver.example:99999/",
        "https://[::1/hook",
        "https://name:secret@receiver.example/",
        "https://receiver.example/#part",
        "https://receiver.example/a b",
        "https://receiver.example/\r\nX-Injected: yes",
        "https://receiver.example\\@inner.example/",
        "https://rec\u00e9iver.example/",
        "https://receiver.example/" + "a" * MAX_ADDRESS_CHARS,
    ],
)
def test_what_is_no_such_address_is_an_invalid_parameter(address: str | None) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_address(address, https_only=False)
    assert refused.value.parameter == "deliveryMode.address"


@pytest.mark.parametrize("token", [None, "x", "a long one with spaces", "!#$%&'*+-.^_`|~"])
def test_a_token_that_a_header_can_carry_is_taken(token: str | None) -> None:
    assert check_verification_token(token) == token


@pytest.mark.parametrize("token", ["", " ", " x", "x ", "a\r\nX-Injected: yes", "a\tb", "caf\u00e9", "x" * 1025])
def test_any_other_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check_verification_token(token)
    assert refused.value.parameter == "deliveryMode.verificationToken"
    assert refused.value.value is None


def test_a_passed_handshake_is_nothing_to_tell() -> None:
    check_handshake(HandshakePassed(5))
    with pytest.raises(Refused):
        check_handshake(NotReturned())


@pytest.mark.parametrize(
    "result, code, message",
    [
        (NotReturned(), "SUB-520", "Validation Token is not returned"),
        (Unreachable("timed out"), "SUB-521", "WebHook is not reachable: timed out"),
        (WrongStatus(503), "SUB-522", "WebHook responds with incorrect HTTP status. HTTP status is 503"),
        (HttpsRequired(), "SUB-523", "HTTPS is required"),
        (BadCertificate("expired"), "SUB-524", "HTTPS certificate is not valid: expired"),
        (InvalidResponse("2 KB"), "SUB-525", "WebHook server response is invalid: 2 KB"),
        (
            RefusedAddress("10.0.0.7 is private"),
            "CMN-101",
            "Parameter [deliveryMode.address] value is invalid: nothing is sent to such an address",
        ),
    ],
)
def test_each_failure_has_its_code(result: HandshakeResult, code: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        check_handshake(result)
    assert (refused.value.code, str(refused.value), refused.value.parameter) == (code, message, "deliveryMode.address")
