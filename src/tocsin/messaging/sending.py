"""Sending: an SMS or MMS is stored Queued together with the work that hands it to a carrier; a pager message is sent.

Every rule is checked before anything is stored. Never talks to a carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tocsin.domain.address import is_nanp, normalise_number
from tocsin.domain.clock import Clock
from tocsin.domain.conversation import conversation_id
from tocsin.domain.directory import Account, Extension, NumberFeature, PhoneNumber
from tocsin.domain.errors import InvalidParameter, Refused, Stale
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq, WorkId
from tocsin.domain.message import (
    Availability,
    Direction,
    Message,
    MessageStatus,
    MessageType,
    Priority,
    ReadStatus,
    text_units,
)
from tocsin.domain.work import WorkRow
from tocsin.messaging.media import MediaFile, checked_media
from tocsin.messaging.parties import Directory, NumberBooks
from tocsin.messaging.storing import MAX_TRIES, add_message, attachments, store_media, stored_text
from tocsin.storage.store import Store
from tocsin.storage.unit import Unit
from tocsin.storage.work import insert_work

SUBMIT = "submit"
"""Kind of the work row that hands a message to a carrier; its target is the message id."""

MAX_SMS_UNITS = 1000
MAX_RECIPIENTS = 10
_EXTENSION_NUMBER_DIGITS = 6
"""RC: extension numbers have up to six digits; a longer one is meant as a phone number."""


@dataclass(frozen=True, slots=True)
class OutboundSms:
    """What a client wants sent from one of its extension's numbers; several recipients or media make it an MMS."""

    account_id: AccountId
    extension_id: ExtensionId
    sender: str
    recipients: tuple[str, ...]
    text: str
    media: tuple[MediaFile, ...] = ()


class Sending:
    """The use case of SMS and MMS."""

    def __init__(self, store: Store, directory: Directory, clock: Clock) -> None:
        self._writer = store.writer
        self._ids = store.ids
        self._blobs = store.blobs
        self._directory = directory
        self._clock = clock
        self._books = NumberBooks()

    async def send_sms(self, sms: OutboundSms) -> Message:
        """Store `sms` to be sent and return it as stored: Queued. RC: createSMSMessage, createMMS.

        Whether the user may send at all is decided before (api/). Raises InvalidParameter and Refused as RC's list of
        errors has them.
        """
        account = await caller_account(self._directory, sms.account_id)
        recipients = _recipients(sms.recipients)
        _check_text(sms.text, sms.media)
        sender = _sender(account, account.extensions[sms.extension_id], sms.sender)
        media = checked_media(sms.media, "attachments")
        _check_features(sender, recipients, is_mms=bool(media) or len(recipients) > 1)
        checked = replace(sms, sender=sender.number, recipients=recipients, media=media)
        for _ in range(MAX_TRIES):
            try:
                return await self._store(account, checked)
            except Stale:
                continue  # a file was being collected: it is written again
        raise Stale

    async def _store(self, account: Account, sms: OutboundSms) -> Message:
        stored = await store_media(self._blobs, sms.account_id, sms.media)
        ids = await self._ids.take_many("message", 1 + len(stored))
        message_id, now_ms = MessageId(ids[0]), self._clock.now_ms()
        book = self._books.of(account)
        message = Message(
            account_id=sms.account_id,
            extension_id=sms.extension_id,
            message_id=message_id,
            type=MessageType.SMS,
            direction=Direction.OUTBOUND,
            availability=Availability.ALIVE,
            read_status=ReadStatus.READ,
            message_status=MessageStatus.QUEUED,
            priority=Priority.NORMAL,
            created_ms=now_ms,
            modified_ms=now_ms,
            modified_seq=Seq(0),
            sender=book.party(sms.sender),
            recipients=tuple(book.party(number) for number in sms.recipients),
            text=stored_text(sms.text, sms.media),
            attachments=attachments(message_id, sms.text, sms.media, stored, ids[1:]),
            conversation_id=conversation_id(sms.account_id, sms.extension_id, (sms.sender, *sms.recipients)),
            sending_attempts=1,
        )
        unit = Unit(sms.account_id, blobs=[ref.key for ref in stored])
        add_message(unit, message)
        work_id = WorkId(await self._ids.take("work"))
        insert_work(unit, WorkRow(sms.account_id, work_id, SUBMIT, str(message_id), "queued", now_ms, 0, 0, b""))
        applied = await self._writer.apply(unit)
        return replace(message, modified_seq=applied.first_seq)


async def caller_account(directory: Directory, account_id: AccountId) -> Account:
    """Return the account of whoever calls; it was there a moment ago, when the token was checked."""
    account = await directory.account(account_id)
    if account is None:
        raise Stale("the account is gone")
    return account


def _recipients(numbers: Sequence[str]) -> tuple[str, ...]:
    if not numbers:
        raise InvalidParameter("Parameter [to] value is invalid", parameter="to")
    if len(numbers) > MAX_RECIPIENTS:
        raise Refused(
            "MSG-381",
            f"Exceeded maximum number of recipients for a Group MMS: [{MAX_RECIPIENTS}]",
            parameter="to",
        )
    return tuple(dict.fromkeys(_recipient(one) for one in numbers))


def _recipient(text: str) -> str:
    if _is_short(text):
        raise Refused("MSG-247", "Sending SMS to short numbers is not available", parameter="to.phoneNumber")
    try:
        return normalise_number(text)
    except ValueError as wrong:
        raise InvalidParameter(
            "Parameter [to.phoneNumber] value is invalid", parameter="to.phoneNumber", value=text[:64]
        ) from wrong


def _sender(account: Account, extension: Extension, text: str) -> PhoneNumber:
    """Return the number of `extension` that `text` is."""
    if not text:
        raise InvalidParameter("Parameter [from] value is invalid", parameter="from")
    if _is_short(text):
        raise Refused("MSG-246", "Sending SMS from extension numbers is not available", parameter="from.phoneNumber")
    try:
        number = normalise_number(text)
    except ValueError as wrong:
        raise InvalidParameter(
            "Parameter [from.phoneNumber] value is invalid", parameter="from.phoneNumber", value=text[:64]
        ) from wrong
    own = next((one for one in extension.numbers if one.number == number), None)
    if own is not None:
        return own
    if any(one.number == number for other in account.extensions.values() for one in other.numbers):
        raise Refused("MSG-304", "Phone number doesn't belong to extension", parameter="from.phoneNumber")
    raise Refused("MSG-245", "Cannot find the phone number which belongs to user", parameter="from.phoneNumber")


def _check_text(text: str, media: Sequence[MediaFile]) -> None:
    if (not text and not media) or text_units(text) > MAX_SMS_UNITS:
        raise InvalidParameter("Parameter [text] value is invalid", parameter="text")


def _check_features(sender: PhoneNumber, recipients: Sequence[str], *, is_mms: bool) -> None:
    """Refuse what the sender's number can't do. RC: features of the phone number list."""
    if is_mms:
        if NumberFeature.MMS_SENDER not in sender.features:
            raise Refused("MSG-380", "Sending MMS is not available for this number", parameter="from.phoneNumber")
    elif NumberFeature.SMS_SENDER not in sender.features:
        raise Refused("MSG-367", "Specified sender phone number is not SMS capable", parameter="from.phoneNumber")
    if all(map(is_nanp, recipients)):
        return
    if is_mms:
        raise Refused("MSG-383", "Sending international MMS is not available", parameter="to.phoneNumber")
    if NumberFeature.INTERNATIONAL_SMS_SENDER not in sender.features:
        raise Refused("MSG-240", "International SMS is not supported", parameter="to.phoneNumber")


def _is_short(text: str) -> bool:
    """Whether it is an extension number or short code and not a phone number."""
    return text.isascii() and text.isdecimal() and len(text) <= _EXTENSION_NUMBER_DIGITS
