"""The gateway over a real store: who may open and recover a session, and what happens when things break in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import ManualClock
from tests.storing import open_test_store
from tocsin.delivery.gateway import Gateway, GatewayParts
from tocsin.delivery.live_session import Answer, LiveSession
from tocsin.delivery.websocket import WebSocketSession
from tocsin.delivery.wsc import SessionContext
from tocsin.domain.directory import Identity, Scope
from tocsin.domain.entry import DirectoryChange, DirectoryScope, SubscriptionChange
from tocsin.domain.errors import StoreUnavailable, Unauthenticated
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId, ExtensionId, Seq, SessionId, SubscriptionId
from tocsin.storage.entries import TRIM_LOG
from tocsin.storage.store import Store
from tocsin.storage.unit import Draft, Unit
from tocsin.storage.websocket_sessions import SessionRow, fetch_sessions_of_gateway
from tocsin.telemetry.tasks import Tasks
from tocsin.wire.frames import ClientRequest

pytestmark = pytest.mark.anyio

ACCOUNT = AccountId(400_000_001)
ASK = b'[{"type":"ClientRequest","messageId":"m/1","method":"POST","path":"/restapi/v1.0/subscription"},{}]'
HEARTBEAT = b'[{"type":"Heartbeat","messageId":"h"}]'


def identity(login: str = "login") -> Identity:
    return Identity(ACCOUNT, ExtensionId(7), ClientId("app"), SessionId(login), frozenset(), 2**50)


@dataclass
class Wire:
    """A socket that keeps what was done with it."""

    frames: list[Any] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    live: LiveSession | None = None

    def send(self, frame: bytes) -> None:
        self.frames.append(json.loads(frame))

    def ping(self) -> None:
        return

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)

    def opened(self, live: LiveSession) -> None:
        assert self.frames[-1][0]["type"] == "ConnectionDetails"
        self.live = live

    @property
    def wsc(self) -> str:
        token: str = self.frames[0][0]["wsc"]["token"]
        return token

    @property
    def recovery(self) -> tuple[str | None, str | None]:
        body = self.frames[0][1]
        return body.get("recoveryState"), body.get("recoveryErrorCode")

    @property
    def error(self) -> str:
        meta, body = self.frames[-1]
        assert meta["type"] == "Error"
        code: str = body["errorCode"]
        return code


class Feed:
    """Notes in `story` what is done with it."""

    def __init__(self, story: list[str]) -> None:
        self.story = story

    def hold(self) -> None:
        self.story.append("hold")

    async def release(self) -> None:
        self.story.append("release")

    def resume(self) -> None:
        self.story.append("resume")

    def close(self) -> None:
        self.story.append("close")


class World:
    """Answers everything that the gateway asks of other rooms."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock, self.tasks = store, clock, Tasks()
        self.story: list[str] = []
        self.identities = {"token": identity(), "other": identity("other login")}
        self.ended: set[SessionId] = set()
        self.subscribed: set[SessionId] = set()
        self.opening: list[Exception] = []
        self.answering: Exception | None = None
        self.expiring: list[Exception] = []
        self.identifying: Exception | None = None
        self.gateway = self.new_gateway()

    def new_gateway(self) -> Gateway:
        parts = GatewayParts(
            self.store.writer, self.store.readers, self.clock, self, self, self, b"k" * 32, tasks=self.tasks
        )
        return Gateway(parts, self)

    async def redeem_websocket_token(self, text: str) -> Identity:
        if text not in self.identities:
            raise Unauthenticated("OAU-213", "Token not found")
        return self.identities[text]

    async def identify(self, account_id: AccountId, session_id: SessionId) -> Identity:
        if self.identifying is not None:
            raise self.identifying
        found = [one for one in self.identities.values() if one.session_id == session_id]
        if not found:
            raise Unauthenticated("OAU-213", "Token not found")
        return found[0]

    async def open(self, session: WebSocketSession, resume: SessionContext | None) -> tuple[Feed, int]:
        if self.opening:
            raise self.opening.pop()
        return Feed(self.story), 0 if resume is None else resume.before

    async def of_session(self, account_id: AccountId, session_id: SessionId) -> SubscriptionId | None:
        return SubscriptionId("sub") if session_id in self.subscribed else None

    async def end_of_session(self, account_id: AccountId, session_id: SessionId) -> None:
        if self.expiring:
            raise self.expiring.pop()
        self.subscribed.discard(session_id)
        self.ended.add(session_id)

    async def answer(self, request: ClientRequest, identity: Identity, session_id: SessionId) -> Answer:
        if self.answering is not None:
            raise self.answering
        self.story.append("answer")
        return Answer(200, {}, b"{}")

    async def connect(self, token: str = "token", wsc: str | None = None) -> Wire:
        wire = Wire()
        live = await self.gateway.connect(token, wsc, wire)
        assert live is wire.live
        return wire

    async def subscribe(self, wire: Wire) -> SessionId:
        assert wire.live is not None
        self.subscribed.add(wire.live.session.session_id)
        return wire.live.session.session_id

    async def lose(self, wire: Wire) -> None:
        assert wire.live is not None
        await self.gateway.disconnected(wire.live)

    async def rows(self) -> list[SessionRow]:
        return await self.store.readers.run(fetch_sessions_of_gateway, "local")

    async def settle(self) -> None:
        assert await self.tasks.settle(within_s=10)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        world = World(store, clock)
        yield world
        await world.tasks.close()


def changed(scope: DirectoryScope, subject: str = "", extension_id: int = 0) -> list[DirectoryChange]:
    return [DirectoryChange(ACCOUNT, Seq(1), 0, scope, ExtensionId(extension_id), subject)]


# -------------------------------------------------------------------------------------------------------- requests


async def test_the_feed_is_held_from_the_request_until_its_answer_is_written(world: World) -> None:
    wire = await world.connect()
    assert wire.live is not None
    world.story.clear()
    wire.live.received(ASK)
    await world.settle()
    assert world.story == ["hold", "answer", "release"]
    assert wire.frames[-1][0]["messageId"] == "m/1"
    world.story.clear()
    wire.live.received(ASK.replace(b"POST", b"GET"))
    await world.settle()
    assert world.story == ["answer"]


async def test_a_request_that_breaks_is_answered_and_the_session_lives_on(world: World) -> None:
    wire = await world.connect()
    assert wire.live is not None
    world.answering = RuntimeError("a fault of ours")
    wire.live.received(ASK)
    await world.settle()
    meta, body = wire.frames[-1]
    assert (meta["type"], meta["messageId"], meta["status"]) == ("ClientRequest", "m/1", 500)
    assert body["errorCode"] == "CMN-203"
    assert "fault" not in body["message"]
    assert world.story[-2:] == ["hold", "release"]
    wire.live.received(HEARTBEAT)
    assert wire.frames[-1] == [{"type": "Heartbeat", "messageId": "h"}]
    assert wire.closed == []


async def test_a_heartbeat_counts_as_activity(world: World) -> None:
    wire = await world.connect()
    assert wire.live is not None
    for _ in range(3):
        world.clock.advance(1000)
        wire.live.received(HEARTBEAT)
        world.gateway.tick()
        wire.live.session.alive()
    assert wire.closed == []
    world.clock.advance(1800)
    world.gateway.tick()
    assert wire.error == "WSG-902"


# --------------------------------------------------------------------------------------------- opening and breaking


async def test_a_session_that_cannot_be_followed_is_refused_and_expires(world: World) -> None:
    world.opening.append(RuntimeError("a fault of ours"))
    wire = await world.connect()
    assert (wire.error, wire.closed) == ("WSG-500", [1013])
    assert world.gateway.session_count == 0
    [row] = await world.rows()
    assert row.disconnected_ms == world.clock.now_ms()
    world.clock.advance(181)
    await world.gateway.run_due()
    assert await world.rows() == []


async def test_a_closed_gateway_opens_no_more_and_closes_what_is_open(world: World) -> None:
    wire = await world.connect()
    world.gateway.close()
    assert (wire.closed, world.story[-1]) == ([1001], "close")
    refused = await world.connect()
    assert (refused.error, refused.closed) == ("WSG-503", [1013])


# -------------------------------------------------------------------------------------------------------- recovery


async def test_of_two_recoveries_at_once_one_holds_the_session(world: World) -> None:
    first = await world.connect()
    session_id = await world.subscribe(first)
    await world.lose(first)
    both = await asyncio.gather(world.connect(wsc=first.wsc), world.connect(wsc=first.wsc))
    # Either one is refused, or the later takes the session over from the earlier, which is then closed.
    succeeded = [wire for wire in both if wire.recovery == ("Successful", None)]
    assert all(wire.recovery == ("Failed", "WSG-1005") for wire in both if wire not in succeeded)
    assert len([wire for wire in succeeded if not wire.closed]) == 1
    [held] = [row for row in await world.rows() if row.session_id == session_id]
    assert (held.epoch, held.disconnected_ms) == (1 + len(succeeded), None)


async def test_the_loss_of_an_older_socket_does_not_expire_a_recovered_session(world: World) -> None:
    first = await world.connect()
    session_id = await world.subscribe(first)
    second, _ = await asyncio.gather(world.connect(wsc=first.wsc), world.lose(first))
    await world.lose(first)
    assert second.recovery == ("Successful", None)
    world.clock.advance(3600)
    await world.gateway.run_due()
    assert session_id in world.subscribed
    [row] = await world.rows()
    assert row.disconnected_ms is None


async def test_a_recovery_that_breaks_may_be_tried_again(world: World) -> None:
    first = await world.connect()
    await world.subscribe(first)
    await world.lose(first)
    world.opening.append(StoreUnavailable())
    assert (await world.connect(wsc=first.wsc)).error == "WSG-503"
    assert (await world.connect(wsc=first.wsc)).recovery == ("Successful", None)


async def test_only_the_login_that_opened_a_session_recovers_it_and_only_in_time(world: World) -> None:
    first = await world.connect()
    await world.subscribe(first)
    await world.lose(first)
    assert (await world.connect("other", first.wsc)).recovery == ("Failed", "WSG-1003")
    world.clock.advance(180)
    in_time = await world.connect(wsc=first.wsc)
    assert in_time.recovery == ("Successful", None)
    await world.lose(in_time)
    world.clock.advance(180.001)
    assert (await world.connect(wsc=in_time.wsc)).recovery == ("Failed", "WSG-1005")


async def test_what_was_trimmed_from_the_log_is_not_recovered(world: World) -> None:
    first = await world.connect()
    await world.subscribe(first)
    await world.lose(first)
    unit = Unit(ACCOUNT, drafts=[Draft(SubscriptionChange, (SubscriptionId("sub"),))] * 2)
    await world.store.writer.apply(unit)
    assert (await world.connect(wsc=first.wsc)).recovery == ("Successful", None)
    trim = Unit(ACCOUNT)
    trim.add(TRIM_LOG, (ACCOUNT, 1))
    await world.store.writer.apply(trim)
    assert (await world.connect(wsc=first.wsc)).recovery == ("Failed", "WSG-1005")


async def test_an_expiry_that_fails_is_tried_again_and_refuses_recovery_meanwhile(world: World) -> None:
    first = await world.connect()
    session_id = await world.subscribe(first)
    await world.lose(first)
    due = world.gateway.next_due_ms()
    assert due is not None
    world.clock.jump_to(due)
    world.expiring.append(StoreUnavailable())
    await world.gateway.run_due()
    assert world.gateway.next_due_ms() == due
    assert (await world.connect(wsc=first.wsc)).recovery == ("Failed", "WSG-1005")
    await world.gateway.run_due()
    assert world.ended == {session_id}
    assert session_id not in {row.session_id for row in await world.rows()}


async def test_after_a_restart_sessions_are_given_their_window(world: World) -> None:
    open_one, lost = await world.connect(), await world.connect()
    ids = [await world.subscribe(open_one), await world.subscribe(lost)]
    await world.lose(lost)
    lost_at = world.clock.now_ms()
    world.clock.advance(100)
    world.gateway = world.new_gateway()
    await world.gateway.start()
    assert world.gateway.next_due_ms() == lost_at + 180_001
    assert [row.disconnected_ms for row in await world.rows() if row.session_id == ids[0]] == [world.clock.now_ms()]
    world.clock.advance(100)
    await world.gateway.run_due()
    assert world.ended == {ids[1]}
    assert (await world.connect(wsc=open_one.wsc)).recovery == ("Successful", None)
    world.clock.advance(3600)
    await world.gateway.run_due()
    assert world.ended == {ids[1]}


# ---------------------------------------------------------------------------------------------- the end of a login


async def test_a_login_that_has_ended_loses_its_sockets(world: World) -> None:
    wire, other = await world.connect(), await world.connect("other")
    del world.identities["token"]
    world.gateway.entries(ACCOUNT, changed(DirectoryScope.SESSION, "login"))
    await world.settle()
    assert (wire.error, wire.closed) == ("WSG-401", [1008])
    assert other.closed == []


@pytest.mark.parametrize(
    "account_id, change",
    [
        (ACCOUNT, changed(DirectoryScope.ACCOUNT)),
        (ACCOUNT, changed(DirectoryScope.EXTENSION, extension_id=7)),
        (ACCOUNT, changed(DirectoryScope.SESSION, "login")),
        (SYSTEM_ACCOUNT, changed(DirectoryScope.APP, "app")),
    ],
)
async def test_changed_rights_are_those_of_the_next_request(
    world: World, account_id: AccountId, change: list[DirectoryChange]
) -> None:
    wire = await world.connect()
    fewer = replace(identity(), scopes=frozenset({Scope.READ_ACCOUNTS}))
    world.identities["token"] = fewer
    world.gateway.entries(account_id, change)
    await world.settle()
    assert wire.closed == []
    assert wire.live is not None
    assert wire.live.session.identity == fewer


@pytest.mark.parametrize(
    "account_id, change",
    [
        (AccountId(9), changed(DirectoryScope.ACCOUNT)),
        (ACCOUNT, changed(DirectoryScope.EXTENSION, extension_id=8)),
        (ACCOUNT, changed(DirectoryScope.SESSION, "another")),
        (ACCOUNT, changed(DirectoryScope.NUMBER, "+16505550100")),
        (SYSTEM_ACCOUNT, changed(DirectoryScope.APP, "another")),
        (SYSTEM_ACCOUNT, changed(DirectoryScope.NUMBER, "+16505550100")),
    ],
)
async def test_changes_of_others_are_nobodys_business(
    world: World, account_id: AccountId, change: list[DirectoryChange]
) -> None:
    wire = await world.connect()
    world.identifying = AssertionError("nobody was to ask")
    world.gateway.entries(account_id, change)
    await world.settle()
    assert wire.closed == []


async def test_where_nobody_can_say_whose_login_it_is_the_socket_is_closed_for_now(world: World) -> None:
    wire = await world.connect()
    world.identifying = StoreUnavailable()
    world.gateway.entries(ACCOUNT, changed(DirectoryScope.ACCOUNT))
    await world.settle()
    assert wire.closed == [1013]


async def test_a_login_that_ends_while_its_socket_opens_is_not_overlooked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = world.open

    async def revoked_meanwhile(session: WebSocketSession, resume: SessionContext | None) -> tuple[Feed, int]:
        del world.identities["token"]
        world.gateway.entries(ACCOUNT, changed(DirectoryScope.SESSION, "login"))
        return await opened(session, resume)

    monkeypatch.setattr(world, "open", revoked_meanwhile)
    wire = await world.connect()
    await world.settle()
    assert (wire.error, wire.closed) == ("WSG-401", [1008])
