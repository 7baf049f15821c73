"""Rows of WebSocket sessions: what each statement changes, and for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storing import open_test_store
from tocsin.domain.errors import Stale
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, SessionId
from tocsin.storage.statement import Row, Statement
from tocsin.storage.store import Store
from tocsin.storage.unit import ABSENT, Expect, Unit
from tocsin.storage.websocket_sessions import (
    CLAIM_SESSION,
    CONNECT_SESSION,
    DELETE_SESSION,
    DISCONNECT_SESSION,
    INSERT_SESSION,
    SessionRow,
    fetch_session,
    fetch_sessions_of_gateway,
)

pytestmark = pytest.mark.anyio

ACCOUNT, OTHER_ACCOUNT = AccountId(400_000_001), AccountId(400_000_002)
SESSION = SessionRow(
    account_id=ACCOUNT,
    session_id=SessionId("one"),
    oauth_session_id=SessionId("login"),
    extension_id=ExtensionId(7),
    client_id=ClientId("app"),
    gateway="left",
    epoch=1,
    created_ms=5,
    seq=0,
    disconnected_ms=None,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_test_store(tmp_path) as store:
        for row in (SESSION, replace(SESSION, session_id=SessionId("two"), gateway="right")):
            await write(store, INSERT_SESSION, row.as_row())
        await write(store, INSERT_SESSION, replace(SESSION, account_id=OTHER_ACCOUNT).as_row(), OTHER_ACCOUNT)
        yield store


async def write(
    store: Store, statement: Statement, row: Row, account_id: AccountId = ACCOUNT, epoch: int | None = None
) -> None:
    unit = Unit(account_id)
    if epoch is not None:
        unit.expects.append(Expect("websocket_session", (SESSION.session_id,), epoch))
    unit.add(statement, row)
    await store.writer.apply(unit)


async def found(store: Store, account_id: AccountId = ACCOUNT) -> SessionRow | None:
    return await store.readers.run(fetch_session, account_id, SESSION.session_id)


async def test_a_session_is_read_as_it_was_written(store: Store) -> None:
    assert await found(store) == SESSION
    assert await store.readers.run(fetch_session, ACCOUNT, SessionId("nobody's")) is None


async def test_a_gateway_finds_its_own_in_every_account(store: Store) -> None:
    rows = await store.readers.run(fetch_sessions_of_gateway, "left")
    assert {(row.account_id, row.session_id) for row in rows} == {(ACCOUNT, "one"), (OTHER_ACCOUNT, "one")}


async def test_a_loss_counts_for_the_holder_alone(store: Store) -> None:
    await write(store, DISCONNECT_SESSION, (ACCOUNT, SESSION.session_id, 2, 99))
    assert await found(store) == SESSION
    await write(store, DISCONNECT_SESSION, (ACCOUNT, SESSION.session_id, 1, 99))
    assert await found(store) == replace(SESSION, disconnected_ms=99)
    assert await found(store, OTHER_ACCOUNT) == replace(SESSION, account_id=OTHER_ACCOUNT)


async def test_a_new_holder_ends_the_loss_and_outranks_the_older(store: Store) -> None:
    await write(store, DISCONNECT_SESSION, (ACCOUNT, SESSION.session_id, 1, 99))
    taken = SESSION.taken_by("right")
    await write(store, CONNECT_SESSION, (ACCOUNT, SESSION.session_id, taken.epoch, taken.gateway), epoch=1)
    assert await found(store) == taken
    assert (taken.gateway, taken.epoch, taken.disconnected_ms) == ("right", 2, None)
    with pytest.raises(Stale):
        await write(store, CONNECT_SESSION, (ACCOUNT, SESSION.session_id, 2, "left"), epoch=1)
    assert await found(store) == taken


async def test_who_expires_a_session_is_who_raised_its_epoch(store: Store) -> None:
    await write(store, CLAIM_SESSION, (ACCOUNT, SESSION.session_id, 2, 99), epoch=1)
    assert await found(store) == replace(SESSION, epoch=2, disconnected_ms=99)
    with pytest.raises(Stale):
        await write(store, CLAIM_SESSION, (ACCOUNT, SESSION.session_id, 2, 99), epoch=1)
    await write(store, DELETE_SESSION, (ACCOUNT, SESSION.session_id), epoch=2)
    assert await found(store) is None
    assert await found(store, OTHER_ACCOUNT) is not None
    await write(store, INSERT_SESSION, SESSION.as_row(), epoch=ABSENT)
    assert await found(store) == SESSION
