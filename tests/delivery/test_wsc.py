"""The session context token: signed, URL-safe, and read back exactly."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.delivery.wsc import MalformedToken, SessionContext, read_context, sign_context
from tocsin.domain.ids import AccountId, SessionId

KEY = b"k" * 32
numbers = st.integers(0, 2**53)


@given(numbers, st.text(string.hexdigits, min_size=1), numbers, numbers, numbers, numbers)
def test_reads_back_what_it_signed_and_fits_an_unescaped_query(
    account: int, session: str, epoch: int, before: int, last: int, done: int
) -> None:
    context = SessionContext(AccountId(account), SessionId(session), epoch, before, last, done)
    token = sign_context(context, KEY)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")
    assert read_context(token, KEY) == context


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "abc",
        "!!!!",
        "é",
        "A" * 200,
        sign_context(SessionContext(AccountId(1), SessionId("s"), 1, 2, 3, 4), b"another key"),
    ],
)
def test_refuses_what_it_did_not_sign(token: str) -> None:
    with pytest.raises(MalformedToken):
        read_context(token, KEY)


def test_refuses_a_token_with_one_bit_changed() -> None:
    token = sign_context(SessionContext(AccountId(1), SessionId("s"), 1, 2, 3, 4), KEY)
    changed = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    with pytest.raises(MalformedToken):
        read_context(changed, KEY)
