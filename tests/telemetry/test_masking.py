from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.telemetry.masking import HIDDEN, mask_field, mask_number, mask_text


@pytest.mark.parametrize(
    "number, masked",
    [
        ("+16505551234", "+1********34"),
        ("+442071838750", "+44********50"),
        ("+35315551234", "+353******34"),
        ("+79161234567", "+7********67"),
        ("6505551234", "********34"),
        ("(650) 555-1234", "********34"),
        ("%2B16505551234", "+1********34"),
        ("+1", "+1"),
    ],
)
def test_a_number_keeps_its_country_code_and_two_digits(number: str, masked: str) -> None:
    assert mask_number(number) == masked


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.text(alphabet="ab :,\n", max_size=5))
def test_no_international_number_survives_in_a_text(number: str, around: str) -> None:
    masked = mask_text(f"{around}{number}{around}")
    assert number not in masked
    assert number[3:-2] not in masked or number[3:-2].strip("*") == ""
    assert masked.endswith(number[-2:] + around)


@pytest.mark.parametrize(
    "text, kept",
    [
        ("GET /restapi/v1.0/account?access_token=abc.def&page=1", f"access_token={HIDDEN}&page=1"),
        ("GET /callback?code=abcdef", f"code={HIDDEN}"),
        ("header Authorization: Bearer U0pDMTJQMDFQQVMwMHxB", f"Bearer {HIDDEN}"),
        ("header basic dXNlcjpwYXNz", f"basic {HIDDEN}"),
        ('{"refresh_token": "U0pDMTJQMDF", "page": 1}', f'"refresh_token": "{HIDDEN}", "page": 1'),
        ("found eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl there", f"found {HIDDEN} there"),
        ("[SQL: INSERT …]\n[parameters: ('see you at nine',)]\n(more)", f"[parameters: {HIDDEN}]\n(more)"),
    ],
)
def test_secrets_in_a_text_are_hidden_and_the_rest_stays(text: str, kept: str) -> None:
    assert kept in mask_text(text)


@pytest.mark.parametrize(
    "key",
    "text subject body access_token accessToken refresh_token assertion Authorization verification_token client_secret "
    "password X-Verification-Token wsc Set-Cookie fromName".split(),
)
def test_a_key_that_holds_a_text_or_a_secret_is_hidden(key: str) -> None:
    assert mask_field(key, "see you at nine") == HIDDEN
    assert mask_field("message", {"id": "17", key: "see you at nine"}) == {"id": "17", key: HIDDEN}
    assert mask_field("messages", [{key: ["see you at nine"]}]) == [{key: HIDDEN}]


def test_numbers_are_masked_under_their_keys_even_without_a_plus() -> None:
    assert mask_field("from", "6505551234") == "********34"
    assert mask_field("to", ["+16505551234", "101"]) == ["+1********34", "101"]
    assert mask_field("recipient", {"phoneNumber": "16505551234"}) == {"phoneNumber": "*********34"}


def test_ids_counts_and_times_stay_readable() -> None:
    at = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    assert mask_field("message_id", 401654758008) == 401654758008
    assert mask_field("subscription_id", "401654758008") == "401654758008"
    assert mask_field("at", at) == "2026-11-22T06:00:00+00:00"
    assert mask_field("tried", True) is True


def test_an_unknown_object_is_named_by_its_type_only() -> None:
    @dataclass
    class Sms:
        text: str

    class Colour(StrEnum):
        RED = "red"

    assert mask_field("message", Sms("see you at nine")) == "<Sms>"
    assert mask_field("raw", b"see you at nine") == "<bytes>"
    assert mask_field("colour", Colour.RED) == "red"
    assert mask_field("error", ValueError("cannot reach +16505551234")) == "ValueError: cannot reach +1********34"


def test_what_is_nested_too_deep_is_hidden() -> None:
    value: object = "plain"
    for _ in range(9):
        value = [value]
    assert HIDDEN in str(mask_field("deep", value))
