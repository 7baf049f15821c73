"""A subscription: who wants what, by which transport, until when, and how its receiver fares.

Rules only; the use cases are in subscriptions/, the sending in notify/ and delivery/.
Source: RC createSubscription, RC doc notifications; outage and gap are ours (docs/architecture.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tocsin.domain.event_filter import EventFilter
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, Seq, SessionId, SubscriptionId


class TransportType(StrEnum):
    """How notifications travel."""

    WEBHOOK = "WebHook"
    WEBSOCKET = "WebSocket"


class SubscriptionStatus(StrEnum):
    """The wire's two statuses; expiry is a time, not a status."""

    ACTIVE = "Active"
    BLACKLISTED = "Blacklisted"


@dataclass(frozen=True, slots=True)
class StoredFilter:
    """A filter and the part of the log that it is for: `from_seq` < seq <= `until_seq` (None: no end yet).

    `filter_id` counts within the subscription and never changes its meaning.
    """

    filter_id: int
    filter: EventFilter
    from_seq: Seq
    until_seq: Seq | None

    def covers(self, seq: int) -> bool:
        """Whether the entry at `seq` lies in this filter's part of the log."""
        return self.from_seq < seq and (self.until_seq is None or seq <= self.until_seq)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as stored. Times in milliseconds since the epoch.

    `owner` is the extension that made it, through the app `client_id`. `address` and `verification_token` are for
    WebHook, `session_id` (the WebSocket session) for WebSocket. `lifetime_s` is what was asked for; renewal keeps it.
    `ended_seq` is the position of its cancellation or expiry: what is pending then is dropped.
    """

    account_id: AccountId
    subscription_id: SubscriptionId
    owner: ExtensionId
    client_id: ClientId
    transport: TransportType
    status: SubscriptionStatus
    created_ms: int
    expires_ms: int
    lifetime_s: int
    modified_seq: Seq
    filters: tuple[StoredFilter, ...]
    address: str | None = None
    verification_token: str | None = None
    session_id: SessionId | None = None
    paused: bool = False
    ended_seq: Seq | None = None
    blacklisted_ms: int | None = None
    blacklist_reason: str | None = None

    @property
    def current_filters(self) -> tuple[StoredFilter, ...]:
        """Those not yet replaced, in the order given."""
        return tuple(stored for stored in self.filters if stored.until_seq is None)


@dataclass(frozen=True, slots=True)
class DisabledFilter:
    """A filter of a subscription that its owner has no right to just now; `reason` is RingCentral's code for why."""

    filter: EventFilter
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outage:
    """An unbroken run of failures of one subscription. Times in wall milliseconds; kept across restarts."""

    failing_since_ms: int
    attempts: int
    next_probe_ms: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of seq that a subscription will not get by itself, and why; visible and replayable, never silent."""

    subscription_id: SubscriptionId
    gap_id: int
    first_seq: Seq
    last_seq: Seq
    reason: str
    at_ms: int
