"""What a subscriber is told of one inbound SMS: both events, every field of envelope and body, however they came."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class Arrived:
    """An SMS for extension 101 of the seeded company, and where it was stored. `sender` is its `from` in the event."""

    stored: dict[str, str]
    sender: dict[str, Any]
    number: str
    text: str
    server: str

    @property
    def store(self) -> str:
        """The path of the mailbox, which is also the filter of its event."""
        return f"/restapi/v1.0/account/{self.stored['accountId']}/extension/{self.stored['extensionId']}/message-store"


def check_events(envelopes: Sequence[dict[str, Any]], subscription_id: str, sms: Arrived) -> dict[str, Any]:
    """Fail unless `envelopes` are the two events of `sms`; return the body of the instant one."""
    told = {envelope["event"]: envelope for envelope in envelopes}
    assert set(told) == {sms.store, f"{sms.store}/instant?type=SMS"}
    assert len({str(UUID(envelope["uuid"])) for envelope in envelopes}) == len(envelopes)
    for envelope in envelopes:
        assert set(envelope) == {"uuid", "event", "timestamp", "subscriptionId", "ownerId", "body"}
        assert TIME.fullmatch(envelope["timestamp"])
        assert envelope["subscriptionId"] == subscription_id
        assert envelope["ownerId"] == sms.stored["extensionId"]
    change: dict[str, Any] = told[sms.store]["body"]
    instant: dict[str, Any] = told[f"{sms.store}/instant?type=SMS"]["body"]
    assert TIME.fullmatch(change["lastUpdated"])
    message_id = sms.stored["id"]
    assert change == {
        "accountId": sms.stored["accountId"],
        "extensionId": sms.stored["extensionId"],
        "lastUpdated": change["lastUpdated"],
        "changes": [{"type": "SMS", "newCount": 1, "updatedCount": 0, "newMessageIds": [int(message_id)]}],
    }
    assert TIME.fullmatch(instant["creationTime"])
    assert instant["conversationId"].isdigit()
    assert instant == {
        "id": message_id,
        "to": [
            {
                "phoneNumber": sms.number,
                "extensionNumber": "101",
                "target": True,
                "location": "California",
                "name": "Ada Admin",
            }
        ],
        "from": sms.sender,
        "type": "SMS",
        "creationTime": instant["creationTime"],
        "lastModifiedTime": instant["creationTime"],
        "readStatus": "Unread",
        "priority": "Normal",
        "attachments": [
            {
                "id": message_id,
                "uri": f"{sms.server}{sms.store}/{message_id}/content/{message_id}",
                "type": "Text",
                "contentType": "text/plain",
                "size": len(sms.text.encode()),
            }
        ],
        "direction": "Inbound",
        "availability": "Alive",
        "subject": sms.text,
        "messageStatus": "Received",
        "conversationId": instant["conversationId"],
        "conversation": {"id": instant["conversationId"]},
        "eventType": "Create",
        "owner": {"extensionId": sms.stored["extensionId"], "extensionType": "User", "name": "Ada Admin"},
    }
    return instant
