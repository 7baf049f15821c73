"""A subscription from its creation to each of its ends, time moved by the sandbox's clock."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.receiver import Behaviour, Receiver
from tests.refusals import assert_refused
from tests.sandbox import Sandbox
from tests.user import SUBSCRIPTIONS, User, logged_in

pytestmark = pytest.mark.anyio

OUTSIDE = "+14155550123"
WEEK_S = 604_800


def path_of(subscription: dict[str, Any]) -> str:
    return f"{SUBSCRIPTIONS}/{subscription['id']}"


def expiry(subscription: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(subscription["expirationTime"])


async def test_it_is_shown_as_it_was_made(ada: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, "/restapi/v1.0/account/~/extension/~/message-store?Type=sms")
    assert made["status"] == "Active"
    assert made["eventFilters"] == [f"{ada.store}?Type=sms"]
    assert made["deliveryMode"] == {"transportType": "WebHook", "encryption": False, "address": receiver.url}
    assert expiry(made) - datetime.fromisoformat(made["creationTime"]) == timedelta(seconds=WEEK_S)
    assert WEEK_S - 5 <= made["expiresIn"] <= WEEK_S
    shown = await ada.ask("GET", path_of(made))
    assert {**shown, "expiresIn": 0} == {**made, "expiresIn": 0}
    assert [one["id"] for one in await ada.subscriptions()] == [made["id"]]


async def test_it_is_its_owners_alone(ada: User, uma: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, ada.store)
    assert await uma.subscriptions() == []
    assert_refused(await uma.http.get(path_of(made)), 404, "CMN-102", "subscriptionId")
    assert_refused(await uma.http.delete(path_of(made)), 404, "CMN-102", "subscriptionId")
    assert [one["id"] for one in await ada.subscriptions()] == [made["id"]]


async def test_renewed_it_lives_on_and_then_it_expires(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, ada.instant, expiresIn=600)
    await sandbox.advance(500)
    renewed = await ada.ask("POST", f"{path_of(made)}/renew")
    assert timedelta(seconds=500) <= expiry(renewed) - expiry(made) < timedelta(seconds=560)
    await sandbox.advance(500)
    updated = await ada.ask("PUT", path_of(made), json={})
    assert expiry(updated) > expiry(renewed)
    await sandbox.receive_sms(OUTSIDE, [ada.number], "in time")
    assert (await receiver.next()).json()["body"]["subject"] == "in time"

    await sandbox.advance(601)
    assert await ada.subscriptions() == []
    assert_refused(await ada.http.get(path_of(made)), 404, "CMN-102", "subscriptionId")
    assert_refused(await ada.http.post(f"{path_of(made)}/renew"), 404, "CMN-102", "subscriptionId")
    await sandbox.receive_sms(OUTSIDE, [ada.number], "too late")
    await ada.subscribe(receiver.url, ada.instant)
    await sandbox.receive_sms(OUTSIDE, [ada.number], "for the next")
    assert (await receiver.next()).json()["body"]["subject"] == "for the next"


async def test_cancelled_it_is_told_nothing_more(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, ada.instant)
    await sandbox.receive_sms(OUTSIDE, [ada.number], "before")
    assert (await receiver.next()).json()["body"]["subject"] == "before"
    await ada.ask("DELETE", path_of(made))
    assert_refused(await ada.http.delete(path_of(made)), 404, "CMN-102", "subscriptionId")
    await sandbox.receive_sms(OUTSIDE, [ada.number], "after")
    await ada.subscribe(receiver.url, ada.instant)
    await sandbox.receive_sms(OUTSIDE, [ada.number], "for the next")
    assert (await receiver.next()).json()["body"]["subject"] == "for the next"


async def test_filters_replaced_amid_a_stream_split_it_exactly(
    sandbox: Sandbox, ada: User, uma: User, receiver: Receiver
) -> None:
    """Each text goes to both mailboxes in one unit: told by the old filter before the change, by the new one after."""
    made = await ada.subscribe(receiver.url, ada.instant)
    texts = [f"text {number}" for number in range(40)]
    stored: dict[str, list[dict[str, str]]] = {}

    async def send(part: list[str]) -> None:
        for text in part:
            stored[text] = await sandbox.receive_sms(OUTSIDE, [ada.number, uma.number], text)

    async with asyncio.TaskGroup() as group:
        for start in range(4):
            group.create_task(send(texts[start::4]))
        await receiver.count(8)
        await ada.ask("PUT", path_of(made), json={"eventFilters": [uma.instant]})
    await sandbox.receive_sms(OUTSIDE, [ada.number], "to Ada alone, told to nobody")
    await sandbox.receive_sms(OUTSIDE, [uma.number], "the last")
    told = [(await receiver.next()).json() for _ in range(len(texts) + 1)]
    await sandbox.receive_sms(OUTSIDE, [uma.number], "marker")
    assert (await receiver.next()).json()["body"]["subject"] == "marker"
    by_event = {event: [one["body"]["subject"] for one in told if one["event"] == event] for event in events_of(told)}
    assert by_event.keys() == {ada.instant, uma.instant}
    assert sorted(by_event[ada.instant] + by_event[uma.instant]) == sorted([*texts, "the last"])
    assert by_event[uma.instant][-1] == "the last"
    for subjects in by_event.values():
        # Each sender waits for its 202, so its own texts come in the order in which it sent them.
        for start in range(4):
            own = [one for one in subjects if one in texts[start::4]]
            assert own == sorted(own, key=texts.index)


def events_of(told: list[dict[str, Any]]) -> set[str]:
    return {one["event"] for one in told}


async def test_a_user_has_thirty_and_no_more(ada: User, receiver: Receiver) -> None:
    async with asyncio.TaskGroup() as group:
        makings = [group.create_task(ada.subscribe(receiver.url, ada.store)) for _ in range(30)]
    handshakes = len(receiver.handshakes)
    delivery = {"transportType": "WebHook", "address": receiver.url}
    wish = {"eventFilters": [ada.store], "deliveryMode": delivery}
    assert_refused(await ada.http.post(SUBSCRIPTIONS, json=wish), 403, "SUB-505")
    assert len(receiver.handshakes) == handshakes, "nobody is called for what there is no room for"
    await ada.ask("DELETE", path_of(makings[7].result()))
    await ada.subscribe(receiver.url, ada.store)
    assert len(await ada.subscriptions()) == 30


async def test_a_dead_receiver_is_blacklisted_and_comes_back(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, ada.instant)
    receiver.otherwise = lambda _: Behaviour(status=503, reason="Busy")
    await sandbox.receive_sms(OUTSIDE, [ada.number], "first")
    await receiver.next()
    await sandbox.advance(500)
    assert (await ada.ask("GET", path_of(made)))["status"] == "Active"
    await sandbox.advance(200)
    shown = await ada.ask("GET", path_of(made))
    assert shown["status"] == "Blacklisted"
    assert "503" in shown["blacklistedData"]["reason"]
    assert datetime.fromisoformat(shown["blacklistedData"]["blacklistedAt"]) < expiry(shown)

    # While it is blacklisted nothing is sent, and everything is kept for it.
    sent_so_far = len(receiver.received)
    await sandbox.receive_sms(OUTSIDE, [ada.number], "second")
    receiver.on_handshake = lambda _: Behaviour(status=500)
    await sandbox.advance(901)
    assert len(receiver.received) == sent_so_far
    assert (await ada.ask("GET", path_of(made)))["status"] == "Blacklisted"

    receiver.on_handshake = receiver.otherwise = lambda _: Behaviour()
    await sandbox.advance(901)
    back = await ada.ask("GET", path_of(made))
    assert back["status"] == "Active"
    assert "blacklistedData" not in back
    told = (await receiver.count(sent_so_far + 2))[sent_so_far:]
    assert [one.json()["body"]["subject"] for one in told] == ["first", "second"]
    assert told[0].json()["uuid"] == receiver.received[0].json()["uuid"], "an event keeps its uuid through an outage"


async def test_every_attempt_is_listed(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, ada.instant)
    receiver.answers(Behaviour(status=500), Behaviour(status=429))
    await sandbox.receive_sms(OUTSIDE, [ada.number], "third time lucky")
    uuid = (await receiver.next()).json()["uuid"]
    await sandbox.advance(60)
    await receiver.count(3)
    # The last attempt is noted when its answer is read; one more notification comes after that.
    await sandbox.receive_sms(OUTSIDE, [ada.number], "marker")
    await receiver.count(4)
    answer = await sandbox.control.get("/tocsin/v1/attempts", params={"subscriptionId": made["id"]})
    records = [one for one in answer.json()["records"] if one["notificationUuid"] == uuid]
    assert [(one["number"], one["httpStatus"]) for one in records] == [(3, 200), (2, 429), (1, 500)]
    assert [one["outcome"] == "delivered" for one in records] == [True, False, False]
    assert records[-1]["nextAttemptAt"] is not None
    assert all(one["event"] == ada.instant for one in records)
    failed = await sandbox.control.get("/tocsin/v1/attempts", params={"subscriptionId": made["id"], "status": "failed"})
    assert failed.json()["paging"]["totalElements"] == 2


async def test_a_week_later_it_is_gone(sandbox: Sandbox, ada: User, receiver: Receiver) -> None:
    made = await ada.subscribe(receiver.url, ada.store)
    await sandbox.advance(WEEK_S + 1)
    async with logged_in(sandbox) as returned:
        assert await returned.subscriptions() == []
        assert_refused(await returned.http.get(path_of(made)), 404, "CMN-102", "subscriptionId")
