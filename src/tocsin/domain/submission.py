"""Handing an outbound message to a carrier, and what the carrier says of it. Values only; the contract is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.domain.ids import AccountId
from tocsin.domain.message import Attachment, MessageStatus


@dataclass(frozen=True, slots=True)
class Submission:
    """One message for one carrier. `submission_id` stays the same however often it is handed over.

    `sender` and `recipients` are E.164. `attempt` counts from 1 what was tried so far, this one included.
    """

    submission_id: str
    account_id: AccountId
    sender: str
    recipients: tuple[str, ...]
    text: str
    attachments: tuple[Attachment, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The carrier took the message. `reference` is its own name for it; ask for its fate after `ask_after_s` seconds.

    None: this carrier never tells what became of a message.
    """

    reference: str
    ask_after_s: float | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The carrier did not take the message; `temporary` means that it may later. `code` is a deliveryErrorCode."""

    temporary: bool
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class CarrierReport:
    """What became of a submission by now. `ask_after_s` None: this is the last word."""

    status: MessageStatus
    error_code: str | None = None
    ask_after_s: float | None = None
