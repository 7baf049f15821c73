"""The loopback carrier: numbers of this same system get the message, all others are played, by rules of time alone.

An outside number is Sent at once and Delivered a second later. These play trouble, for tests and demonstrations:

| number        | what happens                                                                                   |
|---------------|------------------------------------------------------------------------------------------------|
| +15005550010  | refused temporarily twice, taken the third time                                                |
| +15005550020  | refused for good: SendingFailed, deliveryErrorCode SMS-UP-410                                  |
| +15005550030  | taken, then a receipt of failure a second later: DeliveryFailed, SMS-CAR-431                   |
| +15005550060  | taken, the receipt of delivery comes after 60 s                                                |

It keeps nothing: the reference says when the receipt is due. Our choice throughout; area code 500 has no places.
"""

from __future__ import annotations

from typing import Protocol

from tocsin.domain.clock import Clock
from tocsin.domain.message import MessageStatus
from tocsin.domain.submission import Accepted, CarrierReport, Rejected, Submission

TEMPORARY_FAILURE = "+15005550010"
PERMANENT_FAILURE = "+15005550020"
FAILED_RECEIPT = "+15005550030"
LATE_RECEIPT = "+15005550060"

REFUSALS = 2
"""How often TEMPORARY_FAILURE is refused before it is taken."""
RECEIPT_S = 1.0
LATE_S = 60.0


class Exchange(Protocol):
    """Where messages for numbers of this system go."""

    async def receive_submission(self, submission: Submission, carrier: str) -> frozenset[str]:
        """Store the message in the mailboxes here that it is for, once, and return their numbers."""
        ...


class Loopback:
    """See the module; a Carrier."""

    name = "loopback"
    idempotent = True

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock

    async def submit(self, submission: Submission) -> Accepted | Rejected:
        """See Carrier."""
        if PERMANENT_FAILURE in submission.recipients:
            return Rejected(False, "SMS-UP-410", "the destination is not supported")
        if TEMPORARY_FAILURE in submission.recipients and submission.attempt <= REFUSALS:
            return Rejected(True, "SMS-RC-503", "the carrier is busy")
        here = await self._exchange.receive_submission(submission, self.name)
        wait_s = _receipt_after_s(submission, here)
        return Accepted(str(self._clock.now_ms() + round(wait_s * 1000)), wait_s)

    async def query(self, submission: Submission, reference: str | None) -> CarrierReport | None:
        """See Carrier. Nothing is known without a reference, nor need it be: to submit again does no harm."""
        if reference is None:
            return None
        left_ms = int(reference) - self._clock.now_ms()
        if left_ms > 0:
            return CarrierReport(MessageStatus.SENT, ask_after_s=left_ms / 1000)
        if FAILED_RECEIPT in submission.recipients:
            return CarrierReport(MessageStatus.DELIVERY_FAILED, "SMS-CAR-431")
        return CarrierReport(MessageStatus.DELIVERED)


def _receipt_after_s(submission: Submission, here: frozenset[str]) -> float:
    """Seconds until the receipt: none where every recipient is of this system."""
    if LATE_RECEIPT in submission.recipients:
        return LATE_S
    return 0.0 if here.issuperset(submission.recipients) else RECEIPT_S
