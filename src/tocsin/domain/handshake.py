"""How the handshake with a webhook's address ended: the refusal that a client is told is read off the type.

Who sends it is delivery/, who asks for it subscriptions/ (on create, and when a blacklisted receiver is tried again).
Source: RC doc notifications, webhook validation; error codes SUB-520 to SUB-525.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandshakePassed:
    """The receiver answered 200 in time and returned the Validation-Token."""


@dataclass(frozen=True, slots=True)
class NotReturned:
    """The answer has no Validation-Token header, or another value in it."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer in time: name not resolved, connection refused or reset, or timed out."""

    detail: str


@dataclass(frozen=True, slots=True)
class WrongStatus:
    """The answer's status is not 200."""

    status: int


@dataclass(frozen=True, slots=True)
class BadCertificate:
    """TLS failed, or the certificate is not valid for the address."""

    detail: str


@dataclass(frozen=True, slots=True)
class InvalidResponse:
    """The answer is not HTTP, or larger than a handshake's answer may be."""

    detail: str


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """The egress guard refuses the address; nothing was sent."""

    detail: str


@dataclass(frozen=True, slots=True)
class HttpsRequired:
    """The address is plain HTTP where only HTTPS is allowed; nothing was sent."""


Handshake = (
    HandshakePassed
    | NotReturned
    | Unreachable
    | WrongStatus
    | BadCertificate
    | InvalidResponse
    | RefusedAddress
    | HttpsRequired
)
