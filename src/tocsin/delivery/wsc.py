"""The WebSocket session context token: where a session stands in the log, signed, URL-safe.

It says which range of seq was being written and how many of that range's notifications are done, so that recovery cuts
the same range again and goes on exactly behind the last frame that the client saw.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from hashlib import blake2b

from tocsin.domain.ids import AccountId, SessionId

_MAC_BYTES = 12


class MalformedToken(ValueError):
    """Not a token that this store has signed."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """`done` notifications of the range `before` < seq <= `last` are written; everything up to `before` is."""

    account_id: AccountId
    session_id: SessionId
    epoch: int
    before: int
    last: int
    done: int


def sign_context(context: SessionContext, key: bytes) -> str:
    """Return the token for `context`: base64url without padding, so that SDKs may paste it into a query unescaped."""
    text = (
        f"{context.account_id}.{context.session_id}.{context.epoch}.{context.before}.{context.last}.{context.done}"
    ).encode()
    mac = blake2b(text, key=key, digest_size=_MAC_BYTES).digest()
    return base64.urlsafe_b64encode(mac + text).rstrip(b"=").decode()


def read_context(token: str, key: bytes) -> SessionContext:
    """Check and read a token. Raises MalformedToken."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, ValueError) as wrong:
        raise MalformedToken("not base64url") from wrong
    mac, text = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, blake2b(text, key=key, digest_size=_MAC_BYTES).digest()):
        raise MalformedToken("not signed by this store")
    account, session, epoch, before, last, done = text.decode().split(".")
    return SessionContext(AccountId(int(account)), SessionId(session), int(epoch), int(before), int(last), int(done))
