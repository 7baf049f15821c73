"""Somebody sends an SMS to extension 101, and 101's webhook hears of it. Read this first, then follow it into the code.

docs/architecture.md tells the same journey room by room.
"""

from __future__ import annotations

import pytest

from tests.receiver import Receiver
from tests.sandbox import Sandbox
from tests.user import User

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
"""Somebody who is no number of this system."""


async def test_inbound_sms_reaches_webhook(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    # Ada's application asks to be told. Before it is, the receiver must agree: the handshake.
    subscription = await ada.subscribe(receiver.url, f"{ada.store}/instant?type=SMS")
    assert subscription["status"] == "Active"
    assert "validation-token" in (await receiver.next_handshake()).headers

    # A carrier brings a text. The 202 says that it is durable, and where.
    [stored] = await sandbox.receive_sms(OUTSIDE, [ada.number], "The kettle is on")
    assert stored == {"accountId": ada.account_id, "extensionId": ada.extension_id, "id": stored["id"]}

    # The receiver gets one notification: an envelope that says what happened to whom, and in it the message.
    envelope = (await receiver.next()).json()
    assert envelope["subscriptionId"] == subscription["id"]
    assert envelope["event"] == f"{ada.store}/instant?type=SMS"
    assert envelope["ownerId"] == ada.extension_id
    message = envelope["body"]
    assert message["id"] == stored["id"]
    assert message["from"]["phoneNumber"] == OUTSIDE
    assert message["to"][0]["phoneNumber"] == ada.number
    assert message["subject"] == "The kettle is on"

    # An event never precedes what it announces: by now the API shows the message, and its text downloads.
    kept = await ada.message(stored["id"])
    assert kept["readStatus"] == "Unread"
    assert kept["subject"] == "The kettle is on"
    [text] = message["attachments"]
    assert (await ada.http.get(text["uri"])).text == "The kettle is on"


async def test_the_mailbox_filter_counts_what_changed(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.store)
    [stored] = await sandbox.receive_sms(OUTSIDE, [ada.number], "Tea?")
    arrived = (await receiver.next()).json()["body"]
    assert arrived["changes"] == [
        {"type": "SMS", "newCount": 1, "updatedCount": 0, "newMessageIds": [int(stored["id"])]}
    ]

    await ada.ask("PUT", f"{ada.store}/{stored['id']}", json={"readStatus": "Read"})
    [change] = (await receiver.next()).json()["body"]["changes"]
    assert (change["newCount"], change["updatedCount"]) == (0, 1)

    # Marked read a second time, nothing changes and nothing is told: the next event is of the next message.
    await ada.ask("PUT", f"{ada.store}/{stored['id']}", json={"readStatus": "Read"})
    await sandbox.receive_sms(OUTSIDE, [ada.number], "Coffee, then")
    [change] = (await receiver.next()).json()["body"]["changes"]
    assert (change["newCount"], change["updatedCount"]) == (1, 0)


async def test_a_text_sent_twice_by_its_carrier_is_one_message(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.instant)
    first = await sandbox.receive_sms(OUTSIDE, [ada.number], "Once", carrierMessageId="carrier-1")
    again = await sandbox.receive_sms(OUTSIDE, [ada.number], "Once", carrierMessageId="carrier-1")
    assert again == first
    await sandbox.receive_sms(OUTSIDE, [ada.number], "Twice")
    told = [(await receiver.next()).json()["body"]["subject"] for _ in range(2)]
    assert told == ["Once", "Twice"]
