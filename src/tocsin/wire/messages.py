"""Messages as REST gives them: the record, and the page of a list with its links. Absent fields are left out.

Ids of messages, attachments and conversations are numbers here; the other ids are strings. Events have a rendering of
their own. Source: RC listMessages, readMessage; captures for what the schema leaves open.
"""

from __future__ import annotations

from typing import Any

from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.domain.message import Attachment, Direction, Message, MessageType, Party
from tocsin.domain.message_query import ListQuery, MessagePage
from tocsin.wire.paging import page_uri, render_paging
from tocsin.wire.times import render_time, render_time_to_second


def store_path(account_id: AccountId, extension_id: ExtensionId) -> str:
    """The path of a mailbox's message store."""
    return f"/restapi/v1.0/account/{account_id}/extension/{extension_id}/message-store"


def render_message(message: Message, base_url: str) -> dict[str, Any]:
    """Return a message as GET gives it; `base_url` has no trailing slash and begins every uri."""
    uri = f"{base_url}{store_path(message.account_id, message.extension_id)}/{message.message_id}"
    record: dict[str, Any] = {
        "id": message.message_id,
        "uri": uri,
        "extensionId": str(message.extension_id),
        "type": message.type.value,
        "to": [_recipient(party, message.type) for party in message.recipients],
    }
    sender = _party(message.sender)
    if sender:
        record["from"] = sender
    record |= {
        "creationTime": render_time_to_second(message.created_ms),
        "lastModifiedTime": render_time(message.modified_ms),
        "readStatus": message.read_status.value,
        "priority": message.priority.value,
        "direction": message.direction.value,
        "availability": message.availability.value,
        "messageStatus": message.message_status.value,
        "attachments": [_attachment(part, uri) for part in message.attachments],
    }
    if message.text is not None:
        record["subject"] = message.text
    if message.conversation_id is not None:
        record["conversationId"] = message.conversation_id
        record["conversation"] = {
            "id": str(message.conversation_id),
            "uri": f"{base_url}/restapi/v1.0/conversation/{message.conversation_id}",
        }
    if message.type is MessageType.SMS and message.direction is Direction.OUTBOUND:
        record |= _outbound_sms(message)
    if message.type is MessageType.PAGER:
        # No extension of this system is a department yet.
        record["pgToDepartment"] = False
    return record


def render_message_page(
    page: MessagePage, account_id: AccountId, extension_id: ExtensionId, base_url: str
) -> dict[str, Any]:
    """Return a page of a list: records, paging, navigation, and the uri that gives this very page again."""
    path = store_path(account_id, extension_id)
    pairs = _query_pairs(page.query)
    number, per_page = page.query.page, page.query.per_page
    paging, navigation = render_paging(base_url, path, pairs, number, per_page, page.total)
    return {
        "uri": page_uri(base_url, path, pairs, number, per_page),
        "records": [render_message(message, base_url) for message in page.messages],
        "paging": paging,
        "navigation": navigation,
    }


def _party(party: Party) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if party.phone_number is not None:
        shown["phoneNumber"] = party.phone_number
    if party.extension_number is not None:
        shown["extensionNumber"] = party.extension_number
    if party.extension_id is not None:
        shown["extensionId"] = str(party.extension_id)
    if party.name is not None:
        shown["name"] = party.name
    if party.location is not None:
        shown["location"] = party.location
    return shown


def _recipient(party: Party, kind: MessageType) -> dict[str, Any]:
    shown = _party(party)
    if party.target:
        shown["target"] = True
    if party.message_status is not None:
        shown["messageStatus"] = party.message_status.value
    if party.error_code is not None and kind is MessageType.FAX:
        # The wire has a code per recipient for faxes alone; an SMS says it once, as deliveryErrorCode.
        shown["faxErrorCode"] = party.error_code
    return shown


def _attachment(part: Attachment, message_uri: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": part.attachment_id,
        "uri": f"{message_uri}/content/{part.attachment_id}",
        "type": part.type.value,
        "contentType": part.content_type,
        "size": part.size,
    }
    if part.file_name is not None:
        shown["fileName"] = part.file_name
    return shown


def _outbound_sms(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if message.sending_attempts is not None:
        shown["smsSendingAttemptsCount"] = message.sending_attempts
    if message.delivered_ms is not None:
        shown["smsDeliveryTime"] = render_time(message.delivered_ms)
    if message.delivery_error_code is not None:
        shown["deliveryErrorCode"] = message.delivery_error_code
    return shown


def _query_pairs(query: ListQuery) -> list[tuple[str, str]]:
    """What was asked, defaults resolved, in the documented order of parameters; page and perPage apart.

    Our choice: the end of the range is said even where the client left it open, so that following nextPage is not
    disturbed by messages that arrive meanwhile.
    """
    pairs = [("availability", value) for value in sorted(one.value for one in query.availability)]
    if query.conversation_id is not None:
        pairs.append(("conversationId", str(query.conversation_id)))
    if query.from_ms is not None:
        pairs.append(("dateFrom", render_time(query.from_ms)))
    if query.to_ms is not None:
        pairs.append(("dateTo", render_time(query.to_ms)))
    pairs += [("direction", value) for value in sorted(one.value for one in query.directions)]
    if query.distinct_conversations:
        pairs.append(("distinctConversations", "true"))
    pairs += [("messageType", value) for value in sorted(one.value for one in query.types)]
    pairs += [("readStatus", value) for value in sorted(one.value for one in query.read_statuses)]
    if query.phone_number is not None:
        pairs.append(("phoneNumber", query.phone_number))
    return pairs
