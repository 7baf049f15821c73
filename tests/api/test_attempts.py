from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.delivery.test_attempts import NOT_FOUND, OK, attempt_at
from tests.goldens import Golden
from tocsin.api.attempts import Attempts, parse_attempt_query
from tocsin.api.call import Access, Call, Query
from tocsin.domain.attempt import FailureKind
from tocsin.domain.errors import InvalidParameter
from tocsin.domain.ids import SubscriptionId
from tocsin.storage.attempts import AttemptPage, AttemptQuery

PATH = "/tocsin/v1/attempts"
AT_MS = 1_795_327_200_123


class Kept:
    """Two attempts, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[AttemptQuery] = []

    async def page(self, query: AttemptQuery) -> AttemptPage:
        self.asked.append(query)
        newest = replace(attempt_at(AT_MS + 5, NOT_FOUND), number=2)
        return AttemptPage([newest, attempt_at(AT_MS, OK)], 102)


@pytest.mark.anyio
async def test_the_list_as_clients_see_it(golden: Golden) -> None:
    kept = Kept()
    (route,) = Attempts(kept).routes()
    assert (route.method, route.path, route.access) == ("GET", PATH, Access.ADMIN)
    pairs = (("subscriptionId", "s-1"), ("page", "1"))
    reply = await route.handler(Call("GET", PATH, {}, Query(pairs), {}, b"", "https://tocsin.example"))
    assert kept.asked == [AttemptQuery(subscription_id=SubscriptionId("s-1"))]
    golden("attempts/list", json.loads(reply.body))


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("status", "404", AttemptQuery(http_status=404)),
        ("status", "delivered", AttemptQuery(delivered=True)),
        ("status", "Failed", AttemptQuery(delivered=False)),
        ("status", "timeout", AttemptQuery(kind=FailureKind.TIMEOUT)),
        ("status", "REFUSED_ADDRESS", AttemptQuery(kind=FailureKind.REFUSED_ADDRESS)),
        ("from", "2026-11-22T06:00:00.123Z", AttemptQuery(from_ms=AT_MS)),
        ("page", "3", AttemptQuery(page=3)),
        ("perPage", "10", AttemptQuery(per_page=10)),
        ("unknown", "x", AttemptQuery()),
    ],
)
def test_parameters(name: str, text: str, expected: AttemptQuery) -> None:
    assert parse_attempt_query(Query(((name, text),))) == expected


@pytest.mark.parametrize(
    "name, text",
    [("status", ""), ("status", "lost"), ("status", "4040"), ("status", "٤٠٤"), ("from", "yesterday"), ("page", "0")],
)
def test_a_bad_parameter_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_attempt_query(Query(((name, text),)))
    assert refused.value.parameter == name
