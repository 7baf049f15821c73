"""Statements of WebSocket sessions: durable, so that recovery works after a restart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import bindparam, delete, select, update

from tocsin.domain.ids import AccountId, ClientId, ExtensionId, SessionId
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import websocket_session
from tocsin.storage.statement import Row, Statement, insert_into

_key = (
    websocket_session.c.account_id == bindparam("k_account"),
    websocket_session.c.session_id == bindparam("k_session"),
)
_names = tuple(column.name for column in websocket_session.columns)

INSERT_SESSION = insert_into(websocket_session)
CONNECT_SESSION = Statement(
    "connect_websocket_session",
    update(websocket_session)
    .where(*_key)
    .values(epoch=bindparam("v_epoch"), gateway=bindparam("v_gateway"), disconnected_ms=None),
    ("k_account", "k_session", "v_epoch", "v_gateway"),
)
DISCONNECT_SESSION = Statement(
    "disconnect_websocket_session",
    update(websocket_session)
    .where(*_key, websocket_session.c.epoch == bindparam("k_epoch"))
    .values(disconnected_ms=bindparam("v_disconnected")),
    ("k_account", "k_session", "k_epoch", "v_disconnected"),
)
CLAIM_SESSION = Statement(
    "claim_websocket_session",
    update(websocket_session)
    .where(*_key)
    .values(epoch=bindparam("v_epoch"), disconnected_ms=bindparam("v_disconnected")),
    ("k_account", "k_session", "v_epoch", "v_disconnected"),
)
"""Raise the epoch of a session that nobody holds: who wants it at its earlier one comes too late."""
DELETE_SESSION = Statement(
    "delete_websocket_session", delete(websocket_session).where(*_key), ("k_account", "k_session")
)
DELETE_LOST_SESSION = Statement(
    "delete_lost_websocket_session",
    delete(websocket_session).where(
        *_key, websocket_session.c.epoch == bindparam("k_epoch"), websocket_session.c.disconnected_ms.is_not(None)
    ),
    ("k_account", "k_session", "k_epoch"),
)
_FETCH_LOST = Statement(
    "fetch_lost_websocket_sessions",
    select(websocket_session.c.account_id, websocket_session.c.session_id, websocket_session.c.epoch)
    .where(websocket_session.c.disconnected_ms < bindparam("before_ms"))
    .order_by(websocket_session.c.account_id, websocket_session.c.session_id)
    .limit(bindparam("at_most")),
    ("before_ms", "at_most"),
)
_FETCH = Statement("fetch_websocket_session", select(websocket_session).where(*_key), ("k_account", "k_session"))
_FETCH_OF_GATEWAY = Statement(
    "fetch_websocket_sessions_of_gateway",
    select(websocket_session).where(websocket_session.c.gateway == bindparam("k_gateway")),
    ("k_gateway",),
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A WebSocket session as stored. `epoch` rises with each recovery and ends an older holder."""

    account_id: AccountId
    session_id: SessionId
    oauth_session_id: SessionId
    extension_id: ExtensionId
    client_id: ClientId
    gateway: str
    epoch: int
    created_ms: int
    seq: int
    disconnected_ms: int | None

    def as_row(self) -> Row:
        """Its columns, in the table's order."""
        return tuple(getattr(self, name) for name in _names)

    def taken_by(self, gateway: str) -> SessionRow:
        """The session once `gateway` has it, as CONNECT_SESSION writes it."""
        return replace(self, gateway=gateway, epoch=self.epoch + 1, disconnected_ms=None)


def fetch_session(conn: ReadConnection, account_id: AccountId, session_id: SessionId) -> SessionRow | None:
    """Return the session, or None when it was never made or has expired."""
    row = conn.one(_FETCH, (account_id, session_id))
    return None if row is None else SessionRow(*row)


def fetch_sessions_of_gateway(conn: ReadConnection, gateway: str) -> list[SessionRow]:
    """Return every session whose holder is `gateway`."""
    return [SessionRow(*row) for row in conn.all(_FETCH_OF_GATEWAY, (gateway,))]


def fetch_lost_sessions(conn: ReadConnection, before_ms: int, limit: int) -> list[Row]:
    """Return the keys, for DELETE_LOST_SESSION, of at most `limit` sessions that lost their socket before that time."""
    return conn.all(_FETCH_LOST, (before_ms, limit))
