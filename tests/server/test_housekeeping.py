"""Once an hour what is old leaves the store: each part, by its age, and none that fails holds up another."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.clocks import ManualClock
from tests.storage.writing import fetch_rows
from tests.storing import open_test_store
from tocsin.domain.clock import DueSource
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.server.housekeeping import FIRST_MS, HOUR_MS, RETRY_MS, Ages, Housekeeping
from tocsin.storage.attempts import INSERT_ATTEMPT
from tocsin.storage.schema import websocket_session
from tocsin.storage.statement import Row, Statement, insert_into
from tocsin.storage.store import Store
from tocsin.storage.tokens import INSERT_SESSION, INSERT_TOKEN
from tocsin.storage.unit import MAX_ROWS, Draft, Unit
from tocsin.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio

ACCOUNT, OTHER = AccountId(7), AccountId(8)
DAY_S = 86_400
INSERT_SOCKET = insert_into(websocket_session)


class Reader:
    """A notifier that has nothing loaded, and may be away."""

    failure: Exception | None = None

    async def flush(self) -> None:
        if self.failure is not None:
            raise self.failure

    def read_to(self, account_id: AccountId) -> int | None:
        return None


@dataclass
class World:
    store: Store
    clock: ManualClock
    folder: Path

    def __post_init__(self) -> None:
        self.reader, self.metrics = Reader(), Metrics()
        self.housekeeping = Housekeeping(self.store, self.clock, self.reader, Ages(), self.metrics)

    async def add(self, statement: Statement, *rows: Row) -> None:
        for start in range(0, len(rows), MAX_ROWS):
            units: dict[AccountId, Unit] = {}
            for row in rows[start : start + MAX_ROWS]:
                units.setdefault(row[0], Unit(row[0])).add(statement, row)
            for unit in units.values():
                await self.store.writer.apply(unit)

    async def tell(self, account_id: AccountId = ACCOUNT) -> None:
        """Append two entries, so that the account has a log."""
        drafts = [Draft(SubscriptionChange, (SubscriptionId("one"),))] * 2
        await self.store.writer.apply(Unit(account_id, drafts=drafts))

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.housekeeping.run_due()

    async def keys(self, table: str, place: int = 1) -> list[Any]:
        return [row[place] for row in await fetch_rows(self.store, table)]

    def removed(self, part: str) -> float:
        return self.metrics.removed_total.labels(part).value


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_test_store(tmp_path, clock=clock) as store:
        yield World(store, clock, tmp_path)


def attempt(number: int, started_ms: int, outcome: str = "timeout", account_id: AccountId = ACCOUNT) -> Row:
    key = (account_id, number, "sub", "uuid", "event", 1, 1, 1, 1)
    return (*key, started_ms, 1, outcome, None, None, None, "", "")


def token(name: str, session: str, expires_ms: int, ended: int = 0) -> Row:
    return (ACCOUNT, name, "refresh", session, expires_ms, ended, None)


def session(name: str, created_ms: int) -> Row:
    return (ACCOUNT, name, 1, "app", "ReadMessages", "endpoint", created_ms, 0)


def socket(name: str, login: str, disconnected_ms: int | None) -> Row:
    return (ACCOUNT, name, login, 1, "app", "elsewhere", 1, 0, 0, disconnected_ms)


async def test_it_is_due_ten_minutes_after_the_start_and_then_hourly(world: World) -> None:
    source: DueSource = world.housekeeping
    start_ms = world.clock.now_ms()
    await source.run_due()
    assert source.next_due_ms() == start_ms + FIRST_MS
    await world.pass_time(FIRST_MS / 1000)
    assert source.next_due_ms() == start_ms + FIRST_MS + HOUR_MS


async def test_the_log_is_kept_for_a_week(world: World) -> None:
    await world.tell()
    await world.pass_time(7 * DAY_S)
    assert await world.keys("log_entry") == [1, 2]
    await world.pass_time(3600)
    assert await world.keys("log_entry") == [2]
    assert world.removed("log") == 1


async def test_attempts_are_kept_for_thirty_days_whatever_their_outcome(world: World) -> None:
    now_ms = world.clock.now_ms()
    await world.tell()
    await world.tell(OTHER)
    old = [attempt(number, now_ms, ("timeout", "delivered")[number % 2]) for number in range(MAX_ROWS + 100)]
    await world.add(INSERT_ATTEMPT, *old, attempt(1, now_ms, account_id=OTHER), attempt(9_999, now_ms + HOUR_MS))
    await world.pass_time(30 * DAY_S)
    assert len(await world.keys("attempt")) == len(old) + 2
    await world.pass_time(3600)
    assert await world.keys("attempt") == [9_999]
    assert world.removed("attempts") == len(old) + 1


async def test_tokens_go_a_day_after_they_expired_and_then_their_sessions(world: World) -> None:
    now_ms = world.clock.now_ms()
    await world.add(INSERT_SESSION, session("over", now_ms), session("alive", now_ms), session("socket", now_ms))
    await world.add(
        INSERT_TOKEN,
        token("over", "over", now_ms),
        token("used", "alive", now_ms, ended=1),
        token("alive", "alive", now_ms + 2 * HOUR_MS),
        token("socket", "socket", now_ms),
    )
    await world.add(INSERT_SOCKET, socket("1", "socket", None))
    await world.pass_time(DAY_S)
    assert await world.keys("token") == ["alive", "over", "socket", "used"]
    await world.pass_time(3600)
    assert await world.keys("token") == ["alive"]
    assert await world.keys("oauth_session") == ["alive", "socket"]
    await world.pass_time(2 * 3600)
    assert await world.keys("token") == []
    assert await world.keys("oauth_session") == ["socket"]


async def test_a_session_that_has_just_begun_is_no_session_without_tokens(world: World) -> None:
    await world.add(INSERT_SESSION, session("new", world.clock.now_ms()))
    await world.pass_time(DAY_S)
    assert await world.keys("oauth_session") == ["new"]


async def test_websocket_sessions_that_nobody_holds_go_after_a_day(world: World) -> None:
    now_ms = world.clock.now_ms()
    await world.add(
        INSERT_SOCKET, socket("held", "a", None), socket("lost", "a", now_ms), socket("late", "a", now_ms + 1)
    )
    await world.pass_time(DAY_S + 0.001)
    assert await world.keys("websocket_session") == ["held", "late"]


async def test_blobs_without_reference_and_files_without_a_row_go_after_an_hour(world: World) -> None:
    ref = await world.store.blobs.put(ACCOUNT, b"nobody refers to it")
    stray = world.folder / "blobs" / str(ACCOUNT) / "ab" / "abcd.1"
    stray.parent.mkdir()
    stray.write_bytes(b"left by a crash")
    os.utime(stray, (1, 1))
    await world.pass_time(HOUR_MS / 1000)
    assert await world.keys("blob") == [ref.key]
    assert not stray.exists()
    await world.pass_time(HOUR_MS / 1000)
    assert await world.keys("blob") == []
    assert (world.removed("blobs"), world.removed("strays")) == (1, 1)


async def test_a_part_that_fails_is_logged_once_and_tried_again_and_the_others_are_done(world: World) -> None:
    await world.tell()
    await world.add(INSERT_SOCKET, socket("lost", "a", world.clock.now_ms()))
    world.reader.failure = StoreUnavailable("the disk is full")
    due_ms = world.clock.now_ms() + 8 * DAY_S * 1000
    with capture_logs() as lines:
        await world.pass_time(8 * DAY_S)
        assert (await world.keys("websocket_session"), await world.keys("log_entry")) == ([], [1, 2])
        assert world.housekeeping.next_due_ms() == due_ms + RETRY_MS
        await world.pass_time(RETRY_MS / 1000)
    assert [(line["event"], line["part"], line["reason"]) for line in lines] == [
        ("housekeeping.failed", "log", "the disk is full")
    ]
    world.reader.failure = None
    await world.pass_time(RETRY_MS / 1000)
    assert await world.keys("log_entry") == [2]
    assert world.housekeeping.next_due_ms() == world.clock.now_ms() + HOUR_MS
