"""OAuth sessions and their tokens as rows. Tokens are kept as hashes only; what a hash stands for is known to clients.

A session that ends takes its rows with it. A refresh token that was used keeps its row, ended and with its successor,
for as long as the client may still ask again. No rules: directory/sessions.py decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnClause, bindparam, delete, exists, literal_column, select, update

from tocsin.domain.ids import AccountId, ClientId, ExtensionId, SessionId
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import oauth_session as session_table
from tocsin.storage.schema import token as token_table
from tocsin.storage.schema import websocket_session
from tocsin.storage.statement import Row, Statement, delete_from, insert_into

EXPECT_TOKEN = "token"  # noqa: S105  # the name of a table
"""The `table` of an Expect on a token; its key is (token_hash,), its version `ended`."""
EXPECT_SESSION = "oauth_session"
"""The `table` of an Expect on a session; its key is (session_id,), its version `ended`, which is 0 while it lives."""

INSERT_SESSION = insert_into(session_table, order=20)
# Ranked last: the deletes below clear a session's old tokens in the very unit that gives it new ones.
INSERT_TOKEN = insert_into(token_table, order=60)

_ENDED: ColumnClause[int] = literal_column(
    "1"
)  # written out: a bound constant would be a parameter that no caller gives

DELETE_SESSION = Statement(
    "delete_oauth_session",
    delete(session_table).where(
        session_table.c.account_id == bindparam("k_account"), session_table.c.session_id == bindparam("k_session")
    ),
    ("k_account", "k_session"),
)
_of_session = (
    token_table.c.account_id == bindparam("k_account"),
    token_table.c.session_id == bindparam("k_session"),
)
DELETE_TOKENS = Statement("delete_session_tokens", delete(token_table).where(*_of_session), ("k_account", "k_session"))
DELETE_TOKEN = delete_from(token_table)
DELETE_OTHER_TOKENS = Statement(
    "delete_other_session_tokens",
    delete(token_table).where(*_of_session, token_table.c.token_hash != bindparam("k_kept")),
    ("k_account", "k_session", "k_kept"),
)
END_REFRESH_TOKEN = Statement(
    "end_refresh_token",
    update(token_table)
    .where(token_table.c.account_id == bindparam("k_account"), token_table.c.token_hash == bindparam("k_hash"))
    .values(ended=_ENDED, successor=bindparam("v_successor"), expires_ms=bindparam("v_expires_ms")),
    ("k_account", "k_hash", "v_successor", "v_expires_ms"),
)
SHORTEN_GRACE = Statement(
    "shorten_refresh_grace",
    update(token_table)
    .where(*_of_session, token_table.c.ended == _ENDED, token_table.c.expires_ms > bindparam("k_until_ms"))
    .values(expires_ms=bindparam("v_expires_ms")),
    ("k_account", "k_session", "k_until_ms", "v_expires_ms"),
)

_FETCH_TOKEN = Statement(
    "fetch_token",
    select(
        token_table.c.kind,
        token_table.c.expires_ms,
        token_table.c.ended,
        token_table.c.successor,
        session_table.c.session_id,
        session_table.c.extension_id,
        session_table.c.client_id,
        session_table.c.scopes,
        session_table.c.endpoint_id,
    ).where(
        token_table.c.account_id == bindparam("k_account"),
        token_table.c.token_hash == bindparam("k_hash"),
        session_table.c.account_id == token_table.c.account_id,
        session_table.c.session_id == token_table.c.session_id,
    ),
    ("k_account", "k_hash"),
)
_FETCH_GRACE = Statement(
    "fetch_refresh_grace",
    select(token_table.c.expires_ms).where(*_of_session, token_table.c.ended == _ENDED),
    ("k_account", "k_session"),
)
_FETCH_EXPIRY = Statement(
    "fetch_token_expiry",
    select(token_table.c.expires_ms).where(
        token_table.c.account_id == bindparam("k_account"), token_table.c.token_hash == bindparam("k_hash")
    ),
    ("k_account", "k_hash"),
)
_FETCH_SESSION = Statement(
    "fetch_oauth_session",
    select(session_table).where(
        session_table.c.account_id == bindparam("k_account"), session_table.c.session_id == bindparam("k_session")
    ),
    ("k_account", "k_session"),
)
_FETCH_OWNED = Statement(
    "fetch_oauth_sessions_of_owner",
    select(session_table.c.session_id)
    .where(
        session_table.c.account_id == bindparam("k_account"),
        session_table.c.extension_id == bindparam("k_extension"),
        session_table.c.client_id == bindparam("k_client"),
    )
    .order_by(session_table.c.created_ms, session_table.c.session_id),
    ("k_account", "k_extension", "k_client"),
)

_FETCH_EXPIRED = Statement(
    "fetch_expired_tokens",
    select(token_table.c.account_id, token_table.c.token_hash)
    .where(token_table.c.expires_ms < bindparam("before_ms"))
    .order_by(token_table.c.expires_ms)
    .limit(bindparam("at_most")),
    ("before_ms", "at_most"),
)
_unused = (
    ~exists().where(
        token_table.c.account_id == session_table.c.account_id, token_table.c.session_id == session_table.c.session_id
    ),
    ~exists().where(
        websocket_session.c.account_id == session_table.c.account_id,
        websocket_session.c.oauth_session_id == session_table.c.session_id,
    ),
)
_FETCH_UNUSED_SESSIONS = Statement(
    "fetch_unused_oauth_sessions",
    select(session_table.c.account_id, session_table.c.session_id)
    .where(session_table.c.created_ms < bindparam("before_ms"), *_unused)
    .order_by(session_table.c.account_id, session_table.c.session_id)
    .limit(bindparam("at_most")),
    ("before_ms", "at_most"),
)
DELETE_UNUSED_SESSION = Statement(
    "delete_unused_oauth_session",
    delete(session_table).where(
        session_table.c.account_id == bindparam("k_account"),
        session_table.c.session_id == bindparam("k_session"),
        *_unused,  # asked again in the writer's transaction: a socket may have been opened by it meanwhile
    ),
    ("k_account", "k_session"),
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """An OAuth session: one login of one user through one app. `scopes` are wire names as granted."""

    account_id: AccountId
    session_id: SessionId
    extension_id: ExtensionId
    client_id: ClientId
    scopes: tuple[str, ...]
    endpoint_id: str

    def as_row(self, created_ms: int) -> Row:
        """The row for INSERT_SESSION."""
        return (
            self.account_id,
            self.session_id,
            self.extension_id,
            self.client_id,
            " ".join(self.scopes),
            self.endpoint_id,
            created_ms,
            0,
        )


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token and its session. `successor` is the hash of the access token that replaced a used refresh token."""

    kind: str
    expires_ms: int
    ended: bool
    successor: str | None
    session: SessionRow


def token_row(account_id: AccountId, token_hash: str, kind: str, session_id: SessionId, expires_ms: int) -> Row:
    """Return the row for INSERT_TOKEN of a live token of `kind` "access" or "refresh"."""
    return (account_id, token_hash, kind, session_id, expires_ms, 0, None)


def fetch_token(conn: ReadConnection, account_id: AccountId, token_hash: str) -> TokenRow | None:
    """Return the token, ended ones included, or None."""
    row = conn.one(_FETCH_TOKEN, (account_id, token_hash))
    if row is None:
        return None
    kind, expires_ms, ended, successor, session_id, extension_id, client_id, scopes, endpoint_id = row
    session = SessionRow(account_id, session_id, extension_id, client_id, tuple(scopes.split()), endpoint_id)
    return TokenRow(kind, expires_ms, bool(ended), successor, session)


def fetch_grace_ends(conn: ReadConnection, account_id: AccountId, session_id: SessionId) -> list[int]:
    """Return until when, in wall milliseconds, each used refresh token of the session may be presented again."""
    return [row[0] for row in conn.all(_FETCH_GRACE, (account_id, session_id))]


def fetch_token_expiry(conn: ReadConnection, account_id: AccountId, token_hash: str) -> int | None:
    """Return when the token expires, in wall milliseconds, or None when there is none."""
    row = conn.one(_FETCH_EXPIRY, (account_id, token_hash))
    return None if row is None else int(row[0])


def fetch_oauth_session(conn: ReadConnection, account_id: AccountId, session_id: SessionId) -> SessionRow | None:
    """Return the session, or None when it ended or never was."""
    row = conn.one(_FETCH_SESSION, (account_id, session_id))
    if row is None:
        return None
    return SessionRow(account_id, session_id, ExtensionId(row[2]), ClientId(row[3]), tuple(row[4].split()), row[5])


def fetch_session_ids(
    conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId, client_id: ClientId
) -> list[SessionId]:
    """Return the sessions of a user with an app, oldest first."""
    return [SessionId(row[0]) for row in conn.all(_FETCH_OWNED, (account_id, extension_id, client_id))]


def fetch_expired_tokens(conn: ReadConnection, before_ms: int, limit: int) -> list[Row]:
    """Return the keys, for DELETE_TOKEN, of at most `limit` tokens of any account that expired before that time.

    A refresh token that was used expires with its grace.
    """
    return conn.all(_FETCH_EXPIRED, (before_ms, limit))


def fetch_unused_sessions(conn: ReadConnection, before_ms: int, limit: int) -> list[Row]:
    """Return the keys, for DELETE_UNUSED_SESSION, of at most `limit` sessions made before that time that are over.

    That is: all their tokens are gone, and no WebSocket session lives by them.
    """
    return conn.all(_FETCH_UNUSED_SESSIONS, (before_ms, limit))
