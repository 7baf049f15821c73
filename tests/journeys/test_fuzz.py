"""Whatever JSON is posted, the answer is a success or a refusal with a code; never a 500, and the server goes on."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox import Sandbox
from tests.user import SUBSCRIPTIONS, User

pytestmark = pytest.mark.anyio

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    # One sandbox and one login serve all examples; the bodies are what varies.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        ["+16505550101", "+14155550123", "~", "SMS", "101", "\x00", "\u202e", "\ud800", "0" * 40, "+1" + "9" * 60]
    )
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
)
LIST_PARAMETERS = (
    "availability conversationId dateFrom dateTo direction distinctConversations messageType readStatus page perPage "
    "phoneNumber"
).split()
MAILBOX = "/restapi/v1.0/account/~/extension/~/message-store"
RECIPIENTS = [{"phoneNumber": "+16505550102"}, {"phoneNumber": "+15005550020"}]
NUMBER = st.fixed_dictionaries({"phoneNumber": JSON}) | JSON


def bodies(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with most of these fields, each as it should be or, one in four, anything at all; sometimes no object."""
    made = st.fixed_dictionaries({}, optional={name: mostly(good) for name, good in fields.items()})
    return mostly(st.fixed_dictionaries({name: mostly(good) for name, good in fields.items()}), made | JSON)


def mostly(good: st.SearchStrategy[Any], other: st.SearchStrategy[Any] = JSON) -> st.SearchStrategy[Any]:
    return st.sampled_from([good, good, good, other]).flatmap(lambda chosen: chosen)


def as_json(body: Any) -> dict[str, Any]:
    """The body with everything beyond ASCII escaped, half a surrogate pair too."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}


async def check(sending: Coroutine[Any, Any, Any]) -> None:
    answer = await sending
    assert answer.status_code < 500, answer.text
    if not answer.is_success:
        assert answer.json()["errors"][0]["errorCode"], answer.text


SMS = bodies(
    **{
        "from": st.just({"phoneNumber": "+16505550101"}),
        "to": st.lists(mostly(st.sampled_from(RECIPIENTS), NUMBER), min_size=1, max_size=3),
        "text": st.text(min_size=1, max_size=20),
    }
)
PARTY = st.fixed_dictionaries({}, optional={"extensionId": SCALARS, "extensionNumber": SCALARS})
PAGER = bodies(
    text=st.text(min_size=1, max_size=20),
    to=st.lists(mostly(st.just({"extensionNumber": "102"}), PARTY), min_size=1, max_size=3),
    replyOn=mostly(st.none(), st.integers()),
)
FILTERS = [MAILBOX, f"{MAILBOX}?type=SMS", f"{MAILBOX}/instant?type=SMS"]
SUBSCRIPTION = bodies(
    eventFilters=st.lists(mostly(st.sampled_from(FILTERS), st.text()), min_size=1, max_size=3),
    deliveryMode=st.fixed_dictionaries(
        {
            "transportType": mostly(st.sampled_from(["WebHook", "WebSocket"])),
            "address": mostly(st.just("http://127.0.0.1:9/")),
            "verificationToken": mostly(st.none()),
        }
    ),
    expiresIn=mostly(st.none(), st.integers()),
)
MEDIA = st.fixed_dictionaries({"contentType": JSON, "fileName": JSON, "data": JSON})
INBOUND = bodies(
    **{
        "from": st.sampled_from(["+14155550123", "+442079460000", "(415) 555-0123"]),
        "to": st.just(["+16505550101"]),
        "text": st.text(max_size=50),
        "media": mostly(st.just([]), st.lists(MEDIA, max_size=2)),
        "fromName": mostly(st.text(min_size=1, max_size=20)),
        "fromLocation": mostly(st.none()),
        "carrierMessageId": mostly(st.text(min_size=1, max_size=20)),
    }
)


@EXAMPLES
@given(body=SMS)
async def test_any_sms(ada: User, body: Any) -> None:
    await check(ada.http.post(f"{ada.path}/sms", **as_json(body)))


@EXAMPLES
@given(body=PAGER)
async def test_any_pager_message(ada: User, body: Any) -> None:
    await check(ada.http.post(f"{ada.path}/company-pager", **as_json(body)))


@EXAMPLES
@given(body=SUBSCRIPTION)
async def test_any_subscription(ada: User, body: Any) -> None:
    await check(ada.http.post(SUBSCRIPTIONS, **as_json(body)))


@EXAMPLES
@given(body=INBOUND)
async def test_any_inbound_sms(sandbox: Sandbox, body: Any) -> None:
    await check(sandbox.control.post("/tocsin/v1/inbound/sms", **as_json(body)))


@EXAMPLES
@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "multipart/form-data; boundary=x", ""]))
async def test_any_bytes(ada: User, body: bytes, kind: str) -> None:
    await check(ada.http.post(f"{ada.path}/sms", content=body, headers={"Content-Type": kind}))


@EXAMPLES
@given(
    query=st.lists(
        st.tuples(st.sampled_from(LIST_PARAMETERS), st.text(max_size=25) | st.integers().map(str)), max_size=3
    )
)
async def test_any_list_query(ada: User, query: list[tuple[str, str]]) -> None:
    await check(ada.http.get(f"{ada.store}?{urlencode(query)}"))
