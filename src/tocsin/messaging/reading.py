"""Reading a mailbox: its list, one message, and the bytes of an attachment.

A request reads from one snapshot, opened after it arrived. Who may read is decided before (api/), and an id of another
mailbox is simply unknown. Never changes anything.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.domain.clock import Clock
from tocsin.domain.errors import NotFound
from tocsin.domain.ids import AccountId, AttachmentId, ExtensionId, MessageId
from tocsin.domain.message import Attachment, Message
from tocsin.domain.message_query import ListQuery, MessagePage
from tocsin.storage.message_queries import fetch_message, fetch_messages, list_messages
from tocsin.storage.readers import Readers


class Blobs(Protocol):
    """Where the bytes of attachments are."""

    def open(self, account_id: AccountId, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a blob from its beginning, in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class OpenAttachment:
    """An attachment whose bytes can be had: `read(start, length)` yields `length` of its `attachment.size` bytes."""

    attachment: Attachment
    read: Callable[[int, int], AsyncIterator[bytes]]


class Reading:
    """The use cases that only read."""

    def __init__(self, readers: Readers, blobs: Blobs, clock: Clock) -> None:
        self._readers = readers
        self._blobs = blobs
        self._clock = clock

    async def list_messages(self, account_id: AccountId, extension_id: ExtensionId, query: ListQuery) -> MessagePage:
        """Return the page of the mailbox that `query` asks for, newest first. RC: listMessages."""
        span = query.span(self._clock.now_ms())
        messages, total = await self._readers.run(list_messages, account_id, extension_id, query, span)
        return MessagePage(query.within(span), messages, total)

    async def get_message(self, account_id: AccountId, extension_id: ExtensionId, message_id: MessageId) -> Message:
        """Return one message, also a Deleted or Purged one. RC: readMessage.

        Our choice: lists hide what is deleted unless asked, and naming an id is asking. Raises NotFound.
        """
        message = await self._readers.run(fetch_message, account_id, extension_id, message_id)
        if message is None:
            raise unknown_message()
        return message

    async def get_messages(
        self, account_id: AccountId, extension_id: ExtensionId, message_ids: Sequence[MessageId]
    ) -> list[Message | None]:
        """Return several messages as of one moment, in the order asked; None for an unknown id. RC: readMessage."""
        return await self._readers.run(fetch_messages, account_id, extension_id, message_ids)

    async def open_attachment(
        self, account_id: AccountId, extension_id: ExtensionId, message_id: MessageId, attachment_id: AttachmentId
    ) -> OpenAttachment:
        """Return an attachment and the way to its bytes; a Purged message has none. RC: readMessageContent.

        Raises NotFound, naming messageId or attachmentId.
        """
        message = await self.get_message(account_id, extension_id, message_id)
        part = next((one for one in message.attachments if one.attachment_id == attachment_id), None)
        if part is None:
            raise NotFound("Resource for parameter [attachmentId] is not found", parameter="attachmentId")
        key = part.blob_key
        if key is None:
            text = (message.text or "").encode()
            return OpenAttachment(part, lambda start, length: _once(text[start : start + length]))
        return OpenAttachment(part, lambda start, length: _cut(self._blobs.open(account_id, key), start, length))


def unknown_message() -> NotFound:
    """Return what is raised for an id that this mailbox does not have."""
    return NotFound("Resource for parameter [messageId] is not found", parameter="messageId")


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _cut(pieces: AsyncIterator[bytes], start: int, length: int) -> AsyncIterator[bytes]:
    """Yield `length` bytes from `start` on, and read no further."""
    skip, left = start, length
    try:
        async for piece in pieces:
            wanted = piece[skip : skip + left]
            skip = max(0, skip - len(piece))
            left -= len(wanted)
            if wanted:
                yield wanted
            if left == 0:
                return
    finally:
        # Left before its end, a generator would hold its file until it is collected.
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
