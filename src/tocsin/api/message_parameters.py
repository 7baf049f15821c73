"""Query and path parameters of the message store, read into the domain's words.

Every refusal names the parameter as the client spelt it. Unknown parameters are ignored, as RingCentral does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from tocsin.api.call import Query
from tocsin.domain.errors import InvalidParameter, NotFound, Refused
from tocsin.domain.ids import MAX_ID, AttachmentId, MessageId
from tocsin.domain.message import Availability, Direction, MessageType, ReadStatus
from tocsin.domain.message_query import ListQuery
from tocsin.wire.paging import parse_paging
from tocsin.wire.times import parse_time

E = TypeVar("E", bound=StrEnum)

MAX_BATCH = 50
"""Ids that one path may name. RC doc: batch requests."""
_MAX_CONVERSATION = 2**63 - 1
_BOOLEANS = {"true": True, "false": False}
_TEXT = frozenset({MessageType.SMS, MessageType.PAGER})
_TYPES: dict[str, frozenset[MessageType]] = {
    **{one.value.lower(): frozenset({one}) for one in MessageType},
    "text": _TEXT,
}
_TYPES_OR_ALL = {**_TYPES, "all": frozenset(MessageType)}


def parse_list_query(query: Query) -> ListQuery:
    """Return what listMessages was asked. Raises InvalidParameter. RC: listMessages."""
    availability = _every(query, "availability", Availability)
    page, per_page = parse_paging(query.pairs)
    return ListQuery(
        availability=availability or frozenset({Availability.ALIVE}),
        conversation_id=_conversation_id(query),
        from_ms=_time(query, "dateFrom"),
        to_ms=_time(query, "dateTo"),
        directions=_every(query, "direction", Direction),
        distinct_conversations=parse_flag(query, "distinctConversations"),
        types=_types(query, "messageType", _TYPES),
        read_statuses=_every(query, "readStatus", ReadStatus),
        phone_number=_phone_number(query),
        page=page,
        per_page=per_page,
    )


def parse_deleted_types(query: Query) -> frozenset[MessageType]:
    """Return the message types that a delete is for; `All` is the default. Raises InvalidParameter."""
    return _types(query, "type", _TYPES_OR_ALL) or frozenset(MessageType)


def parse_flag(query: Query, name: str) -> bool:
    """Return a boolean parameter, false by default. Raises InvalidParameter."""
    text = query.first(name)
    if text is None:
        return False
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise _invalid(name, text)
    return value


def parse_message_id(params: Mapping[str, str]) -> MessageId:
    """Return the one message id of the path. Raises NotFound, and Refused where several are named."""
    text = params["messageId"]
    if text == "*" or "," in text:
        raise Refused(
            "CMN-202",
            "Several messages at once can be read by id, and no more; name one id",
            parameter="messageId",
        )
    return MessageId(_id(text, "messageId"))


def parse_message_ids(params: Mapping[str, str]) -> list[str]:
    """Return the ids of the path as they were written, which need not be ids at all. Raises Refused for too many."""
    texts = [text for text in params["messageId"].split(",") if text]
    if len(texts) > MAX_BATCH:
        raise Refused("CMN-106", f"Batch request is limited to {MAX_BATCH} entries", parameter="messageId")
    return texts


def known_message_id(text: str) -> MessageId | None:
    """Return the id that a text may name; None for what no id can look like."""
    return MessageId(int(text)) if _is_id(text) else None


def parse_attachment_id(params: Mapping[str, str]) -> AttachmentId:
    """Return the attachment id of the path. Raises NotFound."""
    return AttachmentId(_id(params["attachmentId"], "attachmentId"))


def _id(text: str, name: str) -> int:
    # What no id can look like is unknown, not malformed: clients expect the same answer for both.
    if not _is_id(text):
        raise NotFound(f"Resource for parameter [{name}] is not found", parameter=name)
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 16 and int(text) <= MAX_ID


def _invalid(name: str, value: str) -> InvalidParameter:
    return InvalidParameter(f"Parameter [{name}] value is invalid", parameter=name, value=value)


def _every(query: Query, name: str, kind: type[E]) -> frozenset[E]:
    known = {one.value.lower(): one for one in kind}
    found = set()
    for text in query.every(name):
        if text.lower() not in known:
            raise _invalid(name, text)
        found.add(known[text.lower()])
    return frozenset(found)


def _types(query: Query, name: str, known: Mapping[str, frozenset[MessageType]]) -> frozenset[MessageType]:
    found: frozenset[MessageType] = frozenset()
    for text in query.every(name):
        if text.lower() not in known:
            raise _invalid(name, text)
        found |= known[text.lower()]
    return found


def _conversation_id(query: Query) -> int | None:
    text = query.first("conversationId")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _MAX_CONVERSATION):
        raise _invalid("conversationId", text)
    return int(text)


def _time(query: Query, name: str) -> int | None:
    text = query.first(name)
    if text is None:
        return None
    try:
        # Before 1970 there are no messages, and a day earlier than the first year has no name.
        return max(0, parse_time(text))
    except (ValueError, OverflowError) as wrong:
        raise _invalid(name, text) from wrong


def _phone_number(query: Query) -> str | None:
    """The number as E.164. A `+` that was not encoded arrived as a space; digits alone are read as if they had one."""
    text = query.first("phoneNumber")
    if text is None:
        return None
    digits = re.sub(r"[ ().-]", "", text).removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()):
        raise _invalid("phoneNumber", text)
    return f"+{digits}"
