"""Receiving an SMS or MMS: one message in each mailbox of this system that it is addressed to, announced at once.

The announcement is rendered here, before the commit, and frozen in the log entry. Never acknowledges what is not
durable, and never stores the same message of a carrier twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from tocsin.domain.address import normalise_number
from tocsin.domain.clock import Clock
from tocsin.domain.conversation import conversation_id
from tocsin.domain.directory import Account, Extension, PhoneNumber
from tocsin.domain.errors import InvalidParameter, NotFound, Stale
from tocsin.domain.ids import AccountId, ExtensionId, MessageId
from tocsin.domain.message import (
    Availability,
    Direction,
    Message,
    MessageStatus,
    MessageType,
    Priority,
    ReadStatus,
)
from tocsin.domain.submission import Submission
from tocsin.messaging.media import MediaFile, checked_media
from tocsin.messaging.parties import Directory, NumberBook, NumberBooks, may_receive
from tocsin.messaging.storing import MAX_TRIES, add_message, attachments, next_draft, store_media, stored_text
from tocsin.storage.blobs import BlobRef
from tocsin.storage.store import Store
from tocsin.storage.unit import AlreadyClaimed, Claim, Unit
from tocsin.wire.announcements import render_announcement

MAX_RECIPIENTS = 40
"""Of one inbound message: each may be a mailbox with ten files, and a unit has 500 rows at most."""


@dataclass(frozen=True, slots=True)
class InboundSms:
    """What a carrier brings. Numbers in any writing; media makes it an MMS.

    `carrier` and `carrier_message_id` together make it the same message when it comes again; None: always a new one.
    """

    sender: str
    recipients: tuple[str, ...]
    text: str
    media: tuple[MediaFile, ...] = ()
    sender_name: str | None = None
    sender_location: str | None = None
    carrier: str = ""
    carrier_message_id: str | None = None


class ReceivedMessage(NamedTuple):
    """Where a message was stored."""

    account_id: AccountId
    extension_id: ExtensionId
    message_id: MessageId


class _Addressed(NamedTuple):
    """An inbound message with its numbers in E.164 and its media checked."""

    sender: str
    numbers: tuple[str, ...]
    sms: InboundSms
    media: tuple[MediaFile, ...]


class Receiving:
    """The use case. `base_url` gives what absolute uris begin with, known once the server listens."""

    def __init__(self, store: Store, directory: Directory, clock: Clock, base_url: Callable[[], str]) -> None:
        self._writer = store.writer
        self._ids = store.ids
        self._blobs = store.blobs
        self._directory = directory
        self._clock = clock
        self._base_url = base_url
        self._books = NumberBooks()

    async def receive_sms(self, sms: InboundSms) -> list[ReceivedMessage]:
        """Store `sms` in every mailbox that it is for and return where, in the order of `recipients`.

        A message that came before is not stored again: its earlier places are returned, and missing ones made. Each
        account is one unit. Disabled and frozen extensions get nothing. Raises InvalidParameter and Refused for what is
        wrong with it, NotFound (CMN-102) when none of its recipients is a number of this system.
        """
        addressed = _Addressed(
            _number(sms.sender, "from"),
            _recipients(sms.recipients),
            sms,
            checked_media(sms.media, "media") if sms.media else (),
        )
        if not sms.text and not sms.media:
            raise InvalidParameter("Parameter [text] value is invalid: the message is empty", parameter="text")
        found = await self._mailboxes(addressed.numbers)
        if found is None:
            raise NotFound("Resource for parameter [to] is not found", parameter="to")
        received: list[ReceivedMessage] = []
        for account, mailboxes in found:
            received += await self._store(self._books.of(account), mailboxes, addressed)
        return received

    async def receive_submission(self, submission: Submission, carrier: str) -> frozenset[str]:
        """Store an outbound message of this system in the mailboxes here that it is for; return their numbers.

        Handing over the same submission again changes nothing. Empty: it is for numbers elsewhere alone.
        """
        here = frozenset([one for one in submission.recipients if await self._directory.owner_of(one) is not None])
        if here:
            media = [
                MediaFile(part.content_type, part.file_name, await self._bytes(submission.account_id, part.blob_key))
                for part in submission.attachments
                if part.blob_key is not None
            ]
            await self.receive_sms(
                InboundSms(
                    submission.sender,
                    submission.recipients,
                    submission.text,
                    tuple(media),
                    carrier=carrier,
                    carrier_message_id=submission.submission_id,
                )
            )
        return here

    async def _bytes(self, account_id: AccountId, key: str) -> bytes:
        return b"".join([chunk async for chunk in self._blobs.open(account_id, key)])

    async def _mailboxes(self, numbers: Sequence[str]) -> list[tuple[Account, list[Extension]]] | None:
        """Return accounts with their mailboxes among `numbers`; None when no number is of this system."""
        owned: dict[AccountId, list[PhoneNumber]] = {}
        for number in numbers:
            owner = await self._directory.owner_of(number)
            if owner is not None:
                owned.setdefault(owner.account_id, []).append(owner)
        if not owned:
            return None
        found = []
        for account_id, own_numbers in owned.items():
            account = await self._directory.account(account_id)
            if account is not None and account.enabled:
                holders = {
                    one.extension_id: one for one in map(partial(_holder, account), own_numbers) if one is not None
                }
                found.append((account, [one for one in holders.values() if may_receive(one)]))
        return found

    async def _store(
        self, book: NumberBook, mailboxes: Sequence[Extension], addressed: _Addressed
    ) -> list[ReceivedMessage]:
        """Store the message in `mailboxes` of one account, in one unit."""
        account_id = book.account.account_id
        placed: dict[ExtensionId, MessageId] = {}
        tries = 0
        while missing := [one for one in mailboxes if one.extension_id not in placed]:
            if tries == MAX_TRIES:
                raise Stale
            tries += 1
            try:
                placed |= await self._store_once(book, missing, addressed)
            except AlreadyClaimed as claimed:
                for one in missing:
                    earlier = claimed.earlier.get(("carrier", _claim_key(addressed.sms, one)))
                    if earlier is not None:
                        placed[one.extension_id] = MessageId(earlier)
            except Stale:
                continue  # a file was being collected: it is written again
        return [ReceivedMessage(account_id, one.extension_id, placed[one.extension_id]) for one in mailboxes]

    async def _store_once(
        self, book: NumberBook, mailboxes: Sequence[Extension], addressed: _Addressed
    ) -> dict[ExtensionId, MessageId]:
        account_id, media = book.account.account_id, addressed.media
        stored = await store_media(self._blobs, account_id, media) if media else []
        each = 1 + len(media)
        ids = await self._ids.take_many("message", each * len(mailboxes))
        unit = Unit(account_id, blobs=[ref.key for ref in stored])
        placed = {}
        for place, extension in enumerate(mailboxes):
            message = self._message(book, extension, addressed, stored, ids[place * each : (place + 1) * each], unit)
            add_message(unit, message, render_announcement(message, extension, self._base_url()))
            if addressed.sms.carrier_message_id is not None:
                unit.claims.append(Claim("carrier", _claim_key(addressed.sms, extension), message.message_id))
            placed[extension.extension_id] = message.message_id
        await self._writer.apply(unit)
        return placed

    def _message(
        self,
        book: NumberBook,
        extension: Extension,
        addressed: _Addressed,
        stored: Sequence[BlobRef],
        ids: Sequence[int],
        unit: Unit,
    ) -> Message:
        account_id, message_id, sms = book.account.account_id, MessageId(ids[0]), addressed.sms
        now_ms = self._clock.now_ms()
        return Message(
            account_id=account_id,
            extension_id=extension.extension_id,
            message_id=message_id,
            type=MessageType.SMS,
            direction=Direction.INBOUND,
            availability=Availability.ALIVE,
            read_status=ReadStatus.UNREAD,
            message_status=MessageStatus.RECEIVED,
            priority=Priority.NORMAL,
            created_ms=now_ms,
            modified_ms=now_ms,
            modified_seq=next_draft(unit),
            sender=book.party(addressed.sender, name=sms.sender_name, location=sms.sender_location),
            recipients=book.addressed(extension, addressed.numbers),
            text=stored_text(sms.text, addressed.media),
            attachments=attachments(message_id, sms.text, addressed.media, stored, ids[1:]),
            conversation_id=conversation_id(account_id, extension.extension_id, (addressed.sender, *addressed.numbers)),
        )


def _holder(account: Account, number: PhoneNumber) -> Extension | None:
    """Whose mailbox a number's messages go to; a company number's are its operator's."""
    return account.operator if number.extension_id is None else account.extensions.get(number.extension_id)


def _claim_key(sms: InboundSms, extension: Extension) -> str:
    return f"{sms.carrier}/{sms.carrier_message_id}/{extension.extension_id}"


def _recipients(numbers: Sequence[str]) -> tuple[str, ...]:
    """Return the recipients in E.164, each once."""
    if not 1 <= len(numbers) <= MAX_RECIPIENTS:
        raise InvalidParameter(
            f"Parameter [to] value is invalid: 1 to {MAX_RECIPIENTS} phone numbers are taken", parameter="to"
        )
    if len(numbers) == 1:
        return (_number(numbers[0], "to"),)
    return tuple(dict.fromkeys(_number(one, "to") for one in numbers))


def _number(text: str, parameter: str) -> str:
    try:
        return normalise_number(text)
    except ValueError as wrong:
        raise InvalidParameter(
            f"Parameter [{parameter}] value is invalid: {wrong}", parameter=parameter, value=text[:64]
        ) from wrong
