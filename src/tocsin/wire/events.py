"""Notifications as JSON: the envelope, the same for every event, and the body of the message-store event.

Spliced from bytes, since this runs for every notification: only the event text is ever escaped, once per filter. The
bodies of instant events are message records (`wire/messages.py`). Nothing in a body comes from the time of sending.
Source: RC doc notifications; where its pages disagree, the defaults are ours (docs/decisions/).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from tocsin.domain.ids import AccountId, ExtensionId, SubscriptionId
from tocsin.domain.message import MessageType
from tocsin.domain.notification import ChangeSummary
from tocsin.wire.times import render_time

RENDERING = "message-store/1"
"""Names the settings and version of the message-store body: part of the uuid, so that equal uuid means equal body."""

_TYPES = {kind: f'{{"type":"{kind.value}","newCount":' for kind in MessageType}

# Whole groups of entries share one commit time, and many sends one millisecond.
_time = lru_cache(maxsize=512)(render_time)


class Envelope:
    """The envelope of one event of one subscription: what is the same in each of its notifications, made once."""

    __slots__ = ("_middle", "_open")

    def __init__(self, event: str, subscription_id: SubscriptionId, owner: ExtensionId) -> None:
        self._open = f',"event":{_quoted(event)},"timestamp":"'
        self._middle = f'","subscriptionId":{_quoted(subscription_id)},"ownerId":"{owner}","body":'

    def around(self, body: bytes, uuid: str, sent_ms: int) -> bytes:
        """Return the notification `uuid` with `body`, sent at `sent_ms`: the one field that a re-send may change."""
        head = f'{{"uuid":"{uuid}"{self._open}{_time(sent_ms)}{self._middle}'
        return b"".join((head.encode(), body, b"}"))


def render_message_store_body(
    account_id: AccountId, extension_id: ExtensionId, last_updated_ms: int, changes: Iterable[ChangeSummary]
) -> bytes:
    """Return the body of a message-store event: ids of accounts and extensions as strings, of messages as numbers."""
    told = ",".join(_render_change(change) for change in changes)
    return (
        f'{{"accountId":"{account_id}","extensionId":"{extension_id}",'
        f'"lastUpdated":"{_time(last_updated_ms)}","changes":[{told}]}}'
    ).encode()


def _render_change(change: ChangeSummary) -> str:
    ids = change.new_message_ids
    listed = f',"newMessageIds":[{",".join(map(str, ids))}]' if ids else ""
    return f'{_TYPES[change.type]}{change.new_count},"updatedCount":{change.updated_count}{listed}}}'


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
