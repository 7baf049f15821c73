"""A session's time limits, its pings, and what is written in which state. Time stands still unless a test moves it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.clocks import ManualClock
from tocsin.delivery.websocket import Place, SessionTimes, WebSocketSession
from tocsin.delivery.wsc import SessionContext, read_context
from tocsin.domain.directory import Identity
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, SessionId
from tocsin.wire.frames import SessionLimits

KEY = b"k" * 32
IDENTITY = Identity(AccountId(1), ExtensionId(2), ClientId("app"), SessionId("login"), frozenset(), 2**40)
TIMES = SessionTimes()


@dataclass
class Wire:
    """A connection that keeps what was done with it."""

    frames: list[Any] = field(default_factory=list)
    pings: int = 0
    closed: list[tuple[int, str]] = field(default_factory=list)

    def send(self, frame: bytes) -> None:
        self.frames.append(json.loads(frame))

    def ping(self) -> None:
        self.pings += 1

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    @property
    def codes(self) -> list[int]:
        return [code for code, _ in self.closed]

    @property
    def errors(self) -> list[tuple[int, str]]:
        return [(meta["status"], body["errorCode"]) for meta, body in self.frames if meta["type"] == "Error"]


@dataclass
class World:
    clock: ManualClock = field(default_factory=ManualClock)
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        self.session = WebSocketSession(IDENTITY, SessionId("s"), 3, self.wire, KEY, self.clock, TIMES)

    def pass_time(self, seconds: float, *, answering: bool = True) -> None:
        """Let time pass in steps of five seconds, as the ticking goes, the client answering pings or not."""
        for _ in range(round(seconds / 5)):
            self.clock.advance(5)
            before = self.wire.pings
            self.session.tick()
            if answering and self.wire.pings > before:
                self.session.alive()


@pytest.fixture
def world() -> World:
    return World()


def test_idle_for_half_an_hour_ends_it(world: World) -> None:
    world.pass_time(1795)
    assert world.wire.closed == []
    world.pass_time(5)
    assert world.wire.errors == [(408, "WSG-902")]
    assert world.wire.closed == [(1000, "Idle timeout expired")]
    world.pass_time(60)
    assert len(world.wire.closed) == 1


def test_frames_of_either_side_keep_it_from_being_idle(world: World) -> None:
    world.pass_time(1000)
    world.session.active()
    world.pass_time(1000)
    world.session.notify("u", b"{}", 1, 2, 1)
    world.pass_time(1795)
    assert world.wire.closed == []
    world.pass_time(5)
    assert world.wire.errors == [(408, "WSG-902")]


def test_pongs_do_not_keep_it_from_being_idle(world: World) -> None:
    world.pass_time(1800)
    assert world.wire.pings > 50
    assert world.wire.errors == [(408, "WSG-902")]


def test_a_day_ends_it_however_active(world: World) -> None:
    for _ in range(86_400 // 1200 - 1):
        world.pass_time(1200)
        world.session.active()
    world.pass_time(1195)
    assert world.wire.closed == []
    world.pass_time(5)
    assert world.wire.errors == [(408, "WSG-903")]
    assert world.wire.codes == [1000]


def test_a_ping_every_half_minute_is_to_be_answered_within_ten_seconds(world: World) -> None:
    world.pass_time(30)
    assert world.wire.pings == 1
    world.pass_time(30)
    assert world.wire.pings == 2
    world.pass_time(30, answering=False)
    assert world.wire.pings == 3
    world.pass_time(5, answering=False)
    assert world.wire.closed == []
    world.pass_time(5, answering=False)
    assert world.wire.codes == [1008]


def test_anything_at_all_answers_a_ping(world: World) -> None:
    world.pass_time(30, answering=False)
    world.clock.advance(9)
    world.session.alive()
    world.clock.advance(1)
    world.session.tick()
    assert world.wire.closed == []


def test_a_stalled_writer_is_closed_with_a_code_and_a_drained_one_is_not(world: World) -> None:
    states = [world.session.writable]
    world.session.stalled()
    states.append(world.session.writable)
    world.pass_time(25)
    world.session.drained()
    states.append(world.session.writable)
    assert states == [True, False, True]
    world.pass_time(60)
    assert world.wire.closed == []
    world.session.stalled()
    world.pass_time(30)
    assert world.wire.codes == [1013]
    assert not world.session.writable


def test_each_token_says_where_the_session_stands_and_outranks_the_one_before(world: World) -> None:
    world.session.details(Place(5, 9, 2), SessionLimits(), (True, None))
    world.session.notify("uuid-1", b'{"uuid":"uuid-1"}', 5, 9, 3)
    tokens = [frame[0]["wsc"] for frame in world.wire.frames]
    assert [read_context(one["token"], KEY) for one in tokens] == [
        SessionContext(AccountId(1), SessionId("s"), 3, 5, 9, 2),
        SessionContext(AccountId(1), SessionId("s"), 3, 5, 9, 3),
    ]
    assert tokens[0]["sequence"] < tokens[1]["sequence"] < 2**53


def test_nothing_is_written_once_it_is_closed(world: World) -> None:
    world.session.give_up()
    world.session.reply(b"[]")
    world.session.notify("u", b"{}", 1, 2, 1)
    world.session.fail(401, "WSG-401", "too late")
    world.session.close(1000, "again")
    assert world.wire.frames == []
    assert world.wire.codes == [1013]


def test_a_lost_socket_is_written_to_no_more(world: World) -> None:
    world.session.lost()
    world.session.notify("u", b"{}", 1, 2, 1)
    world.pass_time(3600)
    assert (world.wire.frames, world.wire.codes) == ([], [])
