"""The JWTs that apps exchange for tokens: made here for an extension, signed with the store's key, known by their hash.

A signature alone gives nothing: the assertion must also be registered, so that deleting its row revokes it.
HS256 with one fixed header, by hmac: whatever else a token's header says, it is not one of ours. (A JOSE library takes
a quarter of a second to import, which a sandbox that is ready within one does not have.)
Source: RC doc "JWT flow"; its claims are not documented, these are our choice.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from tocsin.domain.ids import AccountId, ExtensionId

_ISSUER = "tocsin"
_AUDIENCE = "/restapi/oauth/token"
_LONGEST = 4_096


class _Claims(msgspec.Struct, omit_defaults=True):
    iss: str
    aud: str
    sub: str
    account: str
    exp: int | None = None


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a genuine assertion says. `expires_s` is in seconds since the epoch, None for no end."""

    account_id: AccountId
    extension_id: ExtensionId
    expires_s: int | None


class Assertions:
    """Signs and checks with one key of at least 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("HS256 needs a key of 32 bytes")
        self._key = key

    def mint(self, account_id: AccountId, extension_id: ExtensionId, expires_s: int | None = None) -> str:
        """The assertion of an extension; the same arguments always give the same text, which so need not be kept."""
        claims = _Claims(_ISSUER, _AUDIENCE, str(extension_id), str(account_id), expires_s)
        signed = f"{_HEADER}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{self._signature(signed)}"

    def read(self, text: str) -> Assertion | None:
        """What `text` says if we signed it, else None. Says nothing about whether it is registered or expired."""
        if len(text) > _LONGEST or not text.isascii():
            return None
        signed, _, signature = text.rpartition(".")
        header, _, payload = signed.partition(".")
        if header != _HEADER or not hmac.compare_digest(signature, self._signature(signed)):
            return None
        claims = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
        if claims.iss != _ISSUER or claims.aud != _AUDIENCE:
            return None
        return Assertion(AccountId(int(claims.account)), ExtensionId(int(claims.sub)), claims.exp)

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), "sha256"))


def assertion_hash(text: str) -> str:
    """What the store keeps of an assertion."""
    return sha256(text.encode()).hexdigest()


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')
