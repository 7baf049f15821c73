"""Event filters: the text that a subscriber sends, parsed, brought to canonical form, and matched against changes.

Who may subscribe to what is not decided here (subscriptions/ does), nor is `~` known past parsing.
Source: RC doc notifications/event-filters; both seeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl

from tocsin.domain.entry import Happened, MessageChange
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.domain.message import Direction, MessageType


class FilterKind(StrEnum):
    """Which of the documented events a filter asks for."""

    MESSAGE_STORE = "message-store"
    INSTANT = "message-store/instant"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """One parsed filter; no type or direction means any. `text` is the wire form: ids for `~`, the query verbatim."""

    text: str
    kind: FilterKind
    account_id: AccountId
    extension_id: ExtensionId
    type: MessageType | None = None
    direction: Direction | None = None

    @property
    def canonical(self) -> str:
        """The same for two filters that match the same changes and render the same body."""
        direction = Direction.INBOUND if self.kind is FilterKind.INSTANT else self.direction
        return f"{self.kind}|{self.account_id}|{self.extension_id}|{self.type or '*'}|{direction or '*'}"

    @property
    def coalesces(self) -> bool:
        """Whether one notification may tell of several changes."""
        return self.kind is FilterKind.MESSAGE_STORE

    def matches(self, change: MessageChange) -> bool:
        """Whether `change`, of this filter's own account and mailbox, fires it."""
        if self.kind is FilterKind.INSTANT:
            # Announcements are made for new inbound messages alone; a purged one is blanked and no longer sent.
            return (
                change.announcement is not None
                and change.happened is Happened.CREATED
                and change.type is MessageType.SMS
                and change.direction is Direction.INBOUND
            )
        return (self.type is None or self.type is change.type) and (
            self.direction is None or self.direction is change.direction
        )

    def blanked(self, change: MessageChange) -> bool:
        """Whether `change` would fire it, had its announcement not been blanked by a purge."""
        return (
            self.kind is FilterKind.INSTANT
            and change.announcement is None
            and change.happened is Happened.CREATED
            and change.type is MessageType.SMS
            and change.direction is Direction.INBOUND
        )


class UnknownFilter(ValueError):
    """The text is no filter that we know; the message says why."""


_PATH = re.compile(
    r"(?:/restapi/v1\.0)?/account/(?P<account>~|[0-9]{1,16})/extension/(?P<extension>~|[0-9]{1,16})"
    r"/(?P<kind>message-store(?:/instant)?)/?"
)
_TYPES = {
    "sms": MessageType.SMS,
    "fax": MessageType.FAX,
    "voicemail": MessageType.VOICEMAIL,
    "pager": MessageType.PAGER,
}
_DIRECTIONS = {"inbound": Direction.INBOUND, "outbound": Direction.OUTBOUND}


def parse_event_filter(text: str, account_id: AccountId, extension_id: ExtensionId) -> EventFilter:
    """Parse `text` as sent by the given owner, whose ids stand in for `~`.

    Query parameters come in any order and case; `Voicemail` and `VoiceMail` are one. Raises UnknownFilter.
    """
    path, mark, query = text.strip().partition("?")
    found = _PATH.fullmatch(path)
    if found is None:
        raise UnknownFilter("no event has this path")
    kind = FilterKind(found["kind"])
    account = account_id if found["account"] == "~" else AccountId(int(found["account"]))
    extension = extension_id if found["extension"] == "~" else ExtensionId(int(found["extension"]))
    message_type, direction = _parse_query(kind, query)
    resolved = f"/restapi/v1.0/account/{account}/extension/{extension}/{kind}{mark}{query}"
    return EventFilter(resolved, kind, account, extension, message_type, direction)


def _parse_query(kind: FilterKind, query: str) -> tuple[MessageType | None, Direction | None]:
    seen: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in seen:
            raise UnknownFilter(f"{name} is given twice; use one filter for each")
        seen[name.lower()] = value.lower()
    unknown = seen.keys() - {"type", "direction"}
    if unknown:
        raise UnknownFilter(f"unknown query parameter {min(unknown)}")
    message_type = _TYPES.get(seen.get("type", ""))
    direction = _DIRECTIONS.get(seen.get("direction", ""))
    if "type" in seen and message_type is None:
        raise UnknownFilter("type must be one of SMS, Fax, VoiceMail, Pager")
    if "direction" in seen and direction is None:
        raise UnknownFilter("direction must be Inbound or Outbound")
    if kind is FilterKind.INSTANT and (message_type is not MessageType.SMS or direction is Direction.OUTBOUND):
        raise UnknownFilter("instant events exist for type=SMS, inbound, alone")
    return message_type, direction
