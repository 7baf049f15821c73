"""OAuth sessions: begun by a grant, kept up by refresh tokens, ended by revocation or newer ones; and who a token is.

A refresh token gives one pair, once: used again within its grace it gives the same pair, later nothing. Identities are
remembered until an entry says that session, user, account or app changed. Never speaks OAuth's wire.
Source: RC doc "refresh token flow"; the numbers are those of the reference.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tocsin.directory.cache import Directory
from tocsin.directory.tokens import Pair, TokenMaker, WebSocketTicket, account_of, token_hash
from tocsin.domain.clock import Clock
from tocsin.domain.directory import (
    SCOPE_SPELLINGS,
    App,
    Extension,
    ExtensionStatus,
    Identity,
    Scope,
    effective_scopes,
)
from tocsin.domain.entry import DirectoryChange, DirectoryScope, Entry
from tocsin.domain.errors import GrantRefused, Overloaded, Stale, Unauthenticated
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ExtensionId, SessionId
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.tokens import (
    DELETE_OTHER_TOKENS,
    DELETE_SESSION,
    DELETE_TOKENS,
    END_REFRESH_TOKEN,
    EXPECT_SESSION,
    EXPECT_TOKEN,
    INSERT_SESSION,
    INSERT_TOKEN,
    SHORTEN_GRACE,
    SessionRow,
    TokenRow,
    fetch_grace_ends,
    fetch_oauth_session,
    fetch_session_ids,
    fetch_token,
    fetch_token_expiry,
    token_row,
)
from tocsin.storage.unit import Applies, Draft, Expect, Unit

SESSIONS_PER_USER_AND_APP = 5
UNUSED_GRACE_MS = 3_600_000
"""How long a used refresh token gives its pair again while nothing has used the new access token."""
USED_GRACE_MS = 10_000
"""The same from the first use of the new access token on."""
WEBSOCKET_TOKEN_S = 30
"""A WebSocket token may be used any number of times within it: an SDK keeps it for four fifths of that."""
WEBSOCKET_SESSION_MS = 86_400_000
"""RC: absoluteTimeout of a WebSocket connection, which outlives the access token that opened it."""
MAX_IDENTITIES = 100_000
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for beside the grant itself. `scopes` None: all that the app has; times in seconds."""

    access_ttl_s: int
    refresh_ttl_s: int
    scopes: frozenset[Scope] | None = None
    endpoint_id: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A pair and what the client is told about it; times in seconds from now."""

    pair: Pair
    expires_in: int
    refresh_expires_in: int
    scopes: tuple[Scope, ...]
    owner: ExtensionId
    endpoint_id: str
    session_id: SessionId


class Sessions:
    """Sessions of all accounts. `entries` must be given every account's log entries."""

    def __init__(
        self, *, writer: Applies, readers: Readers, directory: Directory, tokens: TokenMaker, clock: Clock
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._directory = directory
        self._tokens = tokens
        self._clock = clock
        self._identities = _Identities()

    async def authenticate(self, access_token: str) -> Identity:
        """Whose token this is. Raises Unauthenticated: OAU-149 no token of ours, OAU-213 unknown, OAU-128 expired."""
        digest = token_hash(access_token)
        now_ms = self._clock.now_ms()
        identity = self._identities.find(digest)
        if identity is None:
            identity = await self._load(access_token, digest, now_ms)
        if identity.expires_ms <= now_ms:
            raise Unauthenticated("OAU-128", "Access token expired")
        return identity

    async def start(self, extension: Extension, app: App, wish: Wish) -> Granted:
        """Begin a session of a user with an app; the oldest beyond five ends."""
        if wish.scopes is not None and not wish.scopes <= effective_scopes(app.scopes):
            raise GrantRefused("OAU-117", "The requested scope exceeds the permissions of the application")
        account_id = extension.account_id
        granted = app.scopes if wish.scopes is None else wish.scopes
        session = SessionRow(
            account_id,
            SessionId(secrets.token_urlsafe(16)),
            extension.extension_id,
            app.client_id,
            tuple(sorted(granted)),
            wish.endpoint_id or secrets.token_urlsafe(16),
        )
        pair = self._tokens.new_pair(account_id)
        for _ in range(_TRIES):
            now_ms = self._clock.now_ms()
            unit = Unit(account_id)
            unit.add(INSERT_SESSION, session.as_row(now_ms))
            _add_pair(unit, session, pair, wish, now_ms)
            older = await self._readers.run(fetch_session_ids, account_id, extension.extension_id, app.client_id)
            for session_id in older[: max(0, len(older) + 1 - SESSIONS_PER_USER_AND_APP)]:
                _end(unit, session_id, extension.extension_id)
            if await self._applied(unit):
                return self._granted(session, app, pair, wish.access_ttl_s, wish.refresh_ttl_s)
        raise Overloaded

    async def refresh(self, refresh_token: str, app: App, wish: Wish) -> Granted:
        """The pair that follows `refresh_token`; raises GrantRefused where it gives none."""
        account_id = account_of(refresh_token)
        if account_id is None:
            raise _not_found()
        digest = token_hash(refresh_token)
        for _ in range(_TRIES):
            row = await self._readers.run(fetch_token, account_id, digest)
            if row is None or row.kind != "refresh" or row.session.client_id != app.client_id:
                raise _not_found()
            now_ms = self._clock.now_ms()
            if row.expires_ms <= now_ms:
                raise GrantRefused("OAU-213", "Refresh token is expired")
            await self._check_owner(row.session)
            pair = self._tokens.following(account_id, refresh_token)
            if row.ended:
                return await self._repeat(row, app, pair, now_ms)
            unit = Unit(account_id)
            unit.expects.append(Expect(EXPECT_TOKEN, (digest,), 0))
            unit.expects.append(Expect(EXPECT_SESSION, (row.session.session_id,), 0))
            unit.add(DELETE_OTHER_TOKENS, (account_id, row.session.session_id, digest))
            unit.add(END_REFRESH_TOKEN, (account_id, digest, token_hash(pair.access), now_ms + UNUSED_GRACE_MS))
            _add_pair(unit, row.session, pair, wish, now_ms)
            unit.drafts.append(_changed(row.session.session_id, row.session.extension_id))
            if await self._applied(unit):
                return self._granted(row.session, app, pair, wish.access_ttl_s, wish.refresh_ttl_s)
        raise Overloaded

    async def revoke(self, token: str, app: App) -> None:
        """End the session of an access or refresh token of `app`. What is unknown is as good as revoked (RFC 7009)."""
        account_id = account_of(token)
        if account_id is None:
            return
        for _ in range(_TRIES):
            row = await self._readers.run(fetch_token, account_id, token_hash(token))
            if row is None or row.session.client_id != app.client_id:
                return
            unit = Unit(account_id)
            _end(unit, row.session.session_id, row.session.extension_id)
            if await self._applied(unit):
                return
        raise Overloaded

    def websocket_token(self, identity: Identity) -> str:
        """A token with which `identity`'s session may open sockets for WEBSOCKET_TOKEN_S seconds."""
        expires_ms = self._clock.now_ms() + WEBSOCKET_TOKEN_S * 1000
        return self._tokens.websocket_token(WebSocketTicket(identity.account_id, identity.session_id, expires_ms))

    async def redeem_websocket_token(self, text: str) -> Identity:
        """Who may open a socket with `text`. Raises Unauthenticated. The identity holds as long as a socket may."""
        ticket = self._tokens.read_websocket_token(text)
        if ticket is None:
            raise Unauthenticated("OAU-149", "OAuth token is invalid")
        if ticket.expires_ms <= self._clock.now_ms():
            raise Unauthenticated("OAU-128", "Access token expired")
        return await self.identify(ticket.account_id, ticket.session_id)

    async def identify(self, account_id: AccountId, session_id: SessionId) -> Identity:
        """Who a session is now; raises Unauthenticated when it has ended. Holds as long as a socket may."""
        session = await self._readers.run(fetch_oauth_session, account_id, session_id)
        if session is None:
            raise Unauthenticated("OAU-213", "Token not found")
        return await self._identify(session, self._clock.now_ms() + WEBSOCKET_SESSION_MS)

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """Forget the identities that `entries` end."""
        for entry in entries:
            if isinstance(entry, DirectoryChange):
                self._identities.drop(account_id, entry)

    async def _load(self, access_token: str, digest: str, now_ms: int) -> Identity:
        account_id = account_of(access_token)
        if account_id is None:
            raise Unauthenticated("OAU-149", "OAuth token is invalid")
        drops = self._identities.drops
        row, grace_ends = await self._readers.run(_fetch_access, account_id, digest)
        if row is None or row.kind != "access":
            raise Unauthenticated("OAU-213", "Token not found")
        identity = await self._identify(row.session, row.expires_ms)
        if row.expires_ms > now_ms and any(end > now_ms + USED_GRACE_MS for end in grace_ends):
            unit = Unit(account_id)
            until_ms = now_ms + USED_GRACE_MS
            unit.add(SHORTEN_GRACE, (account_id, row.session.session_id, until_ms, until_ms))
            await self._writer.apply(unit)
        self._identities.keep(digest, identity, drops)
        return identity

    async def _identify(self, session: SessionRow, expires_ms: int) -> Identity:
        account = await self._directory.account(session.account_id)
        if account is None or not account.enabled:
            raise Unauthenticated("OAU-142", "The account is not active")
        extension = account.extensions.get(session.extension_id)
        if extension is None:
            raise Unauthenticated("OAU-136", "Extension not found")
        if extension.status is not ExtensionStatus.ENABLED:
            raise Unauthenticated("OAU-141", "The extension is not active")
        app = await self._directory.app(session.client_id)
        if app is None or not app.enabled:
            raise Unauthenticated("OAU-121", "The application is not active")
        return Identity(
            session.account_id,
            session.extension_id,
            session.client_id,
            session.session_id,
            effective_scopes(_current(session, app)),
            expires_ms,
        )

    async def _check_owner(self, session: SessionRow) -> None:
        try:
            await self._identify(session, 0)
        except Unauthenticated as ended:
            code = "OAU-142" if ended.code == "OAU-142" else "OAU-236"
            raise GrantRefused(code, str(ended)) from ended

    async def _repeat(self, row: TokenRow, app: App, pair: Pair, now_ms: int) -> Granted:
        """The pair once more, with what is left of its time."""
        ends = [
            await self._readers.run(fetch_token_expiry, row.session.account_id, token_hash(token)) for token in pair
        ]
        left = [0 if end is None else (end - now_ms) // 1000 for end in ends]
        if min(left) <= 0:
            raise _not_found()
        return self._granted(row.session, app, pair, *left)

    def _granted(self, session: SessionRow, app: App, pair: Pair, access_s: int, refresh_s: int) -> Granted:
        scopes = effective_scopes(_current(session, app))
        return Granted(
            pair,
            access_s,
            refresh_s,
            tuple(one for one in Scope if one in scopes),
            session.extension_id,
            session.endpoint_id,
            session.session_id,
        )

    async def _applied(self, unit: Unit) -> bool:
        """Whether `unit` went through; False where what it was based on has changed meanwhile."""
        try:
            await self._writer.apply(unit)
        except Stale:
            return False
        return True


class _Identities:
    """Identities by token hash, bounded, the least recently used first to go."""

    def __init__(self) -> None:
        self.drops = 0
        self._held: OrderedDict[str, Identity] = OrderedDict()
        self._of_account: dict[AccountId, set[str]] = {}

    def find(self, digest: str) -> Identity | None:
        identity = self._held.get(digest)
        if identity is not None:
            self._held.move_to_end(digest)
        return identity

    def keep(self, digest: str, identity: Identity, drops: int) -> None:
        """Remember `identity` unless something was dropped since `drops` was read: it may have been read too early."""
        if drops != self.drops:
            return
        self._held[digest] = identity
        self._of_account.setdefault(identity.account_id, set()).add(digest)
        if len(self._held) > MAX_IDENTITIES:
            self._remove([next(iter(self._held))])

    def drop(self, account_id: AccountId, change: DirectoryChange) -> None:
        """Forget whom `change` concerns."""
        self.drops += 1
        if account_id == SYSTEM_ACCOUNT:
            if change.scope is DirectoryScope.APP:
                self._remove([key for key, one in self._held.items() if one.client_id == change.subject])
            return
        mine = [(key, self._held[key]) for key in self._of_account.get(account_id, ())]
        if change.scope is DirectoryScope.SESSION:
            self._remove([key for key, one in mine if one.session_id == change.subject])
        elif change.scope is DirectoryScope.EXTENSION:
            self._remove([key for key, one in mine if one.extension_id == change.extension_id])
        else:
            self._remove([key for key, _ in mine])

    def _remove(self, digests: Iterable[str]) -> None:
        for digest in digests:
            account_id = self._held.pop(digest).account_id
            mine = self._of_account[account_id]
            mine.discard(digest)
            if not mine:
                del self._of_account[account_id]


def _fetch_access(conn: ReadConnection, account_id: AccountId, digest: str) -> tuple[TokenRow | None, list[int]]:
    row = fetch_token(conn, account_id, digest)
    return row, [] if row is None else fetch_grace_ends(conn, account_id, row.session.session_id)


def _add_pair(unit: Unit, session: SessionRow, pair: Pair, wish: Wish, now_ms: int) -> None:
    for token, kind, ttl_s in (
        (pair.access, "access", wish.access_ttl_s),
        (pair.refresh, "refresh", wish.refresh_ttl_s),
    ):
        expires_ms = now_ms + ttl_s * 1000
        unit.add(INSERT_TOKEN, token_row(unit.account_id, token_hash(token), kind, session.session_id, expires_ms))


def _end(unit: Unit, session_id: SessionId, extension_id: ExtensionId) -> None:
    unit.expects.append(Expect(EXPECT_SESSION, (session_id,), 0))
    unit.add(DELETE_TOKENS, (unit.account_id, session_id))
    unit.add(DELETE_SESSION, (unit.account_id, session_id))
    unit.drafts.append(_changed(session_id, extension_id))


def _changed(session_id: SessionId, extension_id: ExtensionId) -> Draft:
    return Draft(DirectoryChange, (DirectoryScope.SESSION, extension_id, session_id))


def _current(session: SessionRow, app: App) -> frozenset[Scope]:
    """What was granted, less what the app has lost since."""
    granted = frozenset(SCOPE_SPELLINGS[one] for one in session.scopes)
    return granted & effective_scopes(app.scopes)


def _not_found() -> GrantRefused:
    return GrantRefused("OAU-213", "Token not found")
