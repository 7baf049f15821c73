"""How the validation call of a new webhook subscription ended: a closed union, matched with assert_never.

`detail` is a sentence for a person. Values only; the call is made in delivery/, its error codes are chosen in
subscriptions/ (RC: createSubscription, SUB-520 to SUB-525).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandshakePassed:
    """Status 200, the token came back, in time and small enough."""

    duration_ms: int


@dataclass(frozen=True, slots=True)
class NotReturned:
    """Status 200, but the `Validation-Token` header is absent or another one (SUB-520)."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer: name, connection, TLS before the certificate, or time (SUB-521)."""

    detail: str


@dataclass(frozen=True, slots=True)
class WrongStatus:
    """An answer with another status than 200 (SUB-522)."""

    status: int


@dataclass(frozen=True, slots=True)
class HttpsRequired:
    """The address is http, which is allowed in the sandbox only (SUB-523)."""


@dataclass(frozen=True, slots=True)
class BadCertificate:
    """The receiver's certificate does not prove that it is who the address says (SUB-524)."""

    detail: str


@dataclass(frozen=True, slots=True)
class InvalidResponse:
    """An answer that is not HTTP, or larger than the handshake allows (SUB-525)."""

    detail: str


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """The address is malformed, or leads where the egress guard lets nothing go (CMN-101)."""

    detail: str


HandshakeResult = (
    HandshakePassed
    | NotReturned
    | Unreachable
    | WrongStatus
    | HttpsRequired
    | BadCertificate
    | InvalidResponse
    | RefusedAddress
)
