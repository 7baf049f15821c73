from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from tocsin.directory.assertions import Assertion, Assertions, assertion_hash
from tocsin.domain.ids import AccountId, ExtensionId

ACCOUNT, EXTENSION = AccountId(400_000_001), ExtensionId(400_000_002)


def test_an_assertion_is_read_back_and_is_always_the_same() -> None:
    assertions = Assertions(b"k" * 32)
    text = assertions.mint(ACCOUNT, EXTENSION)
    assert assertions.mint(ACCOUNT, EXTENSION) == text
    assert assertions.read(text) == Assertion(ACCOUNT, EXTENSION, None)
    assert assertions.read(assertions.mint(ACCOUNT, EXTENSION, 99)) == Assertion(ACCOUNT, EXTENSION, 99)
    assert assertion_hash(text) != assertion_hash(text + "x")


def test_it_is_a_jwt() -> None:
    header, claims, _ = Assertions(b"k" * 32).mint(ACCOUNT, EXTENSION).split(".")
    decoded = [json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (header, claims)]
    assert decoded[0] == {"alg": "HS256", "typ": "JWT"}
    assert decoded[1]["sub"] == str(EXTENSION)


def test_what_we_did_not_sign_says_nothing() -> None:
    assertions = Assertions(b"k" * 32)
    text = assertions.mint(ACCOUNT, EXTENSION)
    header, claims, signature = text.split(".")
    none = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    forged = [
        "",
        "x",
        "a.b.c",
        text[:-1],
        f"{header}.{claims}.",
        f"{header}.{claims}x.{signature}",
        f"{none}.{claims}.",
        f"{none}.{claims}.{signature}",
        Assertions(b"other" * 8).mint(ACCOUNT, EXTENSION),
        text + "é",
        "x" * 10_000,
    ]
    assert [assertions.read(one) for one in forged] == [None] * len(forged)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Assertions(b"short")
