"""The JWTs that apps exchange for tokens: made here for an extension, signed with the store's key, known by their hash.

A signature alone gives nothing: the assertion must also be registered, so that deleting its row revokes it.
Source: RC doc "JWT flow"; its claims are not documented, these are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from tocsin.domain.ids import AccountId, ExtensionId

_ALGORITHM = "HS256"
_ISSUER = "tocsin"
_AUDIENCE = "/restapi/oauth/token"
_LONGEST = 4_096


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a genuine assertion says. `expires_s` is in seconds since the epoch, None for no end."""

    account_id: AccountId
    extension_id: ExtensionId
    expires_s: int | None


class Assertions:
    """Signs and checks with one key, at least 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)

    def mint(self, account_id: AccountId, extension_id: ExtensionId, issued_ms: int) -> str:
        """The assertion of an extension; the same arguments always give the same text, which so need not be kept."""
        claims: dict[str, object] = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": str(extension_id),
            "account": str(account_id),
            "iat": issued_ms // 1000,
        }
        return jwt.encode({"alg": _ALGORITHM, "typ": "JWT"}, claims, self._key, algorithms=[_ALGORITHM])

    def read(self, text: str) -> Assertion | None:
        """What `text` says if we signed it, else None. Says nothing about whether it is registered or expired."""
        if len(text) > _LONGEST or not text.isascii():
            return None
        try:
            claims = jwt.decode(text, self._key, algorithms=[_ALGORITHM]).claims
            if claims.get("iss") != _ISSUER or claims.get("aud") != _AUDIENCE:
                return None
            expires = claims.get("exp")
            return Assertion(
                AccountId(int(claims["account"])),
                ExtensionId(int(claims["sub"])),
                None if expires is None else int(expires),
            )
        except (JoseError, KeyError, TypeError, ValueError):
            return None


def assertion_hash(text: str) -> str:
    """What the store keeps of an assertion."""
    return sha256(text.encode()).hexdigest()
