"""The answer to a request for several resources at once (207): multipart/mixed, or a JSON array for who asks for that.

The multipart form begins with a part that lists the statuses; then each resource has a part of its own.
Source: RC doc "batch requests"; what the parsers of the SDKs need: a boundary without quotes that begins with
"Boundary", and as many parts as statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

JSON_FORM = "application/vnd.ringcentral.multipart+json"
"""The one Accept that selects the JSON array; every other, `*/*` too, gets multipart."""

_PHRASES: Final = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""Every status that a member of a batch may have."""


@dataclass(frozen=True, slots=True)
class BatchPart:
    """What became of one resource. `body` is JSON, empty where there is nothing to say."""

    resource_id: str
    href: str
    status: int
    body: bytes


def render_batch(parts: Sequence[BatchPart], accept: str) -> tuple[str, bytes]:
    """Return content type and body of a 207 in the form that the Accept header asks for."""
    if accept.strip() == JSON_FORM:
        return JSON_FORM, msgspec.json.encode([_entry(part) for part in parts])
    statuses = [
        {"href": part.href, "status": part.status, "responseDescription": _PHRASES[part.status]} for part in parts
    ]
    bodies = [msgspec.json.encode({"response": statuses}), *(part.body for part in parts)]
    # A hash of what it separates: it cannot stand in there, and the same answer is the same bytes.
    boundary = f"Boundary_{blake2b(b''.join(bodies), digest_size=16).hexdigest()}"
    head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n".encode()
    whole = b"".join(head + body + b"\r\n" for body in bodies) + f"--{boundary}--\r\n".encode()
    return f"multipart/mixed; boundary={boundary}; charset=UTF-8", whole


def _entry(part: BatchPart) -> dict[str, object]:
    entry: dict[str, object] = {"resourceId": part.resource_id, "status": part.status}
    return {**entry, "body": msgspec.Raw(part.body)} if part.body else entry
