"""Changing what a mailbox holds: read status, deletion, purge.

Each change is one unit that names the version it saw; when another was faster it is validated again. A change that
would change nothing writes nothing and appends no entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tocsin.domain.clock import Clock
from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.errors import Stale
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq
from tocsin.domain.message import Availability, Direction, Message, MessageType, ReadStatus
from tocsin.messaging.reading import unknown_message
from tocsin.storage.message_changes import (
    BLANK_ANNOUNCEMENT,
    CHANGED_SEQ_COLUMNS,
    DELETE_ATTACHMENTS,
    PURGE_MESSAGE,
    UPDATE_MESSAGE,
    changed_row,
)
from tocsin.storage.message_queries import fetch_announcement, fetch_message
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.unit import Applies, Draft, Expect, Unit

MAX_TRIES = 10
"""How often a change is validated before its caller is told to come back. In every round a rival has succeeded."""


class Changing:
    """The use cases that change a stored message at its owner's wish."""

    def __init__(self, readers: Readers, writer: Applies, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    async def update_read_status(
        self, account_id: AccountId, extension_id: ExtensionId, message_id: MessageId, read_status: ReadStatus
    ) -> Message:
        """Mark a message read or unread and return it as it is then. RC: updateMessage.

        Our choice: a Purged message can be seen until it is removed, but is past changing. Raises NotFound, Stale.
        """

        def mark(message: Message) -> Message:
            if message.availability is Availability.PURGED:
                raise unknown_message()
            return replace(message, read_status=read_status)

        return await self._change(account_id, extension_id, message_id, mark)

    async def delete(
        self,
        account_id: AccountId,
        extension_id: ExtensionId,
        message_id: MessageId,
        *,
        purge: bool = False,
        types: frozenset[MessageType] = frozenset(),
    ) -> None:
        """Take a message from Alive to Deleted, and from Deleted to Purged; with `purge` at once. RC: deleteMessage.

        What is Purged already stays so without complaint; a message that is not of `types` (empty: any) is left alone.
        Raises NotFound, Stale.
        """

        def remove(message: Message) -> Message:
            if types and message.type not in types:
                return message
            alive = message.availability is Availability.ALIVE
            return replace(message, availability=Availability.DELETED if alive and not purge else Availability.PURGED)

        await self._change(account_id, extension_id, message_id, remove)

    async def _change(
        self,
        account_id: AccountId,
        extension_id: ExtensionId,
        message_id: MessageId,
        following: Callable[[Message], Message],
    ) -> Message:
        for _ in range(MAX_TRIES):
            seen, changed, announced = await self._readers.run(_read, account_id, extension_id, message_id, following)
            if changed == seen:
                return seen
            changed = replace(changed, modified_ms=max(seen.modified_ms, self._clock.now_ms()))
            try:
                applied = await self._writer.apply(_unit(seen, changed, announced))
            except Stale:
                continue
            return replace(changed, modified_seq=applied.first_seq)
        raise Stale(f"message {message_id} changed {MAX_TRIES} times while this change was being made")


def _read(
    conn: ReadConnection,
    account_id: AccountId,
    extension_id: ExtensionId,
    message_id: MessageId,
    following: Callable[[Message], Message],
) -> tuple[Message, Message, Seq | None]:
    """Return the message, what `following` makes of it, and, where that purges it, its announcement's place."""
    seen = fetch_message(conn, account_id, extension_id, message_id)
    if seen is None:
        raise unknown_message()
    changed = following(seen)
    purges = changed.availability is Availability.PURGED and changed != seen
    announced = purges and changed.direction is Direction.INBOUND
    return seen, changed, fetch_announcement(conn, seen) if announced else None


def _unit(seen: Message, changed: Message, announced: Seq | None) -> Unit:
    """Return the unit that takes `seen` to `changed` and tells of it."""
    unit = Unit(seen.account_id)
    unit.expects.append(Expect("message", (seen.message_id,), seen.modified_seq))
    unit.drafts.append(
        Draft(
            MessageChange,
            (changed.extension_id, changed.message_id, Happened.UPDATED, changed.type, changed.direction, None),
        )
    )
    if changed.availability is not Availability.PURGED:
        unit.add(UPDATE_MESSAGE, changed_row(changed, 0), CHANGED_SEQ_COLUMNS)
        return unit
    unit.add(PURGE_MESSAGE, changed_row(changed, 0), CHANGED_SEQ_COLUMNS)
    unit.add(DELETE_ATTACHMENTS, (seen.account_id, seen.message_id))
    if announced is not None:
        # Found by the reader, so that the writer touches one row by its key instead of searching the log.
        unit.add(BLANK_ANNOUNCEMENT, (seen.account_id, announced))
    return unit
