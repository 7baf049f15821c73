"""One stored item in one mailbox, and the moves that its status may make.

Source: RC listMessages, RC doc messaging; the status moves are those of the reference's life-cycle table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tocsin.domain.ids import AccountId, AttachmentId, ExtensionId, MessageId, Seq


class MessageType(StrEnum):
    """Kind of message; an MMS is an SMS with media. Values are the spelling of message objects on the wire."""

    SMS = "SMS"
    FAX = "Fax"
    VOICEMAIL = "VoiceMail"
    PAGER = "Pager"


class Direction(StrEnum):
    """Whether the mailbox's owner received or sent it."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class ReadStatus(StrEnum):
    """Whether the owner has read it."""

    READ = "Read"
    UNREAD = "Unread"


class Availability(StrEnum):
    """Alive, then Deleted (restorable), then Purged (attachments gone)."""

    ALIVE = "Alive"
    DELETED = "Deleted"
    PURGED = "Purged"


class Priority(StrEnum):
    """Sender's urgency."""

    NORMAL = "Normal"
    HIGH = "High"


class MessageStatus(StrEnum):
    """Where the carrier journey stands."""

    QUEUED = "Queued"
    SENT = "Sent"
    DELIVERED = "Delivered"
    DELIVERY_FAILED = "DeliveryFailed"
    SENDING_FAILED = "SendingFailed"
    RECEIVED = "Received"


STATUS_MOVES: dict[MessageStatus, frozenset[MessageStatus]] = {
    MessageStatus.QUEUED: frozenset(
        {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.SENDING_FAILED, MessageStatus.DELIVERY_FAILED}
    ),
    MessageStatus.SENT: frozenset({MessageStatus.DELIVERED, MessageStatus.DELIVERY_FAILED}),
    MessageStatus.DELIVERED: frozenset(),
    MessageStatus.DELIVERY_FAILED: frozenset(),
    MessageStatus.SENDING_FAILED: frozenset(),
    MessageStatus.RECEIVED: frozenset(),
}
"""From each status, the ones that may follow. A carrier's late or doubled report outside these is ignored."""


class AttachmentType(StrEnum):
    """What part of the message an attachment is."""

    AUDIO_RECORDING = "AudioRecording"
    AUDIO_TRANSCRIPTION = "AudioTranscription"
    TEXT = "Text"
    SOURCE_DOCUMENT = "SourceDocument"
    RENDERED_DOCUMENT = "RenderedDocument"
    MMS_ATTACHMENT = "MmsAttachment"


@dataclass(frozen=True, slots=True)
class Party:
    """A sender or recipient as this mailbox sees it. Empty parts are None and left out on the wire.

    `target` is True on the `to` entry that is this mailbox. `message_status` and `error_code` are per recipient
    of a message to several.
    """

    phone_number: str | None = None
    extension_number: str | None = None
    extension_id: ExtensionId | None = None
    name: str | None = None
    location: str | None = None
    target: bool = False
    message_status: MessageStatus | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stored part of a message. A Text part has the message's own id and its content is the message's text.

    `blob_key` names the bytes in the blob store; None for Text. `size` in bytes.
    """

    attachment_id: AttachmentId
    type: AttachmentType
    content_type: str
    size: int
    file_name: str | None = None
    blob_key: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as stored in one mailbox. Times in milliseconds since the epoch.

    `modified_seq` is the log position of its latest change: what sync reads and what a stale unit is told by.
    `text` is the full text (subject on the wire). `conversation_id` is None for types without conversations.
    """

    account_id: AccountId
    extension_id: ExtensionId
    message_id: MessageId
    type: MessageType
    direction: Direction
    availability: Availability
    read_status: ReadStatus
    message_status: MessageStatus
    priority: Priority
    created_ms: int
    modified_ms: int
    modified_seq: Seq
    sender: Party
    recipients: tuple[Party, ...]
    text: str | None
    attachments: tuple[Attachment, ...]
    conversation_id: int | None
    delivery_error_code: str | None = None
    sending_attempts: int | None = None
    delivered_ms: int | None = None


def may_move(current: MessageStatus, following: MessageStatus) -> bool:
    """Whether a message in status `current` may take status `following`."""
    return following in STATUS_MOVES[current]


def text_units(text: str) -> int:
    """Length in UTF-16 code units, the unit of RingCentral's text limits: an astral character counts two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
