"""What tokens look like: opaque text that begins with its account, so that a token is found within one account.

Tokens are kept as hashes. The pair that follows a refresh token is derived from it and the store's key: presented
again, it gives the same pair, and no token is ever stored in order to be repeated. Pure: no clock, no storage.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from tocsin.domain.ids import MAX_ID, AccountId, SessionId


class Pair(NamedTuple):
    """An access token and its refresh token, in the clear: only ever on their way to the client."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class WebSocketTicket:
    """What a WebSocket token says: a session, and until when (wall ms) a socket may be opened with it."""

    account_id: AccountId
    session_id: SessionId
    expires_ms: int


class TokenMaker:
    """Makes tokens and reads them back with one key of the store's own."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new_pair(self, account_id: AccountId) -> Pair:
        """A fresh random pair."""
        return Pair(*(f"{account_id}_{secrets.token_urlsafe(32)}" for _ in range(2)))

    def following(self, account_id: AccountId, refresh: str) -> Pair:
        """The one pair that refresh token `refresh` gives."""
        return Pair(*(f"{account_id}_{self._derive(purpose, refresh)}" for purpose in ("access", "refresh")))

    def websocket_token(self, ticket: WebSocketTicket) -> str:
        """`ticket` signed: url-safe text, because SDKs put it into a query as it is."""
        body = f"{ticket.account_id}_{ticket.expires_ms}_{ticket.session_id}"
        return f"{body}_{self._derive('websocket', body)}"

    def read_websocket_token(self, text: str) -> WebSocketTicket | None:
        """What `text` says if we signed it, else None. Says nothing about its time."""
        if not text.isascii():
            return None
        body, _, signature = text[:-44], text[-44:-43], text[-43:]
        if not hmac.compare_digest(signature, self._derive("websocket", body)):
            return None
        account, expires, session_id = body.split("_", 2)
        return WebSocketTicket(AccountId(int(account)), SessionId(session_id), int(expires))

    def _derive(self, purpose: str, text: str) -> str:
        """43 url-safe characters."""
        return urlsafe_b64encode(hmac.digest(self._key, f"{purpose}:{text}".encode(), "sha256")).decode().rstrip("=")


def account_of(token: str) -> AccountId | None:
    """The account that an access or refresh token names, or None for what can't be one of ours."""
    digits, separator, _ = token.partition("_")
    if not separator or not digits.isascii() or not digits.isdecimal() or len(digits) > len(str(MAX_ID)):
        return None
    return AccountId(int(digits))


def token_hash(token: str) -> str:
    """What the store keeps of a token, or of a client's secret: both are long and random, so one round is enough."""
    return sha256(token.encode()).hexdigest()
