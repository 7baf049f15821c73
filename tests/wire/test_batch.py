from __future__ import annotations

import email
import json
from email.message import Message

import pytest

from tests.goldens import Golden
from tocsin.wire.batch import JSON_FORM, BatchPart, render_batch

PARTS = [
    BatchPart("1", "https://tocsin.example/m/1", 200, b'{"id":1}'),
    BatchPart("2", "https://tocsin.example/m/2", 404, b'{"errorCode":"CMN-102"}'),
    BatchPart("3", "https://tocsin.example/m/3", 204, b""),
]


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/plain, */*", "", "multipart/mixed"])
def test_multipart_lists_the_statuses_and_then_every_resource(accept: str) -> None:
    content_type, body = render_batch(PARTS, accept)
    parsed = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = parsed.get_payload()
    assert isinstance(parts, list)
    texts = [part.get_payload() for part in parts if isinstance(part, Message)]
    assert "boundary=Boundary_" in content_type
    assert json.loads(str(texts[0])) == {
        "response": [
            {"href": "https://tocsin.example/m/1", "status": 200, "responseDescription": "OK"},
            {"href": "https://tocsin.example/m/2", "status": 404, "responseDescription": "Not Found"},
            {"href": "https://tocsin.example/m/3", "status": 204, "responseDescription": "No Content"},
        ]
    }
    assert texts[1:] == ['{"id":1}', '{"errorCode":"CMN-102"}', ""]


def test_the_json_form_has_bodies_where_there_are_any(golden: Golden) -> None:
    content_type, body = render_batch(PARTS, JSON_FORM)
    assert content_type == JSON_FORM
    golden("message-store/batch-json", json.loads(body))
