from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.subscribing import (
    ACCOUNT,
    ADDRESS,
    ADMIN,
    ADMIN_STORE,
    ALL_SCOPES,
    INSTANT,
    SESSION,
    START_MS,
    STORE,
    USER,
    USER_STORE,
    World,
    extension,
    identity,
    open_world,
    webhook,
    websocket,
)
from tocsin.domain.directory import Identity, Permission, Role, Scope
from tocsin.domain.entry import Entry, MessageChange, SubscriptionChange
from tocsin.domain.errors import InvalidParameter, MissingPermission, MissingScope, NotFound, Refused, Stale
from tocsin.domain.handshake import WrongStatus
from tocsin.domain.ids import AccountId, Seq, SessionId, SubscriptionId
from tocsin.domain.message import MessageType
from tocsin.domain.subscription import Subscription, SubscriptionStatus, TransportType
from tocsin.storage.subscriptions import fetch_account_subscriptions
from tocsin.storage.unit import Applied, Unit
from tocsin.subscriptions.manage import (
    NewSubscription,
    SubscriptionParts,
    SubscriptionRules,
    Subscriptions,
    SubscriptionUpdate,
)

pytestmark = pytest.mark.anyio


def entries(world: World) -> list[Entry]:
    return [entry for commit in world.listener.commits for entry in commit.entries.get(ACCOUNT, [])]


def texts(subscription: Subscription) -> list[str]:
    return [one.filter.text for one in subscription.current_filters]


async def account_subscriptions(world: World) -> list[Subscription]:
    return await world.store.readers.run(fetch_account_subscriptions, ACCOUNT)


async def refusal(world: World, caller: Identity, wanted: NewSubscription, session: SessionId | None = None) -> str:
    """The code of the refusal, having checked that nothing was stored."""
    before = len(entries(world))
    with pytest.raises(Refused) as refused:
        await world.subscriptions.create(caller, wanted, session)
    assert len(entries(world)) == before
    return refused.value.code


# --- create


async def test_a_webhook_is_made_in_one_unit_with_the_entry_that_tells_of_it(world: World) -> None:
    await world.change_message()
    made = await world.subscriptions.create(identity(), webhook(STORE, INSTANT, expires_in_s=60, token="secret"))
    subscription = made.subscription
    assert made.disabled == ()
    assert subscription == await world.stored("sub-1")
    assert entries(world)[1:] == [
        SubscriptionChange(ACCOUNT, subscription.modified_seq, START_MS, SubscriptionId("sub-1"))
    ]
    assert [(one.filter_id, one.filter.text, one.from_seq, one.until_seq) for one in subscription.filters] == [
        (1, USER_STORE, 2, None),
        (2, f"{USER_STORE}/instant?type=SMS", 2, None),
    ]
    assert (subscription.owner, subscription.client_id, subscription.status) == (
        USER,
        "app",
        SubscriptionStatus.ACTIVE,
    )
    assert (subscription.created_ms, subscription.expires_ms, subscription.lifetime_s) == (
        START_MS,
        START_MS + 60_000,
        60,
    )
    assert (subscription.address, subscription.verification_token, subscription.session_id) == (ADDRESS, "secret", None)
    assert world.handshakes.asked == [(ADDRESS, "secret", ACCOUNT)]
    assert world.expiry.next_due_ms() == START_MS + 60_000


async def test_a_failed_handshake_makes_nothing(world: World) -> None:
    world.handshakes.result = WrongStatus(500)
    assert await refusal(world, identity(), webhook()) == "SUB-522"


@pytest.mark.parametrize(
    "wanted, code",
    [
        (webhook("/nonsense"), "SUB-508"),
        (webhook(ADMIN_STORE), "SUB-405"),
        (webhook("/restapi/v1.0/account/5/extension/~/message-store"), "SUB-406"),
        (webhook("/restapi/v1.0/account/~/extension/5/message-store"), "SUB-408"),
        (NewSubscription((STORE,), "WebHook", "http://receiver.example/"), "SUB-523"),
    ],
)
async def test_nobody_is_called_for_what_can_never_be(world: World, wanted: NewSubscription, code: str) -> None:
    assert await refusal(world, identity(), wanted) == code
    assert world.handshakes.asked == []


@pytest.mark.parametrize(
    "wanted, parameter",
    [
        (NewSubscription((), "WebHook", ADDRESS), "eventFilters"),
        (NewSubscription((STORE,), None, ADDRESS), "deliveryMode.transportType"),
        (NewSubscription((STORE,), "PubNub"), "deliveryMode.transportType"),
        (NewSubscription((STORE,), "WebSocket"), "deliveryMode.transportType"),
        (NewSubscription((STORE,), "WebHook", None), "deliveryMode.address"),
        (NewSubscription((STORE,), "WebHook", ADDRESS, "a\nb"), "deliveryMode.verificationToken"),
        (NewSubscription((STORE,), "WebHook", ADDRESS, None, 0), "expiresIn"),
    ],
)
async def test_an_invalid_parameter_is_named(world: World, wanted: NewSubscription, parameter: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        await world.subscriptions.create(identity(), wanted)
    assert refused.value.parameter == parameter
    assert entries(world) == []


async def test_read_messages_is_needed_of_the_app_and_of_the_user(world: World) -> None:
    with pytest.raises(MissingScope):
        await world.subscriptions.create(identity(scopes=ALL_SCOPES - {Scope.READ_MESSAGES}), webhook())
    world.people.change(extension(USER, Role.USER))
    with pytest.raises(MissingPermission):
        await world.subscriptions.create(identity(), webhook())
    assert await refusal(world, identity(scopes=ALL_SCOPES - {Scope.SUBSCRIPTION_WEBHOOK}), webhook()) == "SUB-528"
    assert world.handshakes.asked == []


async def test_an_admin_subscribes_for_others(world: World) -> None:
    made = await world.subscriptions.create(identity(ADMIN), webhook(USER_STORE, STORE))
    assert texts(made.subscription) == [USER_STORE, ADMIN_STORE]
    assert made.subscription.owner == ADMIN


async def test_one_user_through_one_app_has_thirty_at_most(world: World) -> None:
    for _ in range(30):
        await world.subscriptions.create(identity(), webhook())
    assert await refusal(world, identity(), webhook()) == "SUB-505"
    assert len(world.handshakes.asked) == 30
    await world.subscriptions.create(identity(client_id="other"), webhook())
    await world.subscriptions.create(identity(ADMIN), webhook())
    await world.subscriptions.cancel(identity(), SubscriptionId("sub-1"))
    await world.subscriptions.create(identity(), webhook())


async def test_the_limit_holds_when_all_come_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path, SubscriptionRules(limit=3)) as world:
        results = await asyncio.gather(
            *(world.subscriptions.create(identity(), webhook()) for _ in range(8)), return_exceptions=True
        )
        refused = [one.code for one in results if isinstance(one, Refused)]
        assert refused == ["SUB-505"] * 5
        assert len(await account_subscriptions(world)) == 3


async def test_what_has_expired_takes_no_place(tmp_path: Path) -> None:
    async with open_world(tmp_path, SubscriptionRules(limit=1)) as world:
        await world.subscriptions.create(identity(), webhook(expires_in_s=10))
        world.clock.advance(10)
        assert (await world.subscriptions.create(identity(), webhook())).subscription.subscription_id == "sub-2"


async def test_plain_http_is_taken_where_the_setting_allows_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, SubscriptionRules(https_only=False)) as world:
        wanted = NewSubscription((STORE,), "WebHook", "http://127.0.0.1:9/hook")
        assert (await world.subscriptions.create(identity(), wanted)).subscription.address == "http://127.0.0.1:9/hook"


# --- WebSocket


async def test_a_websocket_one_lives_by_its_session(world: World) -> None:
    made = (await world.subscriptions.create(identity(), websocket(), SESSION)).subscription
    assert (made.transport, made.session_id, made.address) == (TransportType.WEBSOCKET, SESSION, None)
    assert made.expires_ms == START_MS + 86_400_000
    assert world.handshakes.asked == []


async def test_a_new_one_replaces_the_sessions_earlier_one_in_the_same_unit(world: World) -> None:
    first = (await world.subscriptions.create(identity(), websocket(), SESSION)).subscription
    other = (await world.subscriptions.create(identity(), websocket(), SessionId("websocket-2"))).subscription
    second = (await world.subscriptions.create(identity(), websocket(INSTANT), SESSION)).subscription
    assert (await world.stored("sub-1")).ended_seq == second.modified_seq - 1
    assert await account_subscriptions(world) == [other, second]
    last = world.listener.commits[-1].entries[ACCOUNT]
    assert [entry.subscription_id for entry in last if isinstance(entry, SubscriptionChange)] == ["sub-1", "sub-3"]
    assert first.ended_seq is None, "a value that was read does not change"


async def test_two_at_once_on_a_session_leave_one(world: World) -> None:
    await asyncio.gather(*(world.subscriptions.create(identity(), websocket(), SESSION) for _ in range(5)))
    assert len(await account_subscriptions(world)) == 1


async def test_a_webhook_made_through_a_session_does_not_live_by_it(world: World) -> None:
    await world.subscriptions.create(identity(), websocket(), SESSION)
    made = (await world.subscriptions.create(identity(), webhook(), SESSION)).subscription
    assert made.session_id is None
    assert len(await account_subscriptions(world)) == 2


async def test_an_update_comes_through_the_subscriptions_own_session(world: World) -> None:
    await world.subscriptions.create(identity(), websocket(), SESSION)
    wanted = SubscriptionUpdate((INSTANT,))
    with pytest.raises(Refused) as over_http:
        await world.subscriptions.update(identity(), SubscriptionId("sub-1"), wanted)
    assert over_http.value.code == "SUB-511"
    with pytest.raises(Refused) as elsewhere:
        await world.subscriptions.update(identity(), SubscriptionId("sub-1"), wanted, SessionId("websocket-2"))
    assert (elsewhere.value.code, str(elsewhere.value)) == (
        "SUB-507",
        "Subscription with key [sub-1] and assigned session [websocket-2] was expired",
    )
    updated = await world.subscriptions.update(identity(), SubscriptionId("sub-1"), wanted, SESSION)
    assert texts(updated.subscription) == [f"{USER_STORE}/instant?type=SMS"]


# --- whose it is


@pytest.mark.parametrize("stranger", [identity(ADMIN), identity(client_id="other")], ids=["user", "app"])
async def test_nobody_else_sees_or_touches_it(world: World, stranger: Identity) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    key = made.subscription_id
    attempts = [
        world.subscriptions.get(stranger, key),
        world.subscriptions.update(stranger, key, SubscriptionUpdate((INSTANT,))),
        world.subscriptions.renew(stranger, key),
        world.subscriptions.cancel(stranger, key),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound) as refused:
            await attempt
        assert refused.value.parameter == "subscriptionId"
    assert await world.subscriptions.list_own(stranger) == []
    assert await world.stored(key) == made


async def test_another_accounts_caller_finds_nothing(world: World) -> None:
    await world.subscriptions.create(identity(), webhook())
    foreigner = replace(identity(), account_id=AccountId(1))
    with pytest.raises(NotFound):
        await world.subscriptions.get(foreigner, SubscriptionId("sub-1"))


async def test_the_list_holds_the_callers_own_oldest_first(world: World) -> None:
    first = await world.subscriptions.create(identity(), webhook())
    world.clock.advance(1)
    await world.subscriptions.create(identity(ADMIN), webhook())
    second = await world.subscriptions.create(identity(), websocket(INSTANT), SESSION)
    world.clock.advance(1)
    third = await world.subscriptions.create(identity(), webhook(INSTANT, expires_in_s=1))
    assert await world.subscriptions.list_own(identity()) == [first, second, third]
    world.clock.advance(1)
    assert await world.subscriptions.list_own(identity()) == [first, second]


@pytest.mark.parametrize("key", ["", "no-such", "sub-2", "x" * 1000])
async def test_an_unknown_id_is_not_found(world: World, key: str) -> None:
    await world.subscriptions.create(identity(), webhook())
    with pytest.raises(NotFound):
        await world.subscriptions.get(identity(), SubscriptionId(key))


async def test_what_has_expired_is_not_found_even_before_it_is_ended(world: World) -> None:
    await world.subscriptions.create(identity(), webhook(expires_in_s=10))
    world.clock.advance(9.999)
    await world.subscriptions.get(identity(), SubscriptionId("sub-1"))
    world.clock.advance(0.001)
    with pytest.raises(NotFound):
        await world.subscriptions.renew(identity(), SubscriptionId("sub-1"))


async def test_rights_that_were_lost_show_as_disabled_filters(world: World) -> None:
    await world.subscriptions.create(identity(ADMIN), webhook(USER_STORE, STORE))
    world.people.change(extension(ADMIN, Role.USER, Permission.READ_MESSAGES))
    judged = await world.subscriptions.get(identity(ADMIN), SubscriptionId("sub-1"))
    assert [(one.filter.text, one.reason) for one in judged.disabled] == [(USER_STORE, "SUB-405")]
    assert texts(judged.subscription) == [USER_STORE, ADMIN_STORE], "they are kept: rights may return"
    assert await world.subscriptions.list_own(identity(ADMIN)) == [judged]


# --- update, renew, cancel


async def test_an_update_replaces_the_filters_from_its_own_seq_on(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook(STORE, INSTANT))).subscription
    await world.change_message()
    updated = await world.subscriptions.update(
        identity(), made.subscription_id, SubscriptionUpdate((INSTANT, f"{STORE}?type=Fax"))
    )
    subscription = updated.subscription
    assert subscription == await world.stored("sub-1")
    assert subscription.modified_seq == 3
    assert [(one.filter_id, one.filter.text, one.from_seq, one.until_seq) for one in subscription.filters] == [
        (1, USER_STORE, 1, 3),
        (2, f"{USER_STORE}/instant?type=SMS", 1, None),
        (3, f"{USER_STORE}?type=Fax", 3, None),
    ]


async def test_the_same_filter_in_other_words_is_replaced_and_said_in_the_new_ones(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook(f"{STORE}?type=SMS"))).subscription
    updated = await world.subscriptions.update(
        identity(), made.subscription_id, SubscriptionUpdate((f"{STORE}?Type=sms",))
    )
    assert texts(updated.subscription) == [f"{USER_STORE}?Type=sms"]
    again = await world.subscriptions.update(
        identity(), made.subscription_id, SubscriptionUpdate((f"{STORE}?type=SMS",))
    )
    assert [one.filter_id for one in again.subscription.current_filters] == [3], "an id is never used twice"


async def test_an_empty_update_renews_and_keeps_the_lifetime_that_was_asked_for(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook(expires_in_s=100))).subscription
    world.clock.advance(40)
    updated = (await world.subscriptions.update(identity(), made.subscription_id, SubscriptionUpdate())).subscription
    assert updated == replace(made, expires_ms=START_MS + 140_000, modified_seq=Seq(2))
    world.clock.advance(40)
    renewed = (await world.subscriptions.renew(identity(), made.subscription_id)).subscription
    assert renewed == replace(made, expires_ms=START_MS + 180_000, modified_seq=Seq(3))
    assert renewed == await world.stored("sub-1")


async def test_an_update_may_ask_for_another_lifetime_which_renewal_then_keeps(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook(expires_in_s=100))).subscription
    await world.subscriptions.update(identity(), made.subscription_id, SubscriptionUpdate(None, 20))
    world.clock.advance(10)
    renewed = await world.subscriptions.renew(identity(), made.subscription_id)
    assert renewed.subscription.expires_ms == START_MS + 30_000


async def test_a_refused_update_changes_nothing(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    for filters, code in [(("/nonsense",), "SUB-508"), ((ADMIN_STORE,), "SUB-405")]:
        with pytest.raises(Refused) as refused:
            await world.subscriptions.update(identity(), made.subscription_id, SubscriptionUpdate(filters))
        assert refused.value.code == code
    for wanted in (SubscriptionUpdate(()), SubscriptionUpdate(None, 0)):
        with pytest.raises(InvalidParameter):
            await world.subscriptions.update(identity(), made.subscription_id, wanted)
    assert await world.stored("sub-1") == made
    assert len(entries(world)) == 1


async def test_a_renewal_calls_nobody(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    world.handshakes.result = WrongStatus(500)
    await world.subscriptions.renew(identity(), made.subscription_id)
    await world.subscriptions.update(identity(), made.subscription_id, SubscriptionUpdate((INSTANT,)))
    assert len(world.handshakes.asked) == 1


async def test_a_cancelled_one_has_its_end_in_the_log_and_is_gone(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    await world.subscriptions.cancel(identity(), made.subscription_id)
    assert (await world.stored("sub-1")).ended_seq == 2
    assert entries(world)[-1] == SubscriptionChange(ACCOUNT, Seq(2), START_MS, SubscriptionId("sub-1"))
    assert await account_subscriptions(world) == []
    with pytest.raises(NotFound):
        await world.subscriptions.cancel(identity(), made.subscription_id)


async def test_changes_at_the_same_time_are_made_one_after_the_other(world: World) -> None:
    made = (await world.subscriptions.create(identity(), webhook())).subscription
    wishes = [(STORE,), (INSTANT,), (f"{STORE}?type=Fax",), (STORE, INSTANT)]
    results = await asyncio.gather(
        *(world.subscriptions.update(identity(), made.subscription_id, SubscriptionUpdate(wish)) for wish in wishes)
    )
    last = max((one.subscription for one in results), key=lambda one: one.modified_seq)
    assert await world.stored("sub-1") == last
    assert last.modified_seq == 5
    ids = [one.filter_id for one in last.filters]
    assert ids == sorted(set(ids))


class Restless:
    """A writer on which somebody else always gets on first."""

    def __init__(self, times: int, world: World) -> None:
        self.times = times
        self._world = world

    async def apply(self, unit: Unit) -> Applied:
        self.times -= 1
        if self.times >= 0:
            raise Stale
        return await self._world.store.writer.apply(unit)


def with_writer(world: World, writer: Restless) -> Subscriptions:
    return Subscriptions(
        SubscriptionParts(
            writer, world.store.readers, world.clock, world.people, world.handshakes, world.expiry, SubscriptionRules()
        )
    )


async def test_what_was_overtaken_is_validated_again_a_bounded_number_of_times(world: World) -> None:
    await world.subscriptions.create(identity(), webhook())
    await with_writer(world, Restless(5, world)).renew(identity(), SubscriptionId("sub-1"))
    with pytest.raises(Stale):
        await with_writer(world, Restless(1_000, world)).renew(identity(), SubscriptionId("sub-1"))


# --- anywhere in a stream of writes


WISHES = [(STORE,), (INSTANT,), (f"{STORE}?type=Fax",), (f"{STORE}?direction=Inbound", INSTANT), (STORE, INSTANT)]


def told(subscriptions: Iterable[Subscription], log: Iterable[Entry]) -> dict[str, list[tuple[int, str]]]:
    """What each subscription is told of, by the rule that every reader applies to what is stored."""
    changes = [entry for entry in log if isinstance(entry, MessageChange)]
    return {
        subscription.subscription_id: [
            (change.seq, stored.filter.text)
            for change in changes
            for stored in subscription.filters
            if stored.covers(change.seq) and stored.filter.matches(change)
        ]
        for subscription in subscriptions
    }


@pytest.mark.parametrize("seed", range(8))
async def test_a_subscription_is_told_exactly_the_entries_after_each_of_its_changes(world: World, seed: int) -> None:
    chance = random.Random(seed)
    filters_of: dict[str, tuple[str, ...]] = {}
    expected: dict[str, list[tuple[int, str]]] = {}

    async def write_message() -> None:
        kind = chance.choice(list(MessageType))
        applied = await world.change_message(chance.randint(1, 3), kind=kind)
        change = world.listener.commits[-1].entries[ACCOUNT][0]
        assert isinstance(change, MessageChange)
        for key, filters in filters_of.items():
            for text in filters:
                one = text.replace("/~/", f"/{ACCOUNT}/", 1).replace("/~/", f"/{USER}/", 1)
                instant = "instant" in text and kind is MessageType.SMS
                store = "instant" not in text and ("Fax" not in text or kind is MessageType.FAX)
                if instant or store:
                    expected[key].append((applied.last_seq, one))

    for _ in range(60):
        action = chance.random()
        if action < 0.6:
            await write_message()
        elif action < 0.7 and len(filters_of) < 5:
            wish = chance.choice(WISHES)
            made = await world.subscriptions.create(identity(), webhook(*wish))
            filters_of[made.subscription.subscription_id] = wish
            expected[made.subscription.subscription_id] = []
        elif action < 0.95 and filters_of:
            key, wish = chance.choice(list(filters_of)), chance.choice(WISHES)
            await world.subscriptions.update(identity(), SubscriptionId(key), SubscriptionUpdate(wish))
            filters_of[key] = wish
        elif filters_of:
            key = chance.choice(list(filters_of))
            await world.subscriptions.cancel(identity(), SubscriptionId(key))
            del filters_of[key], expected[key]  # what is pending at its end is dropped
    live = await account_subscriptions(world)
    assert {key: sorted(pairs) for key, pairs in told(live, entries(world)).items()} == {
        key: sorted(pairs) for key, pairs in expected.items()
    }
    assert [entry.seq for entry in entries(world)] == list(range(1, len(entries(world)) + 1))
