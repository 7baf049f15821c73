from __future__ import annotations

import inspect

import pytest

from tocsin.domain import errors
from tocsin.domain.errors import InvalidParameter, NotFound, Refused, TocsinError, Unauthenticated

WITH_A_CODE = (Refused, Unauthenticated, errors.GrantRefused)
PLAIN = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, TocsinError) and not issubclass(kind, WITH_A_CODE)
]


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: str(kind.__name__))
def test_the_docstring_is_the_default_message(kind: type[TocsinError]) -> None:
    first = (kind.__doc__ or "").splitlines()[0]
    assert first
    assert str(kind()) == first


def test_a_message_of_its_own_wins() -> None:
    assert str(NotFound("no such fax")) == "no such fax"


def test_the_offending_parameter_goes_along() -> None:
    wrong = InvalidParameter("too long", parameter="text", value="aaa")
    assert (str(wrong), wrong.parameter, wrong.value) == ("too long", "text", "aaa")
    assert NotFound().parameter is None


def test_a_refusal_carries_ringcentrals_code() -> None:
    refused = Refused("SUB-505", "Subscriptions limit exceeded", parameter="p", value="v")
    assert (refused.code, str(refused), refused.parameter, refused.value) == (
        "SUB-505",
        "Subscriptions limit exceeded",
        "p",
        "v",
    )


def test_a_missing_login_carries_its_code() -> None:
    refused = Unauthenticated("OAU-213", "Token not found")
    assert (refused.code, str(refused)) == ("OAU-213", "Token not found")
