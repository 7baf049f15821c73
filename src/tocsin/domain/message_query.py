"""What a client asks of a mailbox's list of messages, and the page that it gets. Values only.

Source: RC listMessages; what its text leaves open about times is settled here, once for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tocsin.domain.message import Availability, Direction, Message, MessageType, ReadStatus

DEFAULT_SPAN_MS = 24 * 60 * 60 * 1000
"""How far back of `to_ms` a list without a start goes."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filters of a list; an empty set, or None, filters nothing. Times in milliseconds since the epoch.

    `phone_number` is E.164 and matches either party. `page` counts from 1; `per_page` 0 asks for the counts alone.
    """

    availability: frozenset[Availability] = frozenset({Availability.ALIVE})
    conversation_id: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    directions: frozenset[Direction] = frozenset()
    distinct_conversations: bool = False
    types: frozenset[MessageType] = frozenset()
    read_statuses: frozenset[ReadStatus] = frozenset()
    phone_number: str | None = None
    page: int = 1
    per_page: int = 100

    def span(self, now_ms: int) -> Span:
        """Return the times that are listed: to now and from a day before the end, where the client did not say."""
        to_ms = now_ms if self.to_ms is None else self.to_ms
        return Span(max(0, to_ms - DEFAULT_SPAN_MS) if self.from_ms is None else self.from_ms, to_ms)

    def within(self, span: Span) -> ListQuery:
        """Return the same query with its times said outright, so that a link made of it lists the same messages."""
        return replace(self, from_ms=span.from_ms, to_ms=span.to_ms)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of creation times, both ends included."""

    from_ms: int
    to_ms: int

    @property
    def last_ms(self) -> int:
        """The latest creation time inside.

        Our choice: an end at a whole second takes in that second. REST shows creation times cut to the second, and a
        client that pages back by giving the last one as the end must not lose its neighbours.
        """
        return self.to_ms if self.to_ms % 1000 else self.to_ms + 999


@dataclass(frozen=True, slots=True)
class MessagePage:
    """One page, newest first. `query` is the one that was answered, its times resolved; `total` counts all pages."""

    query: ListQuery
    messages: tuple[Message, ...]
    total: int
