"""WebSocket frames: what clients send is read tolerantly, what we send is what the SDKs look for."""

from __future__ import annotations

import json

import pytest

from tests.goldens import Golden
from tocsin.wire.frames import (
    ClientRequest,
    Heartbeat,
    MalformedFrame,
    SessionLimits,
    parse_frame,
    render_connection_details,
    render_error,
    render_heartbeat,
    render_notification,
    render_reply,
    render_wsc,
)

WSC = render_wsc("c2Vzc2lvbg", 3)


def test_reads_a_request_as_the_python_sdk_sends_it() -> None:
    frame = parse_frame(
        b'[{"type":"ClientRequest","messageId":"a/0","method":"POST","path":"/restapi/v1.0/subscription/"},'
        b' {"eventFilters":["/x"]}]'
    )
    assert frame == ClientRequest("a/0", "POST", "/restapi/v1.0/subscription/", (), {}, b'{"eventFilters":["/x"]}')


def test_query_arrays_are_repeated_and_flags_spelled_as_in_urls() -> None:
    frame = parse_frame(
        b'[{"type":"ClientRequest","messageId":"1","method":"get","path":"/a","headers":{"X-User-Agent":"me"},'
        b'"query":{"messageType":["SMS","Fax"],"perPage":5,"distinctConversations":true,"none":null,"empty":""}},null]'
    )
    assert isinstance(frame, ClientRequest)
    assert frame.method == "GET"
    assert frame.headers == {"x-user-agent": "me"}
    assert frame.body == b""
    assert frame.query == (
        ("messageType", "SMS"),
        ("messageType", "Fax"),
        ("perPage", "5"),
        ("distinctConversations", "true"),
    )


def test_reads_a_heartbeat() -> None:
    assert parse_frame(b'[{"type":"Heartbeat","messageId":"x"}]') == Heartbeat("x")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[]",
        b"[1]",
        b'[{"messageId":"1"}]',
        b'[{"type":"ServerNotification"}]',
        b'[{"type":"ClientRequest","path":"no-slash"}]',
        b'[{"type":"ClientRequest","path":7}]',
        b"\xff\xfe",
    ],
)
def test_refuses_what_is_no_frame(text: bytes) -> None:
    with pytest.raises(MalformedFrame):
        parse_frame(text)


def test_connection_details_of_a_fresh_session(golden: Golden) -> None:
    frame = render_connection_details("7d0f", WSC, SessionLimits(), 1_800_000_000_123, None)
    golden("websocket/connection-details", frame)
    assert "recoveryState" not in json.loads(frame)[1]


def test_connection_details_of_a_failed_recovery(golden: Golden) -> None:
    frame = render_connection_details("7d0f", WSC, SessionLimits(), 1_800_000_000_123, (False, "WSG-1005"))
    golden("websocket/connection-details-recovery-failed", frame)


def test_connection_details_of_a_recovery(golden: Golden) -> None:
    frame = render_connection_details("7d0f", WSC, SessionLimits(), 1_800_000_000_123, (True, None))
    golden("websocket/connection-details-recovered", frame)


def test_notification_carries_the_envelope_as_it_is(golden: Golden) -> None:
    frame = render_notification("uuid-1", "request-1", WSC, b'{"uuid":"uuid-1","body":{}}')
    golden("websocket/server-notification", frame)


def test_reply_without_a_body_has_one_element(golden: Golden) -> None:
    golden("websocket/reply-no-content", render_reply("m/1", 204, {"RCRequestId": "r"}, b""))


def test_reply_with_a_body(golden: Golden) -> None:
    golden("websocket/reply", render_reply("m/1", 200, {"WSG-SubscriptionId": "s"}, b'{"id":"s"}'))


def test_error_and_heartbeat(golden: Golden) -> None:
    golden("websocket/error", render_error("e", 400, "WSG-400", "Malformed WebSocket session context token"))
    golden("websocket/heartbeat", render_heartbeat("h"))
