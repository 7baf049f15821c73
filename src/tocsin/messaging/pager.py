"""Company pager: messages between extensions of one account, which reach every mailbox in the unit that sends them.

Nothing leaves the account and no carrier is asked, so the sender's copy is Sent at once.
Source: RC createInternalTextMessage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tocsin.domain.clock import Clock
from tocsin.domain.conversation import conversation_id
from tocsin.domain.directory import Account, Extension
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.ids import MAX_ID, AccountId, ExtensionId, MessageId, Seq
from tocsin.domain.message import (
    Availability,
    Direction,
    Message,
    MessageStatus,
    MessageType,
    Party,
    Priority,
    ReadStatus,
    text_units,
)
from tocsin.messaging.parties import Directory, extension_party, may_receive
from tocsin.messaging.sending import caller_account
from tocsin.messaging.storing import add_message, next_draft
from tocsin.storage.message_queries import fetch_message
from tocsin.storage.messages import text_part
from tocsin.storage.store import Store
from tocsin.storage.unit import Unit

MAX_PAGER_UNITS = 1024
MAX_RECIPIENTS = 400
"""Each is a message in the same unit, which has 500 rows at most. Our choice; RC states no limit."""


@dataclass(frozen=True, slots=True)
class PagerParty:
    """An extension as a client names it: by id, by number, or by both, which must then agree."""

    extension_id: str | None = None
    extension_number: str | None = None


@dataclass(frozen=True, slots=True)
class PagerOrder:
    """What a client wants sent. `reply_on` is a pager message of its own; without recipients it answers those of it."""

    account_id: AccountId
    extension_id: ExtensionId
    text: str
    sender: PagerParty | None = None
    recipients: tuple[PagerParty, ...] = ()
    reply_on: int | None = None


class Pager:
    """The use case of pager messages."""

    def __init__(self, store: Store, directory: Directory, clock: Clock) -> None:
        self._writer = store.writer
        self._readers = store.readers
        self._ids = store.ids
        self._directory = directory
        self._clock = clock

    async def send_pager(self, order: PagerOrder) -> Message:
        """Store the sender's copy and one in each recipient's mailbox, and return the sender's.

        Raises InvalidParameter and Refused as RC's list of errors has them.
        """
        account = await caller_account(self._directory, order.account_id)
        sender = account.extensions[order.extension_id]
        if not order.text or text_units(order.text) > MAX_PAGER_UNITS:
            raise InvalidParameter("Parameter [text] value is invalid", parameter="text")
        _check_sender(sender, order.sender)
        recipients = await self._recipients(account, order)
        ids = await self._ids.take_many("message", 1 + len(recipients))
        participants = [str(one.extension_id) for one in (sender, *recipients)]
        own = self._message(order.text, sender, sender, recipients, MessageId(ids[0]), participants)
        unit = Unit(order.account_id)
        add_message(unit, own)
        for recipient, message_id in zip(recipients, ids[1:], strict=True):
            copy = self._message(order.text, sender, recipient, recipients, MessageId(message_id), participants)
            add_message(
                unit,
                replace(
                    copy,
                    direction=Direction.INBOUND,
                    read_status=ReadStatus.UNREAD,
                    message_status=MessageStatus.RECEIVED,
                    modified_seq=next_draft(unit),
                ),
            )
        applied = await self._writer.apply(unit)
        return replace(own, modified_seq=applied.first_seq)

    def _message(
        self,
        text: str,
        sender: Extension,
        mailbox: Extension,
        recipients: Sequence[Extension],
        message_id: MessageId,
        participants: Sequence[str],
    ) -> Message:
        """Return the message as the sender's mailbox has it, in `mailbox`."""
        now_ms = self._clock.now_ms()
        return Message(
            account_id=mailbox.account_id,
            extension_id=mailbox.extension_id,
            message_id=message_id,
            type=MessageType.PAGER,
            direction=Direction.OUTBOUND,
            availability=Availability.ALIVE,
            read_status=ReadStatus.READ,
            message_status=MessageStatus.SENT,
            priority=Priority.NORMAL,
            created_ms=now_ms,
            modified_ms=now_ms,
            modified_seq=Seq(0),
            sender=extension_party(sender),
            recipients=tuple(map(extension_party, recipients)),
            text=text,
            attachments=(text_part(message_id, text),),
            conversation_id=conversation_id(mailbox.account_id, mailbox.extension_id, participants),
        )

    async def _recipients(self, account: Account, order: PagerOrder) -> list[Extension]:
        parties = order.recipients
        if order.reply_on is not None:
            answered = None
            if 0 < order.reply_on <= MAX_ID:
                answered = await self._readers.run(
                    fetch_message, order.account_id, order.extension_id, MessageId(order.reply_on)
                )
            # Whoever takes part in a thread has its messages in the own mailbox.
            if answered is None or answered.type is not MessageType.PAGER:
                raise Refused("MSG-326", "Sender is not a participant of the conversation", parameter="replyOn")
            parties = parties or _others(answered, order.extension_id)
        if not parties or len(parties) > MAX_RECIPIENTS:
            raise InvalidParameter("Parameter [to] value is invalid", parameter="to")
        found = {one.extension_id: one for one in (_found(account, party) for party in parties)}
        if not all(map(may_receive, found.values())):
            raise Refused("MSG-324", "A recipient is disabled or frozen", parameter="to")
        return list(found.values())


def _check_sender(sender: Extension, named: PagerParty | None) -> None:
    if named is None:
        return
    if named.extension_id is not None and named.extension_id != str(sender.extension_id):
        raise Refused("MSG-332", "Sender is not the extension that is logged in", parameter="from.extensionId")
    if named.extension_number is not None and named.extension_number != sender.number:
        raise Refused("MSG-331", "Sender is not the extension that is logged in", parameter="from.extensionNumber")


def _found(account: Account, party: PagerParty) -> Extension:
    if party.extension_id is None and party.extension_number is None:
        raise InvalidParameter("Parameter [to] value is invalid", parameter="to")
    by_id = by_number = None
    if party.extension_id is not None and party.extension_id.isascii() and party.extension_id.isdecimal():
        by_id = account.extensions.get(ExtensionId(int(party.extension_id[:16])))
    if party.extension_number is not None:
        by_number = account.by_number(party.extension_number)
    found = by_id or by_number
    if found is None:
        raise Refused("CMN-102", "Resource for parameter [to] is not found", parameter="to")
    if party.extension_id is not None and party.extension_number is not None and by_id is not by_number:
        raise Refused("MSG-335", "Recipient's extension id and number are of two extensions", parameter="to")
    return found


def _others(answered: Message, own: ExtensionId) -> tuple[PagerParty, ...]:
    """Return everyone in the thread of `answered` but the mailbox's own extension; it alone, where nobody else is."""
    parties: dict[ExtensionId | None, Party] = {
        one.extension_id: one for one in (answered.sender, *answered.recipients) if one.extension_id is not None
    }
    others = [one for one in parties if one != own] or list(parties)
    return tuple(PagerParty(extension_id=str(one)) for one in others)
