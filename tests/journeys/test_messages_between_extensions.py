"""What is sent: SMS within the system, SMS to numbers outside it and their life with the carrier, pager messages."""

from __future__ import annotations

import pytest

from tests.hearing import heard_of, message_with
from tests.receiver import Received, Receiver
from tests.sandbox import Sandbox
from tests.user import User

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
BUSY, REFUSED, UNDELIVERED, LATE = "+15005550010", "+15005550020", "+15005550030", "+15005550060"


async def test_an_sms_within_the_system_is_one_message_in_each_mailbox(
    ada: User, uma: User, receiver: Receiver
) -> None:
    await ada.subscribe(receiver.url, ada.store)
    async with Receiver() as umas:
        await uma.subscribe(umas.url, uma.instant)
        sent = await ada.send_sms([uma.number], "Lunch?")
        assert (sent["messageStatus"], sent["direction"], sent["readStatus"]) == ("Queued", "Outbound", "Read")
        assert sent["to"][0]["name"] == "Uma User"

        arrived = (await umas.next()).json()["body"]
        assert (arrived["subject"], arrived["direction"]) == ("Lunch?", "Inbound")
        sender, [recipient] = arrived["from"], arrived["to"]
        assert (sender["extensionNumber"], sender["name"]) == ("101", "Ada Admin")
        assert (recipient["extensionNumber"], recipient["target"]) == ("102", True)
        assert arrived["id"] != str(sent["id"])

    told = await heard_of(receiver, sent["id"])
    assert (told["type"], told["newCount"]) == ("SMS", 1)
    delivered = await message_with(receiver, ada, sent["id"], "Delivered")
    assert delivered["smsDeliveryTime"]
    assert [one["id"] for one in await uma.messages() if one.get("subject") == "Lunch?"] == [int(arrived["id"])]


async def test_a_text_to_oneself_is_sent_and_received(ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, f"{ada.store}?direction=Inbound")
    sent = await ada.send_sms([ada.number], "Buy milk")
    [change] = (await receiver.next()).json()["body"]["changes"]
    [received] = change["newMessageIds"]
    assert received != sent["id"]
    assert (await ada.message(received))["messageStatus"] == "Received"


async def test_an_outside_number_is_sent_then_delivered(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.store)
    sent = await ada.send_sms([OUTSIDE], "Hello out there")
    await heard_of(receiver, sent["id"])
    await sandbox.advance(2)
    done = await message_with(receiver, ada, sent["id"], "Delivered")
    assert done["smsSendingAttemptsCount"] == 1
    assert "deliveryErrorCode" not in done


async def test_a_late_receipt_is_waited_for(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.store)
    sent = await ada.send_sms([LATE], "No hurry")
    await message_with(receiver, ada, sent["id"], "Sent")
    await sandbox.advance(40)
    assert (await ada.message(sent["id"]))["messageStatus"] == "Sent"
    await sandbox.advance(30)
    updated = (await receiver.next(is_update)).json()["body"]["changes"]
    assert updated == [{"type": "SMS", "newCount": 0, "updatedCount": 1}]
    assert (await ada.message(sent["id"]))["messageStatus"] == "Delivered"


async def test_a_busy_carrier_is_tried_again(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.store)
    sent = await ada.send_sms([BUSY], "Knock, knock")
    await heard_of(receiver, sent["id"])
    await sandbox.advance(60)
    done = await message_with(receiver, ada, sent["id"], "Delivered")
    assert done["smsSendingAttemptsCount"] == 3


async def test_a_refused_message_has_failed(ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.store)
    sent = await ada.send_sms([REFUSED], "Anybody?")
    failed = await message_with(receiver, ada, sent["id"], "SendingFailed")
    assert failed["deliveryErrorCode"] == "SMS-UP-410"
    assert failed["smsSendingAttemptsCount"] == 1


async def test_a_receipt_may_say_that_it_was_not_delivered(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.store)
    sent = await ada.send_sms([UNDELIVERED], "Returned to sender")
    await message_with(receiver, ada, sent["id"], "Sent")
    await sandbox.advance(2)
    failed = await message_with(receiver, ada, sent["id"], "DeliveryFailed")
    assert failed["deliveryErrorCode"] == "SMS-CAR-431"


async def test_a_pager_message_reaches_the_extension(ada: User, uma: User, receiver: Receiver) -> None:
    await uma.subscribe(receiver.url, f"{uma.store}?type=Pager")
    paged = await ada.ask(
        "POST", f"{ada.path}/company-pager", json={"text": "Fire drill", "to": [{"extensionNumber": "102"}]}
    )
    assert (paged["type"], paged["messageStatus"], paged["pgToDepartment"]) == ("Pager", "Sent", False)
    [change] = (await receiver.next()).json()["body"]["changes"]
    assert (change["type"], change["newCount"]) == ("Pager", 1)
    [received] = change["newMessageIds"]
    message = await uma.message(received)
    assert (message["subject"], message["direction"]) == ("Fire drill", "Inbound")
    assert message["from"]["extensionNumber"] == "101"

    reply = await uma.ask("POST", f"{uma.path}/company-pager", json={"text": "Coming", "replyOn": received})
    assert [one["extensionNumber"] for one in reply["to"]] == ["101"]
    assert reply["conversationId"] == message["conversationId"]


async def test_a_deleted_message_is_gone_from_the_list_and_then_from_the_store(
    ada: User, sandbox: Sandbox, receiver: Receiver
) -> None:
    [stored] = await sandbox.receive_sms(OUTSIDE, [ada.number], "Forget this")
    path = f"{ada.store}/{stored['id']}"
    await ada.subscribe(receiver.url, ada.store)
    [text] = (await ada.message(stored["id"]))["attachments"]

    await ada.ask("DELETE", path)
    assert (await receiver.next()).json()["body"]["changes"][0]["updatedCount"] == 1
    assert int(stored["id"]) not in [one["id"] for one in await ada.messages()]
    assert (await ada.message(stored["id"]))["availability"] == "Deleted"
    assert int(stored["id"]) in [one["id"] for one in await ada.messages(availability="Deleted")]

    await ada.ask("DELETE", path)
    assert (await receiver.next()).json()["body"]["changes"][0]["updatedCount"] == 1
    purged = await ada.message(stored["id"])
    assert purged["availability"] == "Purged"
    assert "subject" not in purged
    assert (await ada.http.get(text["uri"])).status_code == 404


def is_update(request: Received) -> bool:
    """Whether it tells of changes alone, of nothing new."""
    return all(change["newCount"] == 0 for change in request.json()["body"]["changes"])
