"""One try of a delivery, and how it ended: the next step is read off the type, never off a string."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tocsin.domain.ids import AccountId, ExtensionId, SubscriptionId


class FailureKind(StrEnum):
    """Where a failed attempt broke, in words for a person and for metrics."""

    REFUSED_ADDRESS = "address refused by the egress guard"
    DNS = "name not resolved"
    CONNECT = "connection failed"
    TLS = "TLS failed"
    TIMEOUT = "timed out"
    RESET = "connection closed before the answer ended"
    PROTOCOL = "answer is not HTTP"
    TOO_LARGE = "answer too large"
    STATUS = "status is not 2xx"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver answered 2xx (webhook) or the frame is in the socket's buffer (WebSocket)."""

    http_status: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver did not take it. `detail` is a sentence for a person; `retry_after_s` is the receiver's wish."""

    kind: FailureKind
    detail: str
    duration_ms: int
    http_status: int | None = None
    retry_after_s: float | None = None
    response_head: str = ""
    response_body: str = ""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing was sent and nobody is to blame: the transport is shutting down. The delivery stays due."""


Outcome = Delivered | Failed | Withheld


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt as it is kept: what range it carried, how it ended, when the next one is due. Times in wall ms."""

    account_id: AccountId
    subscription_id: SubscriptionId
    notification_uuid: str
    event: str
    extension_id: ExtensionId
    first_seq: int
    last_seq: int
    number: int
    started_ms: int
    outcome: Delivered | Failed
    next_attempt_ms: int | None
