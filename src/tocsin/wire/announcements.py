"""The body of an instant message event, rendered once, when the message is stored, and frozen in its log entry.

Ids are strings here, unlike in REST. Where sources disagree this is the superset of them: `conversationId` and
`conversation.id`, `target` also on a message to one, absolute uris and sizes on every attachment.
Source: RC instant message event, its older form and a live one of 2025.
"""

from __future__ import annotations

import msgspec

from tocsin.domain.address import number_info
from tocsin.domain.directory import Extension
from tocsin.domain.message import (
    Attachment,
    AttachmentType,
    Availability,
    Direction,
    Message,
    MessageStatus,
    MessageType,
    Party,
    Priority,
    ReadStatus,
)
from tocsin.wire.messages import store_path
from tocsin.wire.times import render_time


class _PhoneNumberInfo(msgspec.Struct, rename="camel", omit_defaults=True):
    country_code: str
    national_destination_code: str = ""
    subscriber_number: str = ""


class _Party(msgspec.Struct, rename="camel", omit_defaults=True):
    phone_number: str | None = None
    extension_number: str | None = None
    target: bool = False
    location: str | None = None
    name: str | None = None
    phone_number_info: _PhoneNumberInfo | None = None


class _Attachment(msgspec.Struct, rename="camel"):
    id: str
    uri: str
    type: AttachmentType
    content_type: str
    size: int


class _Conversation(msgspec.Struct):
    id: str


class _Owner(msgspec.Struct, rename="camel"):
    extension_id: str
    extension_type: str
    name: str


class _Announcement(msgspec.Struct, rename="camel", kw_only=True):
    id: str
    to: list[_Party]
    from_: _Party = msgspec.field(name="from")
    type: MessageType
    creation_time: str
    last_modified_time: str
    read_status: ReadStatus
    priority: Priority
    attachments: list[_Attachment]
    direction: Direction
    availability: Availability
    subject: str
    message_status: MessageStatus
    conversation_id: str
    conversation: _Conversation
    event_type: str
    owner: _Owner


_ENCODER = msgspec.json.Encoder()


def render_announcement(message: Message, owner: Extension, base_url: str) -> bytes:
    """Return the JSON body that announces `message`, just stored in the mailbox of `owner`.

    `base_url`, without a trailing slash, begins the attachments' uris.
    """
    message_id = str(message.message_id)
    store = f"{base_url}{store_path(message.account_id, message.extension_id)}/{message_id}/content/"
    conversation = str(message.conversation_id)
    return _ENCODER.encode(
        _Announcement(
            id=message_id,
            to=[_party(party) for party in message.recipients],
            from_=_sender(message.sender),
            type=message.type,
            creation_time=render_time(message.created_ms),
            last_modified_time=render_time(message.modified_ms),
            read_status=message.read_status,
            priority=message.priority,
            attachments=[_attachment(part, store) for part in message.attachments],
            direction=message.direction,
            availability=message.availability,
            subject=message.text or "",
            message_status=message.message_status,
            conversation_id=conversation,
            conversation=_Conversation(conversation),
            event_type="Create",
            owner=_Owner(str(owner.extension_id), "User", owner.name),
        )
    )


def _party(party: Party, info: _PhoneNumberInfo | None = None) -> _Party:
    return _Party(party.phone_number, party.extension_number, party.target, party.location, party.name, info)


def _sender(party: Party) -> _Party:
    info = number_info(party.phone_number) if party.phone_number is not None else None
    if info is None:
        return _party(party)
    parts = _PhoneNumberInfo(info.country_code, info.national_destination_code, info.subscriber_number)
    return _party(party, parts)


def _attachment(part: Attachment, store: str) -> _Attachment:
    part_id = str(part.attachment_id)
    return _Attachment(part_id, store + part_id, part.type, part.content_type, part.size)
