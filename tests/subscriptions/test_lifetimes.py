from __future__ import annotations

import pytest

from tocsin.domain.errors import InvalidParameter
from tocsin.domain.subscription import TransportType
from tocsin.subscriptions.lifetimes import LIFETIMES, lifetime_s


def test_every_transport_has_its_lifetimes() -> None:
    assert LIFETIMES.keys() == set(TransportType)


@pytest.mark.parametrize(
    "asked_s, given_s",
    [(None, 604_800), (1, 1), (604_799, 604_799), (315_360_000, 315_360_000), (630_720_000, 315_360_000)],
)
def test_a_webhook_lives_as_long_as_asked_and_ten_years_at_most(asked_s: int | None, given_s: int) -> None:
    assert lifetime_s(TransportType.WEBHOOK, asked_s) == given_s


@pytest.mark.parametrize("asked_s", [None, 1, 604_800])
def test_a_websocket_lives_by_its_session(asked_s: int | None) -> None:
    assert lifetime_s(TransportType.WEBSOCKET, asked_s) == 86_400


@pytest.mark.parametrize("transport", TransportType)
@pytest.mark.parametrize("asked_s", [0, -1])
def test_a_lifetime_below_a_second_is_refused(transport: TransportType, asked_s: int) -> None:
    with pytest.raises(InvalidParameter) as refused:
        lifetime_s(transport, asked_s)
    assert refused.value.parameter == "expiresIn"
