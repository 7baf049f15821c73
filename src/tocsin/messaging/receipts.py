"""The carrier journey of a sent message: its status moves by the domain's rules, together with the work row behind it.

One unit holds the status, the entry that tells of it and the work row's next step, so that none is lost or doubled.
Answers what carriers/ asks of the store; never talks to a carrier.
"""

from __future__ import annotations

from dataclasses import replace

from tocsin.domain.clock import Clock
from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.errors import Stale
from tocsin.domain.ids import MessageId, Seq
from tocsin.domain.message import (
    AttachmentType,
    Availability,
    Message,
    MessageStatus,
    may_move,
)
from tocsin.domain.submission import Submission
from tocsin.domain.work import WorkRow
from tocsin.messaging.storing import MAX_TRIES
from tocsin.storage.messages import STATUS_SEQ_COLUMNS, UPDATE_MESSAGE_STATUS, fetch_by_id, status_row
from tocsin.storage.readers import Readers
from tocsin.storage.unit import Applies, Draft, Expect, Unit
from tocsin.storage.work import finish, hold, postpone


class Receipts:
    """What became of sent messages. `owner` is this process, as it is named in the work rows that it holds."""

    def __init__(self, readers: Readers, writer: Applies, clock: Clock, owner: str) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._owner = owner

    async def submission(self, row: WorkRow) -> Submission | None:
        """Return what `row` is to hand over; None when the message is gone, or its journey has ended."""
        message = await self._fetch(row)
        if message is None or message.availability is Availability.PURGED:
            return None
        if message.message_status not in (MessageStatus.QUEUED, MessageStatus.SENT):
            return None
        return Submission(
            submission_id=str(message.message_id),
            account_id=message.account_id,
            sender=message.sender.phone_number or "",
            recipients=tuple(party.phone_number for party in message.recipients if party.phone_number is not None),
            text=message.text or "",
            attachments=tuple(part for part in message.attachments if part.type is not AttachmentType.TEXT),
            attempt=1,
        )

    async def hold(self, row: WorkRow) -> None:
        """Make the row's stage and payload durable, and keep it."""
        unit = Unit(row.account_id)
        hold(unit, row, self._owner)
        await self._writer.apply(unit)

    async def postpone(self, row: WorkRow) -> None:
        """Give the row back, to be run at its `due_ms`."""
        unit = Unit(row.account_id)
        postpone(unit, row)
        await self._writer.apply(unit)

    async def finish(self, row: WorkRow) -> None:
        """End the row; nothing more is to be done."""
        unit = Unit(row.account_id)
        finish(unit, row)
        await self._writer.apply(unit)

    async def move(
        self, row: WorkRow, status: MessageStatus, code: str | None, sent: int, following: WorkRow | None
    ) -> None:
        """Move the message of `row` to `status` and the row on to `following`, or to its end, in one unit.

        `sent` is how often it was handed over so far. A move that the rules forbid (a late or doubled report) changes
        the row alone. Raises Stale when the row is no longer this process's.
        """
        for _ in range(MAX_TRIES):
            unit = Unit(row.account_id)
            message = await self._fetch(row)
            if message is not None and may_move(message.message_status, status):
                self._add_move(unit, message, status, code, sent)
            if following is None:
                finish(unit, row)
            else:
                postpone(unit, following)
            try:
                await self._writer.apply(unit)
            except Stale:
                continue
            return
        raise Stale

    def _add_move(self, unit: Unit, message: Message, status: MessageStatus, code: str | None, sent: int) -> None:
        now_ms = max(message.modified_ms, self._clock.now_ms())
        moved = replace(
            message,
            message_status=status,
            modified_ms=now_ms,
            modified_seq=Seq(0),
            delivery_error_code=code,
            sending_attempts=sent,
            delivered_ms=now_ms if status is MessageStatus.DELIVERED else None,
        )
        unit.expects.append(Expect("message", (message.message_id,), message.modified_seq))
        unit.drafts.append(
            Draft(
                MessageChange,
                (
                    message.extension_id,
                    message.message_id,
                    Happened.UPDATED,
                    message.type,
                    message.direction,
                    None,
                ),
            )
        )
        unit.add(UPDATE_MESSAGE_STATUS, status_row(moved), STATUS_SEQ_COLUMNS)

    async def _fetch(self, row: WorkRow) -> Message | None:
        return await self._readers.run(fetch_by_id, row.account_id, MessageId(int(row.target)))
