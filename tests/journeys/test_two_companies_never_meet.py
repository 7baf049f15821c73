"""Two companies on one server: whatever one asks for or subscribes to, nothing of the other's is in it."""

from __future__ import annotations

import pytest

from tests.receiver import Receiver
from tests.refusals import assert_refused
from tests.sandbox import Sandbox
from tests.user import SUBSCRIPTIONS, User

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"


async def test_each_sees_its_own_company_alone(ada: User, bob: User) -> None:
    account = "/restapi/v1.0/account/~"
    for user, names in ((ada, {"Ada Admin", "Uma User"}), (bob, {"Bob Admin"})):
        listed = (await user.ask("GET", f"{account}/extension"))["records"]
        assert {one["name"] for one in listed} == names
        assert (await user.ask("GET", account))["id"] == int(user.account_id)
    numbers = [
        {one["phoneNumber"] for one in (await user.ask("GET", f"{account}/phone-number"))["records"]}
        for user in (ada, bob)
    ]
    assert numbers[0].isdisjoint(numbers[1])
    assert ada.account_id != bob.account_id


async def test_a_text_to_both_is_a_message_of_each(sandbox: Sandbox, ada: User, bob: User, receiver: Receiver) -> None:
    await ada.subscribe(receiver.url, ada.instant)
    async with Receiver() as bobs:
        await bob.subscribe(bobs.url, bob.instant)
        stored = await sandbox.receive_sms(
            OUTSIDE, [ada.number, bob.number], "To all my friends", carrierMessageId="both"
        )
        again = await sandbox.receive_sms(
            OUTSIDE, [ada.number, bob.number], "To all my friends", carrierMessageId="both"
        )
        assert again == stored
        ids = {one["accountId"]: one["id"] for one in stored}
        assert ids.keys() == {ada.account_id, bob.account_id}
        for user, hook in ((ada, receiver), (bob, bobs)):
            envelope = (await hook.next()).json()
            body = envelope["body"]
            assert (envelope["event"], body["id"]) == (user.instant, ids[user.account_id])
            # A number of the other company is a number like any outside: no name, no extension, no target.
            for party in body["to"]:
                if party["phoneNumber"] != user.number:
                    assert party.keys() <= {"phoneNumber", "location"}
            [text] = body["attachments"]
            assert (await user.http.get(text["uri"])).text == "To all my friends"
            other = bob if user is ada else ada
            assert_refused(await other.http.get(text["uri"]), 404, "CMN-102", "accountId")
            assert_refused(await other.http.get(f"{other.store}/{body['id']}"), 404, "CMN-102", "messageId")


async def test_an_sms_from_one_to_the_other_crosses_as_by_a_carrier(ada: User, bob: User, receiver: Receiver) -> None:
    await bob.subscribe(receiver.url, bob.instant)
    sent = await ada.send_sms([bob.number], "Hello, competitor")
    assert "name" not in sent["to"][0]
    arrived = (await receiver.next()).json()["body"]
    assert arrived["from"]["phoneNumber"] == ada.number
    assert "name" not in arrived["from"]
    assert "extensionNumber" not in arrived["from"]
    assert arrived["id"] != str(sent["id"])


async def test_nobody_subscribes_to_another_company(ada: User, bob: User, receiver: Receiver) -> None:
    wish = {"deliveryMode": {"transportType": "WebHook", "address": receiver.url}}
    for filters in ([ada.store], [ada.instant], [bob.store, ada.store]):
        answer = await bob.http.post(SUBSCRIPTIONS, json={**wish, "eventFilters": filters})
        assert_refused(answer, 403, "SUB-406", "eventFilters")
    # The other company's extension under one's own account is simply unknown.
    smuggled = f"/restapi/v1.0/account/~/extension/{ada.extension_id}/message-store"
    answer = await bob.http.post(SUBSCRIPTIONS, json={**wish, "eventFilters": [smuggled]})
    assert_refused(answer, 403, "SUB-408", "eventFilters")
    mine = await bob.subscribe(receiver.url, bob.store)
    answer = await bob.http.put(f"{SUBSCRIPTIONS}/{mine['id']}", json={"eventFilters": [ada.store]})
    assert_refused(answer, 403, "SUB-406", "eventFilters")
    assert (await bob.subscriptions())[0]["eventFilters"] == [bob.store]
    assert_refused(await ada.http.get(f"{SUBSCRIPTIONS}/{mine['id']}"), 404, "CMN-102", "subscriptionId")
